"""Every mistake in a config that can be found without training."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf

from slackoff.config import build
from slackoff.config.counting import count_step
from slackoff.config.schema import KEEP_BEST
from slackoff.config.validate import check_config
from slackoff.data.datasets import check_dataset
from slackoff.errors import SlackoffError
from slackoff.evaluation import PairFolder
from slackoff.images import LabelledPairs, file_digests
from slackoff.rain import RainRange
from slackoff.record.environment import refuse_float16_on_cpu

T = TypeVar("T")


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
        check_config(build.plain(config))
        measured_only = self._once(lambda: build.nothing_to_train(config), network=config.network)
        _check_combinations(config, measured_only)
        labelled, side = config.get("labelled"), config.background.patch_size_px
        photos = {"source": config.background.source, "held_out": config.background.held_out}
        backgrounds = self._once(lambda: build.build_backgrounds(config), **photos)
        if labelled:
            self._once(lambda: _check_labelled(config), labelled=labelled, side=side, evaluation=config.evaluation)
        else:
            self._once(lambda: _check_rain(config), rain=config.rain, side=side)
            bank = {"background": config.background, "runs": config.runs}
            self._once(lambda: len(build.build_bank(config, backgrounds)), **bank)
        if config.get("unlabelled"):
            parts = {"background": config.background, "labelled": labelled, "unlabelled": config.unlabelled}
            self._once(
                lambda: build.build(config.unlabelled, "unlabelled").check(
                    build.build_surroundings(config, backgrounds)
                ),
                **parts,
            )
        parts = {"evaluation": config.evaluation, "keep_best": config.schedule.get("keep_best")}
        self._once(lambda: _check_evaluation(config, backgrounds), **photos, **parts)
        if start := config.get("start_from"):
            parts = {"network": config.network, "start_from": start, "runs": config.runs}
            self._once(lambda: bool(build.build_started_network(config)), **parts)
        if config.get("continue_from"):
            build.cell_to_continue(config)
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
    rain, side = build.build(config.rain, "rain"), config.background.patch_size_px
    if isinstance(rain, RainRange):
        rain.check_side(side, "background.patch_size_px")


def _check_labelled(config: DictConfig) -> None:
    labelled = build.build_labelled(config)
    if not isinstance(labelled, LabelledPairs):
        check_dataset(labelled, config.background.patch_size_px)
        return
    labelled.check(config.background.patch_size_px)
    digests = file_digests(pair.rainy_path for pair in labelled.all_pairs)
    trained_on = {digest: path for path, digest in digests.items()}
    tests = build.build_test_sets(config)
    if config.evaluation.get("validation"):
        tests["validation"] = build.build(config.evaluation.validation, "evaluation.validation")
    for name, test_set in tests.items():
        if isinstance(test_set, PairFolder):
            tested = file_digests(pair.rainy_path for pair in test_set.chosen())
            for path in (path for path, digest in tested.items() if digest in trained_on):
                raise SlackoffError(
                    f"{path} of the test set {name} is the same file as {trained_on[tested[path]]} of "
                    f"labelled.root={labelled.root}: a network is not tested on what it was trained on, so take it "
                    "away from one of them"
                )


def _check_evaluation(config: DictConfig, backgrounds: build.Backgrounds) -> bool:
    validation = build.build_validation(config, build.build_evaluator(config, backgrounds))
    if validation and (measure := config.schedule.get("keep_best")):
        validation.better(measure, KEEP_BEST)
    return True


def _check_combinations(config: DictConfig, measured_only: bool) -> None:
    if config.schedule.steps == 0 and not (config.get("start_from") or measured_only):
        raise SlackoffError("schedule.steps=0 trains nothing: give a whole number from 1 up, or start_from=FILE")
    if config.get("start_from") and config.get("continue_from"):
        raise SlackoffError("start_from and continue_from both say what the network begins with: give one of them")
    if measure := config.schedule.get("keep_best"):
        if not config.evaluation.get("validation"):
            raise SlackoffError(
                f"{KEEP_BEST}={measure} needs pairs to choose by, other than those of the test: add +validation=pairs "
                "evaluation.validation.root=PATH"
            )
        if config.schedule.evaluate_every > config.schedule.steps:
            raise SlackoffError(
                f"{KEEP_BEST}={measure} chooses among the evaluations during training, and schedule.evaluate_every="
                f"{config.schedule.evaluate_every} is more than schedule.steps={config.schedule.steps}: lower it"
            )
    if config.get("labelled") and config.fixed_rain_per_patch is True:
        raise SlackoffError(
            "fixed_rain_per_patch=true does not go with labelled pairs, whose rain is fixed: leave it out"
        )
    if config.trainer.accelerator == "cpu":
        refuse_float16_on_cpu(config.trainer.precision, "cpu")
