"""A launcher above the sweep (srun, torchrun, mpirun, Kubeflow) has told its processes ranks that are not ours."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from lightning.fabric.utilities.rank_zero import _get_rank
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from slackoff.handover import Exit, launcher_variables
from slackoff.record.files import read_lines
from slackoff.record.ledger import Watch
from slackoff.sweep.cell_folders import prepare
from slackoff.sweep.plan import plan
from train_here import train_here

CLOCKS = ("elapsed_s", "train/steps_per_second")
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
Make = Callable[[str], Path]


@pytest.fixture
def make(composed: Callable[..., DictConfig], tmp_path: Path) -> Make:
    """Prepare a smoke cell under a name; its folder."""

    def prepared(name: str) -> Path:
        short = ("schedule.steps=4", "schedule.evaluate_every=2", "schedule.log_every=1", "evaluation.count=2")
        (cell,) = plan([composed(f"runs={tmp_path / name}", *short)], [[]])
        prepare(cell, Watch())
        return cell.folder

    return prepared


def measures(folder: Path) -> list[dict[str, float]]:
    """What was logged, without the clock."""
    rows = read_lines(folder / "steps.jsonl")
    return [{key: value for key, value in row.items() if key not in CLOCKS} for row in rows]


@pytest.fixture(scope="module")
def known() -> list[list[dict[str, float]]]:
    return []


@pytest.fixture
def undisturbed(make: Make, known: list[list[dict[str, float]]]) -> list[dict[str, float]]:
    """What the cell logs below no launcher."""
    if not known:
        folder = make("alone")
        assert train_here(folder) == Exit.DONE
        known.append(measures(folder))
        assert [row["step"] for row in known[0] if "train/loss" in row] == [1, 2, 3, 4]
    return known[0]


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"])
def test_a_cell_that_trains_alone_logs_the_same_below_any_launcher(
    make: Make, undisturbed: list[dict[str, float]], monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.setenv(name, VARIABLES[name])
    monkeypatch.setattr(rank_zero_only, "rank", _get_rank() or 0)  # as Lightning does when it is imported
    assert train_here(below := make("below")) == Exit.DONE
    assert measures(below) == undisturbed
    assert name not in os.environ


@pytest.mark.slow
def test_a_process_of_a_cell_logs_the_same_below_all_of_them(make: Make, undisturbed: list[dict[str, float]]):
    folder = make("below")
    command = [sys.executable, "-m", "slackoff.cell", str(folder)]
    subprocess.run(command, env={**os.environ, **VARIABLES}, check=True, timeout=120)
    assert measures(folder) == undisturbed


def test_what_does_not_tell_a_rank_is_left_alone():
    others = ["SLURM_JOB_ID", "SLURM_CPUS_PER_TASK", "SLACKOFF_HANDOVER", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"]
    assert launcher_variables([*VARIABLES, *others]) == list(VARIABLES)
