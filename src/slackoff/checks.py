"""Every mistake in a config that can be found without training."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf

from slackoff import build
from slackoff.config.counting import count_step
from slackoff.errors import SlackoffError
from slackoff.evaluation import PairFolder
from slackoff.images import file_digests
from slackoff.record.environment import refuse_float16_on_cpu

T = TypeVar("T")
CHOICES = {
    "trainer.precision": ("auto", "32-true", "bf16-mixed", "16-mixed"),
    "trainer.accelerator": ("auto", "cpu", "gpu"),
    # Words such as "no" come as text, and any text is true.
    **dict.fromkeys(("fixed_rain_per_patch", "trainer.channels_last", "trainer.tf32", "logger.wandb"), (True, False)),
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
            Floating-point operations of a training step, see ``slackoff.config.counting.count_step``.

        Raises:
            SlackoffError: naming the first mistake.
        """
        measured_only = self._once(lambda: build.nothing_to_train(config), network=config.network)
        _check_plain_values(config, measured_only)
        labelled, side = config.get("labelled"), config.background.patch_size_px
        photos = {"source": config.background.source, "held_out": config.background.held_out}
        backgrounds = self._once(lambda: build.build_backgrounds(config), **photos)
        if labelled:
            self._once(lambda: _check_labelled(config), labelled=labelled, side=side, evaluation=config.evaluation)
        else:
            self._once(lambda: _check_rain(config), rain=config.rain, side=side)
            build.build_bank(config, backgrounds)
        if config.get("unlabelled"):
            parts = {"background": config.background, "labelled": labelled, "unlabelled": config.unlabelled}
            self._once(lambda: _check_unlabelled(config, backgrounds), **parts)
        self._once(lambda: bool(build.build_evaluator(config, backgrounds)), **photos, evaluation=config.evaluation)
        if start := config.get("start_from"):
            self._once(lambda: bool(build.build_started_network(config)), network=config.network, start_from=start)
        sizes = {"side": side, "size": config.schedule.batch_size, "steps": config.schedule.steps}
        parts = {"network": config.network, "task": config.task, "unlabelled": config.get("unlabelled")}
        return self._once(lambda: count_step(config), **parts, **sizes)

    def _once(self, look: Callable[[], T], **what: Any) -> T:
        """What ``look`` gives, which depends on nothing but these parts of a config."""
        plain = {key: OmegaConf.to_container(node) if OmegaConf.is_config(node) else node for key, node in what.items()}
        text = json.dumps(plain, sort_keys=True, default=str)
        if text not in self._known:
            self._known[text] = look()
        found: T = self._known[text]
        return found


def _check_rain(config: DictConfig) -> None:
    build.build(config.rain, "rain").check_side(config.background.patch_size_px, "background.patch_size_px")


def _check_labelled(config: DictConfig) -> None:
    labelled = build.build_labelled(config)
    assert labelled is not None
    labelled.check(config.background.patch_size_px)
    digests = file_digests(pair.rainy_path for pair in labelled.all_pairs)
    trained_on = {digest: path for path, digest in digests.items()}
    for name, test_set in build.build_test_sets(config).items():
        if isinstance(test_set, PairFolder):
            tested = file_digests(pair.rainy_path for pair in test_set.pairs())
            for path in (path for path, digest in tested.items() if digest in trained_on):
                raise SlackoffError(
                    f"{path} of the test set {name} is the same file as {trained_on[tested[path]]} of "
                    f"labelled.root={labelled.root}: a network is not tested on what it was trained on, so take it "
                    "away from one of them"
                )


def _check_unlabelled(config: DictConfig, backgrounds: build.Backgrounds) -> None:
    build.build(config.unlabelled, "unlabelled").check(build.build_surroundings(config, backgrounds))


def _check_plain_values(config: DictConfig, measured_only: bool) -> None:
    for key, least in LEAST_COUNTS.items():
        value = OmegaConf.select(config, key)
        if key == "schedule.steps" and value == 0 and (config.get("start_from") or measured_only):
            continue  # measured as it is
        if type(value) is not int or value < least:
            raise SlackoffError(f"{key}={value} is no count: give a whole number from {least} up")
    count = config.evaluation.count
    if count is not None and (type(count) is not int or count < 1):
        raise SlackoffError(f"evaluation.count={count} is no count: give a whole number from 1 up, or null for all")
    for key in ("seed", "background.seed"):
        value = OmegaConf.select(config, key)
        if type(value) is not int:
            raise SlackoffError(f"{key}={value} is no seed: give a whole number")
    if config.get("labelled") and config.fixed_rain_per_patch is True:
        raise SlackoffError(
            "fixed_rain_per_patch=true does not go with labelled pairs, whose rain is fixed: leave it out"
        )
    for key, choices in CHOICES.items():
        value = OmegaConf.select(config, key)
        if value not in choices:
            raise SlackoffError(f"{key}={value} is not known: choose one of {', '.join(map(str, choices))}")
    if config.trainer.accelerator == "cpu":
        refuse_float16_on_cpu(config.trainer.precision, "cpu")
