"""Two ranks inside a multirun: the same losses as one, and not a cell, record or W&B run more than there should be."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from slackoff.record.ledger import attempts
from slackoff.record.lines import read_lines

SWEEP = ["+experiment=patchcount", "-m", "size=smoke", "trainer.precision=32-true", "schedule.log_every=1"]


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The smoke sweep of two cells, each cell trained by one rank and by two."""
    folders = {}
    for ranks in (1, 2):
        folder = folders[ranks] = tmp_path_factory.mktemp(f"ranks{ranks}")
        result = subprocess.run(
            [sys.executable, "-m", "slackoff", *SWEEP, f"hydra.launcher.gpus_per_cell={ranks}"],
            cwd=folder,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert result.returncode == 0, result.stdout + result.stderr
    return folders


def cells(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in (folder / "runs/cells").iterdir()}


def test_there_are_two_cells_two_records_and_two_wandb_runs(sweeps: dict[int, Path]):
    found = cells(sweeps[2])
    assert found.keys() == cells(sweeps[1]).keys()
    assert len(found) == 2
    runs = [path.name for path in sweeps[2].glob("runs/cells/*/wandb/offline-run-*")]
    assert sorted(name.rpartition("-")[2] for name in runs) == sorted(found)
    for folder in found.values():
        assert [attempt.outcome for attempt in attempts(folder)] == ["done"]
        steps = [row["step"] for row in read_lines(folder / "steps.jsonl") if "train/loss" in row]
        assert steps == list(range(1, 21))
        assert json.loads((folder / "environment.json").read_text())["ranks"] == 2


def test_losses_and_weights_are_those_of_one_rank(sweeps: dict[int, Path]):
    one, two = cells(sweeps[1]), cells(sweeps[2])
    for name in one:
        losses = {
            ranks: torch.tensor([row["train/loss"] for row in read_lines(path) if "train/loss" in row])
            for ranks, path in ((1, one[name] / "steps.jsonl"), (2, two[name] / "steps.jsonl"))
        }
        torch.testing.assert_close(losses[2], losses[1], rtol=1e-4, atol=0)
        weights = load_file(one[name] / "network.safetensors")
        for key, value in load_file(two[name] / "network.safetensors").items():
            torch.testing.assert_close(value, weights[key], rtol=0, atol=1e-4)


def test_a_network_that_normalises_over_the_batch_is_not_split_on_a_cpu(tmp_path: Path):
    result = subprocess.run(
        [
            *(sys.executable, "-m", "slackoff", *SWEEP, "background.patch_count=4", "hydra.launcher.gpus_per_cell=2"),
            *("network=rcdnet_small", "task=rcdnet"),
        ],
        cwd=tmp_path,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert result.returncode != 0
    assert "RCDNet normalises over the batch (BatchNorm), which ranks on a CPU cannot do together" in result.stdout
