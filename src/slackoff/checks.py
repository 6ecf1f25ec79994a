"""Every mistake in a config that can be found without training."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from omegaconf import DictConfig, OmegaConf
from torch.utils.flop_counter import FlopCounterMode

from slackoff import build
from slackoff.errors import SlackoffError

T = TypeVar("T")
CHOICES = {
    "trainer.precision": ("32-true", "bf16-mixed", "16-mixed"),
    "trainer.accelerator": ("auto", "cpu", "gpu"),
    # Words such as "no" come as text, and any text is true.
    **dict.fromkeys(("fixed_rain_per_patch", "trainer.channels_last", "logger.wandb"), (True, False)),
}
LEAST_COUNTS = {
    **dict.fromkeys(
        (f"schedule.{key}" for key in ("steps", "batch_size", "evaluate_every", "checkpoint_every", "log_every")), 1
    ),
    "background.patch_count": 1,
    "background.patch_size_px": 1,
    "evaluation.quick_count": 1,
    "evaluation.picture_count": 0,
}


class Checks:
    """Checks configs one after the other; what they share is looked at once."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}

    def check(self, config: DictConfig) -> float:
        """Find every mistake in a cell's config that can be found without training.

        Returns:
            Floating-point operations of the loss of one batch: convolutions and matrix products, a multiply-add is two.

        Raises:
            SlackoffError: naming the first mistake.
        """
        _check_plain_values(config)
        self._once(lambda: _check_rain(config), rain=config.rain, side=config.background.patch_size_px)
        photos = {"source": config.background.source, "held_out": config.background.held_out}
        backgrounds = self._once(lambda: build.build_backgrounds(config), **photos)
        build.build_bank(config, backgrounds)
        self._once(lambda: bool(build.build_evaluator(config, backgrounds)), **photos, evaluation=config.evaluation)
        side = config.background.patch_size_px
        each = self._once(lambda: _operations(config), network=config.network, task=config.task, side=side)
        return each * config.schedule.batch_size

    def _once(self, look: Callable[[], T], **what: Any) -> T:
        """What ``look`` gives, which depends on nothing but these parts of a config."""
        plain = {key: OmegaConf.to_container(node) if OmegaConf.is_config(node) else node for key, node in what.items()}
        text = json.dumps(plain, sort_keys=True, default=str)
        if text not in self._known:
            self._known[text] = look()
        found: T = self._known[text]
        return found


def _check_rain(config: DictConfig) -> None:
    rain = build.build(config.rain, "rain")
    if config.background.patch_size_px <= rain.kernel_side // 2:
        raise SlackoffError(
            f"background.patch_size_px={config.background.patch_size_px} is too small for "
            f"rain.length={list(rain.length)}: patches must be larger than {rain.kernel_side // 2} px"
        )


def _operations(config: DictConfig) -> float:
    """Of the loss of one patch, counted without computing anything; a network and a loss that do not fit are found."""
    counter = FlopCounterMode(display=False)
    with torch.device("meta"), counter:
        task = build.build_task(config, build.build_network(config))
        patches = torch.empty(2, 3, config.background.patch_size_px, config.background.patch_size_px)
        task.loss(task.network, patches, patches)
    try:
        task.configure_optimizers()
    except (TypeError, ValueError, IndexError) as error:
        raise SlackoffError(f"task does not give an optimiser: {error}") from error
    return counter.get_total_flops() / 2


def _check_plain_values(config: DictConfig) -> None:
    for key, least in LEAST_COUNTS.items():
        value = OmegaConf.select(config, key)
        if type(value) is not int or value < least:
            raise SlackoffError(f"{key}={value} is no count: give a whole number from {least} up")
    count = config.evaluation.count
    if count is not None and (type(count) is not int or count < 1):
        raise SlackoffError(f"evaluation.count={count} is no count: give a whole number from 1 up, or null for all")
    for key in ("seed", "background.seed"):
        value = OmegaConf.select(config, key)
        if type(value) is not int:
            raise SlackoffError(f"{key}={value} is no seed: give a whole number")
    for key, choices in CHOICES.items():
        value = OmegaConf.select(config, key)
        if value not in choices:
            raise SlackoffError(f"{key}={value} is not known: choose one of {', '.join(map(str, choices))}")
