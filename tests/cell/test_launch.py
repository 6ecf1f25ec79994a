"""The process of a cell: what it inherits from a launcher above the sweep, and how it stops."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning.fabric.utilities.rank_zero import _get_rank
from lightning.pytorch.utilities import rank_zero_only

from slackoff.cell.launch import CellExit, LaunchOptions, launcher_variables, start_cell_process
from slackoff.sweep.plan import Cell
from train_here import measures, train_here, written
from wait import wait_for

VARIABLES = {
    "RANK": "1",
    "LOCAL_RANK": "1",
    "NODE_RANK": "1",
    "GROUP_RANK": "1",
    "WORLD_SIZE": "2",
    "LOCAL_WORLD_SIZE": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "1",
    "SLURM_NTASKS": "2",
    "JSM_NAMESPACE_RANK": "1",
    "PMI_RANK": "1",
    "OMPI_COMM_WORLD_RANK": "1",
    "PET_NNODES": "2",
    "TORCHELASTIC_RUN_ID": "theirs",
}
Make = Callable[..., Path]


@pytest.fixture
def make(prepared: Callable[..., Cell], tmp_path: Path) -> Make:
    """Prepare a smoke cell under a name; its folder."""

    def prepare(name: str, *overrides: str) -> Path:
        short = ("schedule.steps=4", "schedule.evaluate_every=2", "schedule.log_every=1", "evaluation.count=2")
        return prepared(f"runs={tmp_path / name}", *short, *overrides).folder

    return prepare


known: list[list[dict[str, float]]] = []


@pytest.fixture
def undisturbed(make: Make) -> list[dict[str, float]]:
    """What the cell logs below no launcher; trained once."""
    if not known:
        folder = make("alone")
        assert train_here(folder) == CellExit.DONE
        known.append(measures(folder))
        assert [row["step"] for row in known[0] if "train/loss" in row] == [1, 2, 3, 4]
    return known[0]


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"])
def test_a_cell_that_trains_alone_logs_the_same_below_any_launcher(
    make: Make, undisturbed: list[dict[str, float]], monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.setenv(name, VARIABLES[name])
    monkeypatch.setattr(rank_zero_only, "rank", _get_rank() or 0)  # as Lightning does when it is imported
    assert train_here(below := make("below")) == CellExit.DONE
    assert measures(below) == undisturbed
    assert name not in os.environ


@pytest.mark.slow
def test_a_process_of_a_cell_logs_the_same_below_all_of_them(make: Make, undisturbed: list[dict[str, float]]):
    folder = make("below")
    assert start_cell_process(folder, LaunchOptions(), VARIABLES).wait(timeout=120) == CellExit.DONE
    assert measures(folder) == undisturbed


def test_what_does_not_tell_a_rank_is_left_alone():
    others = ["SLURM_JOB_ID", "SLURM_CPUS_PER_TASK", "SLACKOFF_LAUNCH_OPTIONS", "OMP_NUM_THREADS"]
    others += ["CUDA_VISIBLE_DEVICES"]
    assert launcher_variables([*VARIABLES, *others]) == list(VARIABLES)


def test_options_survive_the_way_through_the_environment(monkeypatch: pytest.MonkeyPatch):
    assert LaunchOptions.read().after is None
    for options in (LaunchOptions(3, 2, "gpu 0", 1.5, (17, 12345.0)), LaunchOptions(0)):
        for name, value in options.as_environment().items():
            monkeypatch.setenv(name, value)
        assert LaunchOptions.read() == options


def test_a_cell_is_stopped_with_a_checkpoint_from_which_it_goes_on(make: Make):
    folder = make("stopped", "schedule.steps=5000", "schedule.checkpoint_every=10", "schedule.log_every=1000")
    process = start_cell_process(folder, LaunchOptions(), {"OMP_NUM_THREADS": "1"})
    wait_for(lambda: (folder / "checkpoints/last.ckpt").exists() or process.poll() is not None)
    process.terminate()
    assert process.wait(timeout=60) == CellExit.INTERRUPTED
    status = written(folder)
    step = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["global_step"]
    assert (status.state, status.step) == ("interrupted", step)
    assert 0 < step < 5000
    assert status.seconds_to_first_step is not None
    assert 0 < status.seconds_to_first_step < 120
