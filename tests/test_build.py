import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from slackoff import build
from slackoff.checks import Checks
from slackoff.config.presets import config_folder
from slackoff.errors import SlackoffError
from slackoff.losses import L1
from slackoff.rain import RainRange
from slackoff.tasks import SupervisedTask

CONF = config_folder()
GROUPS = ("background", "evaluation", "labelled", "logger", "network", "rain", "size", "task", "trainer", "unlabelled")
CHOICES = [f"{group}={path.stem}" for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
PLACED = {"protocol": "evaluation.protocol", "terms": "task.terms", "weighting": "task.weighting"}
"""Groups that are chosen for a place inside another one's choice."""
PLACED_CHOICES = [
    f"{group}@{place}={path.stem}" for group, place in PLACED.items() for path in sorted((CONF / group).glob("*.yaml"))
]
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
SIZES = ("smoke", "laptop", "paper")
SCHEDULE = ("steps", "batch_size", "evaluate_every", "checkpoint_every", "log_every")

VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

# What the code adds to a node of its own accord.
ADDED = {"task": {"network", "steps"}, "evaluation.protocol": {"name"}}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """For such small tensors a second thread gives nothing, and on a busy machine it costs a lot."""
    torch.set_num_threads(1)


def composed_from(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(overrides))


def targets(node: Any, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every node with a _target_, and where it stands."""
    if isinstance(node, list):
        for item in node:
            yield from targets(item, key)
    if isinstance(node, dict):
        if "_target_" in node:
            yield key, node
        for name, value in node.items():
            yield from targets(value, f"{key}.{name}".lstrip("."))


def assert_signatures_fit(config: DictConfig, find: Callable[[str, str], type] = build._class) -> int:
    found = list(targets(OmegaConf.to_container(config, resolve=False)))
    for key, node in found:
        parameters = _parameters(find(node["_target_"], key))
        required = {
            name
            for name, parameter in parameters.items()
            if parameter.default is parameter.empty and parameter.kind not in VARIADIC
        }
        given = set(node) - {"_target_", "name"} | ADDED.get(key, set())
        assert given <= set(parameters), f"{key}: {node['_target_']} does not take {sorted(given - set(parameters))}"
        assert required <= given, f"{key}: {node['_target_']} also needs {sorted(required - given)}"
    return len(found)


def _parameters(kind: type) -> dict[str, inspect.Parameter]:
    """What a class takes; where it hands keywords on, also what the class behind it takes."""
    found = dict(inspect.signature(kind).parameters)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in found.values()) and kind.__base__ not in (
        None,
        object,
    ):
        return _parameters(kind.__base__) | found
    return found


def test_every_group_of_the_config_tree_is_looked_at():
    folders = {path.name for path in CONF.iterdir() if path.is_dir()}
    assert folders == {*GROUPS, *PLACED, "experiment", "hydra"}


@pytest.mark.parametrize("choice", [*CHOICES, *PLACED_CHOICES])
def test_every_node_fits_the_signature_of_its_target(choice):
    task = ["task=multitask"] if "@task" in choice else []
    assert assert_signatures_fit(composed_from(*task, choice)) >= 6


def test_launchers_fit_the_signature_of_their_target():
    for path in sorted((CONF / "hydra" / "launcher").glob("*.yaml")):
        assert assert_signatures_fit(OmegaConf.load(path), lambda target, key: get_class(target)) == 1


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_in_every_size(experiment, size):
    config = composed_from(f"+experiment={experiment}", f"size={size}")
    assert config.size == size
    assert config.study.name == experiment
    assert assert_signatures_fit(config) >= 6
    assert OmegaConf.select(config, config.study.axis) is not None
    if "cells" not in config.study:  # it measures images, or its cells stand in a manifest
        assert {"measure", "manifest"} & set(config.study.keys())
        return
    cells = config.study.cells[size]
    for group in GROUPS:
        for choice in str(cells.get(group, "")).split(","):
            assert not choice or (CONF / group / f"{choice}.yaml").is_file(), f"{group}={choice}"
    counts = [int(count) for count in str(cells.get("patch_count", 1)).split(",")]
    assert counts == sorted(set(counts))


@pytest.mark.parametrize("size", SIZES)
def test_the_zoo_draws_all_that_it_is_tested_on(size):
    evaluation = OmegaConf.load(CONF / "experiment" / "zoo.yaml").study.cells[size].evaluation
    config = composed_from("+experiment=zoo", f"size={size}", f"evaluation={evaluation}")
    assert list(build.build_test_sets(config)) == [*config.study.test_sets][: 1 if size == "smoke" else 2]


def test_the_paper_size_is_the_schedule_of_the_paper():
    config = composed_from("size=paper")
    assert (config.schedule.steps, config.schedule.batch_size, config.background.patch_size_px) == (250_000, 16, 128)
    task = config.task
    assert (task.learning_rate, task.decay.minimum_learning_rate, list(task.betas)) == (2e-4, 1e-7, [0.9, 0.99])
    assert task.loss["_target_"] == "slackoff.losses.L1"


def node(**values: Any) -> DictConfig:
    return OmegaConf.create(values)


def test_a_node_becomes_its_object_and_its_name_is_only_a_label():
    small = {"quantity": [200, 300], "width": [5], "length": [30, 31]}
    built = build.build(node(_target_="slackoff.rain.RainRange", name="small", **small), "rain", angle_deg=[0, 1])
    assert built == RainRange(**small, angle_deg=[0, 1])
    assert type(built.width) is list


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (node(_target_="slackoff.networks.UNet", widht=3), "^network cannot be built: .*unexpected.*'widht'$"),
        (node(_target_="slackoff.networks.UNet", width=0), r"^network\.width=0 and network\.levels=5 must both"),
        (node(_target_="slackoff.networks.VNet"), "^network cannot be built: .*VNet"),
        (node(width=3), "^network has no _target_: name the class to make$"),
    ],
)
def test_a_node_that_cannot_be_built_is_one_sentence(bad, message):
    with pytest.raises(SlackoffError, match=message) as raised:
        build.build(bad, "network")
    assert "\n" not in str(raised.value)


def test_the_weights_depend_on_the_seed_alone(composed):
    torch.manual_seed(1)
    first = build.build_network(composed("seed=3")).state_dict()
    torch.manual_seed(2)
    again, other = (build.build_network(composed(f"seed={seed}")).state_dict() for seed in (3, 4))
    assert all(torch.equal(again[name], value) for name, value in first.items())
    assert all(not torch.equal(other[name], value) for name, value in first.items())


def test_the_pieces_hold_what_the_config_says(composed):
    config = composed("network=unet_tiny", "rain=large", "seed=7", "schedule.batch_size=6", "task.betas=[0.8,0.9]")
    bank = np.zeros((2, 64, 64, 3), np.uint8)
    data = build.build_data(config, bank)
    assert data.bank is bank
    assert data.options["batch_size"] == 6
    assert data.options["seed"] == 7
    assert data.options["fixed_rain_per_patch"] is False
    assert data.options["channels_last"] is True
    assert data.options["rain_range"].length == [5, 60]
    task = build.build_task(config, build.build_network(config))
    assert isinstance(task, SupervisedTask)
    assert task.steps == config.schedule.steps
    assert tuple(task.betas) == (0.8, 0.9)
    assert isinstance(task.loss, L1)


def test_banks_are_nested_and_hold_only_training_photos(composed):
    config = composed("background.patch_count=6")
    backgrounds = build.build_backgrounds(config)
    bank = build.build_bank(config, backgrounds)
    assert bank.shape == (6, 64, 64, 3)
    np.testing.assert_array_equal(build.build_bank(composed("background.patch_count=3"), backgrounds), bank[:3])
    assert set(backgrounds.split.train).isdisjoint(backgrounds.split.test)


def test_the_evaluator_holds_what_the_config_says(composed):
    config = composed("evaluation.count=5", "evaluation.quick_count=2", "evaluation.protocol.name=mine")
    evaluator = build.build_evaluator(config, build.build_backgrounds(config))
    assert (len(evaluator.images), len(evaluator.quick), evaluator.picture_count) == (5, 2, 2)
    assert (evaluator.name, evaluator.protocol.name) == ("r100like", "mine")


def test_a_sound_config_passes_the_check(composed):
    Checks().check(composed())
    Checks().check(composed("rain=large", "network=resnet_small", "background.patch_size_px=32"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["background.patch_count=100000000"], r"^background\.patch_count=100000000 is more than the \d+ patches"),
        (["background.patch_count=0"], r"^background\.patch_count=0 is no count: give a whole number from 1 up"),
        (["background.patch_count=abc"], r"^background\.patch_count=abc is no count"),
        (["background.patch_size_px=null"], r"^background\.patch_size_px=None is no count"),
        (["background.patch_size_px=16"], r"^background\.patch_size_px=16 is too small for rain\.length=\[30, 31\]"),
        (["background.patch_size_px=28", "rain=large"], r"^background\.patch_size_px=28 is too small .* than 30 px"),
        (["background.patch_size_px=1024"], r"is smaller than a patch, background\.patch_size_px=1024"),
        (["background.seed=null"], r"^background\.seed=None is no seed"),
        (["seed=abc"], r"^seed=abc is no seed: give a whole number"),
        *(([f"schedule.{key}=0"], rf"^schedule\.{key}=0 is no count") for key in SCHEDULE),
        (["schedule.steps=1.5"], r"^schedule\.steps=1\.5 is no count"),
        (["schedule.steps=true"], r"^schedule\.steps=True is no count"),
        (["evaluation.quick_count=0"], r"^evaluation\.quick_count=0 is no count"),
        (["evaluation.picture_count=-1"], r"^evaluation\.picture_count=-1 is no count: give a whole number from 0 up"),
        (["trainer.precision=fp8"], r"^trainer\.precision=fp8 is not known: choose one of auto, 32-true"),
        (["trainer.accelerator=abacus"], r"^trainer\.accelerator=abacus is not known: choose one of auto, cpu, gpu"),
        (["fixed_rain_per_patch=no"], r"^fixed_rain_per_patch=no is not known: choose one of True, False"),
        (["rain.length=[40,20]"], r"^rain\.length is reversed"),
        (["rain.width=[]"], r"^rain\.width is \[\]"),
        (["+network.widht=8"], r"^network cannot be built: .*'widht'"),
        (["network.width=0"], r"^network\.width=0"),
        (["task.learning_rate=-1"], r"^task does not give an optimiser: .*learning rate: -1"),
        (["task.learning_rate=abc"], r"^task does not give an optimiser"),
        (["task.betas=[0.9]"], r"^task does not give an optimiser"),
        (["task.loss._target_=subprocess.run"], r"^task\.loss\._target_=subprocess\.run is refused"),
        (["evaluation.test_set.rain.angle_deg=[9,3]"], r"^evaluation\.test_set\.rain\.angle_deg is reversed"),
        (["evaluation.protocol.headline=3"], r"^evaluation\.protocol\.headline is 3"),
    ],
)
def test_the_check_finds_a_mistake_and_names_it(composed, overrides, message):
    with pytest.raises(SlackoffError, match=message) as raised:
        Checks().check(composed(*overrides))
    assert "\n" not in str(raised.value)


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
