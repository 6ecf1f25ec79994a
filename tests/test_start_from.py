"""A cell whose network starts from a file: its weights, its identity, its mistakes, and measuring without training."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file, save_file

from slackoff.cell import training
from slackoff.config import build
from slackoff.config.checks import Checks
from slackoff.errors import SlackoffError
from slackoff.record.status import Status
from slackoff.sweep.plan import plan

Composed = Callable[..., DictConfig]


@pytest.fixture
def weights(composed: Composed, tmp_path: Path) -> Path:
    """Weights of the tiny network that no seed draws."""
    torch.manual_seed(99)
    state = build.build(composed().network, "network").state_dict()
    save_file({name: tensor + 0.01 for name, tensor in state.items()}, tmp_path / "given.safetensors")
    return tmp_path / "given.safetensors"


def test_the_network_starts_with_the_weights_of_the_file(composed: Composed, weights: Path):
    config = composed(f"+start_from={weights}")
    found = build.build_started_network(config).state_dict()
    drawn = build.build_network(config).state_dict()
    for name, tensor in load_file(weights).items():
        assert torch.equal(found[name], tensor)
    assert not any(torch.equal(found[name], drawn[name]) for name in drawn)
    plain = build.build_started_network(composed()).state_dict()
    assert all(torch.equal(plain[name], drawn[name]) for name in drawn)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["+start_from=nowhere.pth"], r"start_from: nowhere\.pth is not there"),
        (["network=prenet_small", "+start_from=WEIGHTS"], r"start_from: .*given\.safetensors does not fit this PReNet"),
        (["schedule.steps=0"], r"schedule\.steps=0 trains nothing"),
        (["schedule.steps=-1", "+start_from=WEIGHTS"], r"schedule\.steps=-1 cannot be: give a whole number from 0 up"),
    ],
)
def test_mistakes_are_found_before_training(composed: Composed, weights: Path, overrides, sentence):
    config = composed(*(override.replace("WEIGHTS", str(weights)) for override in overrides))
    with pytest.raises(SlackoffError, match=sentence):
        Checks().check(config)


def test_a_missing_file_is_named_when_the_sweep_is_planned(composed: Composed):
    with pytest.raises(SlackoffError, match=r"start_from=nowhere\.pth cannot be read"):
        plan([composed("+start_from=nowhere.pth")], [[]])


def test_without_steps_the_network_is_measured_as_it_came(composed: Composed, weights: Path, tmp_path: Path):
    config = composed(f"+start_from={weights}", "schedule.steps=0", "evaluation.count=2")
    Checks().check(config)
    folder = tmp_path / "cell"
    folder.mkdir()
    OmegaConf.save(config, folder / "config.yaml")
    status = Status("0" * 12, {"network": "unet_tiny"}, 0)
    training.run_cell(config, folder, status, time.monotonic())
    written, given = load_file(folder / "network.safetensors"), load_file(weights)
    assert all(torch.equal(written[name], tensor) for name, tensor in given.items())
    images = pd.read_parquet(folder / "images.parquet")
    evaluator = build.build_evaluator(config, build.build_backgrounds(config))
    expected = evaluator.evaluate(build.build_started_network(config).eval())
    final = json.loads((folder / "steps.jsonl").read_text().splitlines()[-1])
    assert final["final/psnr_rgb"] == pytest.approx(expected.means["psnr_rgb"])
    assert len(images) == 2
    assert not list((folder / "checkpoints").glob("*"))


@pytest.mark.parametrize(("steps", "notes"), [(0, []), (3, ["dsc has nothing to train: no step was taken"])])
def test_a_method_without_parameters_is_measured_as_it_is(composed: Composed, tmp_path: Path, steps, notes):
    small = ["atoms=20", "rain_atoms=10", "samples=100", "sweeps=1", "rounds=1", "step=4"]
    config = composed(
        "network=dsc", f"schedule.steps={steps}", "evaluation.count=1", *(f"network.{option}" for option in small)
    )
    assert Checks().check(config) == 0
    folder = tmp_path / "cell"
    folder.mkdir()
    OmegaConf.save(config, folder / "config.yaml")
    status = Status("0" * 12, {"network": "dsc"}, steps)
    training.run_cell(config, folder, status, time.monotonic())
    assert status.notes == notes
    images = pd.read_parquet(folder / "images.parquet")
    network = build.build_network(config)
    expected = build.build_evaluator(config, build.build_backgrounds(config)).evaluate(network)
    pd.testing.assert_frame_equal(images, expected.rows)
    assert images["psnr_rgb"].notna().all()
    assert load_file(folder / "network.safetensors") == {}
    assert not list((folder / "checkpoints").glob("*"))


def test_training_begins_with_the_file(composed: Composed, weights: Path, tmp_path: Path):
    """With a rate of almost nothing, what comes out is what went in."""
    config = composed(
        f"+start_from={weights}", "schedule.steps=1", "schedule.learning_rate=1e-12", "evaluation.count=2"
    )
    folder = tmp_path / "cell"
    folder.mkdir()
    training.run_cell(config, folder, Status("0" * 12, {"network": "unet_tiny"}, 1), time.monotonic())
    written, given = load_file(folder / "network.safetensors"), load_file(weights)
    assert max((written[name] - tensor).abs().max() for name, tensor in given.items()) < 1e-6
