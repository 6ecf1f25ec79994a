"""Two ranks inside a multirun: the same losses as one, and not a cell, record or W&B run more than there should be."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from lightning import Trainer
from safetensors.torch import load_file
from torch import nn

from slackoff.errors import SlackoffError
from slackoff.handover import Exit
from slackoff.record.files import read_lines
from slackoff.record.ledger import attempts
from slackoff.training import refuse_split_norm
from train_here import train_here

STEPS = 6
SWEEP = ["+experiment=patchcount", "-m", "size=smoke", "trainer.precision=32-true", "schedule.log_every=1"]
SWEEP += [f"schedule.steps={STEPS}", "schedule.evaluate_every=3", "schedule.checkpoint_every=6"]
SWEEP += ["background.patch_count=4", "evaluation.count=2", "hydra.launcher.gpus_per_cell=2"]
ABOVE = {"RANK": "3", "LOCAL_RANK": "3", "WORLD_SIZE": "8", "MASTER_PORT": "1", "PET_NNODES": "2", "SLURM_PROCID": "3"}
"""What a launcher above the sweep has told it."""


def sweep(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "slackoff", *SWEEP, *overrides],
        cwd=folder,
        env={**os.environ, **ABOVE, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=280,
    )


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep of one cell that two ranks have trained."""
    folder = tmp_path_factory.mktemp("ranks")
    result = sweep(folder)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.mark.slow
def test_there_is_one_cell_with_one_record_and_one_wandb_run(swept: Path):
    (cell,) = (swept / "runs/cells").iterdir()
    (run,) = swept.glob("runs/cells/*/wandb/offline-run-*")
    assert run.name.endswith(f"-{cell.name}")
    assert [attempt.outcome for attempt in attempts(cell)] == ["done"]
    steps = [row["step"] for row in read_lines(cell / "steps.jsonl") if "train/loss" in row]
    assert steps == list(range(1, STEPS + 1))
    assert json.loads((cell / "environment.json").read_text())["ranks"] == 2


@pytest.mark.slow
def test_losses_and_weights_are_those_of_one_rank(swept: Path, tmp_path: Path):
    (two,) = (swept / "runs/cells").iterdir()
    one = tmp_path / two.name
    one.mkdir()
    for name, old, new in (("config.yaml", "wandb: true", "wandb: false"), ("status.json", "done", "pending")):
        text = (two / name).read_text()
        assert text.count(old) == 1
        (one / name).write_text(text.replace(old, new))
    assert train_here(one) == Exit.DONE
    losses = [
        torch.tensor([row["train/loss"] for row in read_lines(cell / "steps.jsonl") if "train/loss" in row])
        for cell in (one, two)
    ]
    assert len(losses[0]) == STEPS
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-4, atol=0)
    weights = load_file(one / "network.safetensors")
    for key, value in load_file(two / "network.safetensors").items():
        torch.testing.assert_close(value, weights[key], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("network", "ranks", "device", "refused"),
    [
        (nn.BatchNorm2d(3), 2, "cpu", True),
        (nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)), 4, "cpu", True),
        (nn.BatchNorm2d(3), 1, "cpu", False),
        (nn.BatchNorm2d(3), 2, "cuda", False),
        (nn.GroupNorm(3, 3), 2, "cpu", False),
    ],
)
def test_what_normalises_over_the_batch_is_not_split_on_a_cpu(network, ranks, device, refused):
    trainer = cast(
        "Trainer", SimpleNamespace(world_size=ranks, strategy=SimpleNamespace(root_device=torch.device(device)))
    )
    if not refused:
        refuse_split_norm(network, trainer)
        return
    with pytest.raises(SlackoffError, match=f"{type(network).__name__} normalises over the batch .*gpus_per_cell=1"):
        refuse_split_norm(network, trainer)


@pytest.mark.slow
def test_a_refusal_of_both_ranks_is_said_by_the_sweep(tmp_path: Path):
    result = sweep(tmp_path, "network=rcdnet_small", "task=rcdnet")
    assert result.returncode != 0
    assert "RCDNet normalises over the batch (BatchNorm), which ranks on a CPU cannot do together" in result.stdout
