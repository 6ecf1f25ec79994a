"""Mistakes in a config: each is one sentence that names the key, before anything is trained."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import pytest
from torch import nn

from slackoff.config import build, validate
from slackoff.config.checks import Checks
from slackoff.config.schema import AtLeast
from slackoff.config.validate import parameters
from slackoff.errors import SlackoffError
from slackoff.rain import RainRange

COUNTS = (
    *(f"schedule.{key}" for key in ("batch_size", "evaluate_every", "checkpoint_every", "log_every")),
    "background.patch_count",
    "background.patch_size_px",
    "evaluation.quick_count",
)
SWITCHES = {
    "fixed_rain_per_patch": [],
    "trainer.channels_last": [],
    "trainer.tf32": [],
    "logger.wandb": [],
    "rain.legacy_scale": [],
    "network.global_residual": [],
    "network.attention": ["network=menet"],
    "task.self_training": ["task=semi_supervised"],
    "task.shared_norm": ["task=sirr"],
    "task.log_gradient_norms": ["task=multitask"],
    "unlabelled.mirror": ["unlabelled=synthesised"],
    "evaluation.protocol.quantise": [],
}
"""Keys that are true or false, and what must be chosen for a config to have them."""


def test_a_sound_config_passes(composed):
    Checks().check(composed())
    Checks().check(composed("rain=large", "network=resnet_small", "background.patch_size_px=32"))


@pytest.mark.parametrize("key", SWITCHES)
def test_a_word_is_no_switch(composed, key):
    """In Hydra's overrides ``no`` is text, which counts as true."""
    with pytest.raises(SlackoffError) as raised:
        Checks().check(composed(*SWITCHES[key], f"{key}=no"))
    assert str(raised.value) == f"{key}=no is text, and any text would count as true: give true or false"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["+sed=1"], r"sed=1 is not known: did you mean 'seed'\?$"),
        (["+schedule.stepz=5"], r"schedule\.stepz=5 is not known: did you mean 'schedule\.steps'\?$"),
        (
            ["+trainer.gradient_clip_val=0.5"],
            r"trainer\.gradient_clip_val=0\.5 is not known: did you mean 'trainer\.gradient_clip_norm'",
        ),
        (["+network.widht=8"], r"network\.widht=8 is not known: did you mean 'network\.width'\?$"),
        (["+task.loss.weight=1"], r"task\.loss\.weight=1 is not known: task\.loss has no keys$"),
        (["+task.steps=5"], r"task\.steps=5 is not known: did you mean 'task\.loss'\?$"),
        (["+study.options.balance_marigin=3"], r".*=3 is not known: did you mean 'study\.options\.balance_margin'\?$"),
        (["+evaluation.test_set.rain.hue=1"], r"evaluation\.test_set\.rain\.hue=1 is not known: evaluation\.test_set"),
        (["~schedule.steps"], r"schedule\.steps is missing from the config: give it a value$"),
        (["~rain.width"], r"rain\.width is not given: RainRange needs it$"),
        *(([f"{key}=0"], rf"{key}=0 cannot be: give a whole number from 1 up$") for key in COUNTS),
        (["evaluation.picture_count=-1"], r"evaluation\.picture_count=-1 cannot be: give a whole number from 0 up$"),
        (["evaluation.count=0"], r"evaluation\.count=0 cannot be: give a whole number from 1 up or null$"),
        (["schedule.steps=1.5"], r"schedule\.steps=1\.5 cannot be: give a whole number from 0 up$"),
        (["schedule.steps=true"], r"schedule\.steps=true cannot be: give a whole number"),
        (["schedule.steps=0"], r"schedule\.steps=0 trains nothing: give a whole number from 1 up"),
        (["background.patch_size_px=null"], r"background\.patch_size_px=null cannot be"),
        (["seed=abc"], r"seed=abc cannot be: give a whole number$"),
        (["runs=3"], r"runs=3 cannot be: give text$"),
        (["~network._target_"], r"network has no _target_: name the class to make$"),
        (["trainer.precision=bf16"], r"trainer\.precision=bf16 .*one of auto, 32-true.*; did you mean 'bf16-mixed'\?$"),
        (["trainer.accelerator=abacus"], r"trainer\.accelerator=abacus is not known: choose one of auto, cpu, gpu"),
        (["rain.width=5"], r"rain\.width=5 cannot be: give a list, each item one of 1, 3, 5, 7, 9$"),
        (["rain.width=[5,x]"], r"rain\.width=\[5,x\] cannot be"),
        (["task.betas=[0.9]"], r"task\.betas=\[0\.9\] cannot be: give a list of 2, each a number$"),
        (["task.learning_rate=abc"], r"task\.learning_rate=abc cannot be: give a number$"),
        (["task.decay=0.5"], r"task\.decay=0\.5 cannot be: give a Cosine node or a Steps node or null$"),
        (["~task.loss._target_"], r"task\.loss={} cannot be: give a Module node$"),
        (
            ["task.loss._target_=slackoff.losses.L2"],
            r"task\.loss cannot be built: there is no class .*; did you mean 'L1",
        ),
        (
            ["network._target_=slackoff.rain.RainRange"],
            r".*RainRange cannot be: give a class .*nn\.Module$",
        ),
        (["evaluation.test_set._target_=slackoff.losses.L1"], r".*L1 cannot be: give a class that is a .*ImageSet$"),
        (["task.loss._target_=subprocess.run"], r"task\.loss\._target_=subprocess\.run is refused"),
        (["background.patch_count=100000000"], r"background\.patch_count=100000000 is more than the \d+ patches"),
        (["background.patch_size_px=16"], r"background\.patch_size_px=16 is too small for rain\.length=\[30, 31\]"),
        (["background.patch_size_px=28", "rain=large"], r"background\.patch_size_px=28 is too small .* than 30 px"),
        (["background.patch_size_px=1024"], r".*is smaller than a patch, background\.patch_size_px=1024"),
        (["rain.length=[40,20]"], r"rain\.length is reversed"),
        (["rain.width=[]"], r"rain\.width is \[\]"),
        (["network.width=0"], r"network\.width=0 must be at least 1$"),
        (["task.learning_rate=-1"], r"task does not give an optimiser: .*learning rate: -1"),
        (["evaluation.test_set.rain.angle_deg=[9,3]"], r"evaluation\.test_set\.rain\.angle_deg is reversed"),
        (["evaluation.protocol.headline=3"], r"evaluation\.protocol\.headline is 3"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_key(composed, overrides, message):
    with pytest.raises(SlackoffError, match=f"^{message}") as raised:
        Checks().check(composed(*overrides))
    assert "\n" not in str(raised.value)


class Painter(Protocol):
    def paint(self, colour: str) -> None: ...


class Anything:
    def __init__(self, width: int, **options: Any) -> None: ...


class Named(Anything):
    def __init__(self, height: int = 1, **rest: Any) -> None:
        super().__init__(**rest)


class Loose(nn.Module):
    def __init__(self, width: int, **options: Any) -> None:
        super().__init__()


def test_keywords_that_are_handed_on_are_those_of_the_class_behind():
    assert parameters(nn.L1Loss).types.keys() == {"size_average", "reduce", "reduction"}
    assert not parameters(nn.Identity).types.keys() - {"args", "kwargs"}
    assert parameters(Named).types == {"width": int, "height": int}
    assert parameters(Named).required == ["width"]
    assert parameters(Named).open
    assert parameters(Loose).open
    assert not parameters(RainRange).open


RAIN = {"_target_": RainRange}


@pytest.mark.parametrize(
    ("hint", "fitting", "others"),
    [
        (bool, [True, False], [1, 0, "no", None]),
        (int, [0, -3], [True, 1.0, "1", None]),
        (float, [0.5, 2], [True, "1e-3", None]),
        (str, ["", "no"], [1, None, []]),
        (Path, ["runs"], [3, None]),
        (int | None, [None, 3], ["null", False]),
        (Literal["a", 1], ["a", 1], ["b", True, 2]),
        (Annotated[int, AtLeast(2)], [2, 9], [1, True, "2"]),
        (list[int], [[], [1, 2]], [1, [1.5], "12", [True]]),
        (Sequence[float] | None, [[1, 2.5], None], ["ab", [None]]),
        (tuple[int, str], [[1, "a"]], [[1], ["a", 1], [1, "a", 2]]),
        (tuple[float, ...], [[], [1, 2.0, 3]], [["a"], 1.0]),
        (Mapping[str, float], [{}, {"a": 1}], [{"a": "b"}, [1], RAIN]),
        (dict[str, list[int]], [{"a": [1]}], [{"a": 1}]),
        (RainRange, [RAIN], [{}, {"_target_": nn.Identity}, "RainRange", 3]),
        (RainRange | None, [RAIN, None], [{"_target_": nn.Identity}]),
        (nn.Module, [{"_target_": nn.Identity}], [RAIN, "Identity"]),
        (Painter, [{"_target_": type("P", (), {"paint": print})}], [RAIN]),
        (Any, [None, 1, [], RAIN], []),
    ],
)
def test_a_value_is_held_against_the_annotation(hint, fitting, others):
    fits, words = validate._meaning(hint)
    assert words
    assert all(fits(value) for value in fitting)
    assert not [value for value in others if fits(value)]


def test_what_configs_share_is_checked_once(composed, monkeypatch):
    built = []
    real = build.build_evaluator
    monkeypatch.setattr(build, "build_evaluator", lambda *given: built.append(1) or real(*given))
    checks = Checks()
    first, second = (checks.check(composed(f"seed={seed}", "background.patch_count=8")) for seed in (0, 1))
    assert first == second
    assert len(built) == 1
    with pytest.raises(SlackoffError, match="count"):
        checks.check(composed("evaluation.count=0"))
