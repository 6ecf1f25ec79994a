from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file, save_file

from slackoff.config import build, config_folder
from slackoff.config.validate import check_config, parameters
from slackoff.losses import L1
from slackoff.rain import RainRange
from slackoff.sweep.expand import NotGivenError, resolved
from slackoff.sweep.plan import plan
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


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """For such small tensors a second thread gives nothing, and on a busy machine it costs a lot."""
    torch.set_num_threads(1)


def composed_from(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(overrides))


def checked(config: DictConfig) -> dict[str, Any]:
    """The plain values of a config in which nothing is wrong; what must be given is given."""
    while True:
        try:
            values = resolved(config)
            break
        except NotGivenError as error:
            OmegaConf.update(config, error.key, "given")
    check_config(values)
    return values


def test_every_group_of_the_config_tree_is_looked_at():
    folders = {path.name for path in CONF.iterdir() if path.is_dir()}
    assert folders == {*GROUPS, *PLACED, "experiment", "hydra", "validation"}


@pytest.mark.parametrize("choice", [*CHOICES, *PLACED_CHOICES])
def test_every_node_fits_the_signature_of_its_target(choice):
    checked(composed_from(*(["task=multitask"] if "@task" in choice else []), choice))


def test_launchers_fit_the_signature_of_their_target():
    for path in sorted((CONF / "hydra" / "launcher").glob("*.yaml")):
        node = OmegaConf.load(path)
        takes = parameters(get_class(node.pop("_target_")))
        assert set(node) <= set(takes.types)
        assert not takes.open


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_in_every_size(experiment, size):
    config = composed_from(f"+experiment={experiment}", f"size={size}")
    assert config.size == size
    assert config.study.name == experiment
    checked(config)
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


def test_a_node_becomes_its_object_and_its_name_is_only_a_label():
    small = {"quantity": [200, 300], "width": [5], "length": [30, 31]}
    node = OmegaConf.create({"_target_": "slackoff.rain.RainRange", "name": "small", **small})
    built = build.build(node, "rain", angle_deg=[0, 1])
    assert built == RainRange(**small, angle_deg=[0, 1])
    assert type(built.width) is list


def test_the_weights_depend_on_the_seed_alone(composed):
    torch.manual_seed(1)
    first = build.build_network(composed("seed=3")).state_dict()
    torch.manual_seed(2)
    again, other = (build.build_network(composed(f"seed={seed}")).state_dict() for seed in (3, 4))
    assert all(torch.equal(again[name], value) for name, value in first.items())
    assert all(not torch.equal(other[name], value) for name, value in first.items())


def test_weights_to_start_from_may_lie_at_home(composed, tmp_path, monkeypatch):
    """A manifest writes ~ as people do; on the command line it is written out before."""
    monkeypatch.setenv("HOME", str(tmp_path))
    config = composed("seed=3", "+start_from='~/w.safetensors'")
    save_file(build.build_network(composed("seed=4")).state_dict(), tmp_path / "w.safetensors")
    started = build.build_started_network(config).state_dict()
    assert all(torch.equal(started[name], value) for name, value in load_file(tmp_path / "w.safetensors").items())
    assert len(plan([config], [[]])) == 1


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
