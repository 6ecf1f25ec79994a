"""Killed at any step, the same command again ends with the weights of an undisturbed run."""

import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pytest
import torch
from safetensors.torch import load_file

from slackoff.cell.launch import CellExit, LaunchOptions, start_cell_process
from slackoff.record.checkpoint import WholeFileCheckpointIO
from slackoff.record.ledger import HeartbeatMonitor
from slackoff.sweep.cell_folders import prepare
from slackoff.sweep.plan import Cell
from train_here import measures, train_here, written
from wait import wait_for

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@pytest.fixture
def cheap(prepared) -> Callable[..., Cell]:
    """A prepared cell that is measured quickly."""
    return partial(prepared, "schedule.checkpoint_every=6", "evaluation.count=2", "evaluation.quick_count=1")


def kill_once(process: subprocess.Popen[bytes], condition) -> None:
    wait_for(lambda: condition() or process.poll() is not None)
    assert process.poll() is None, "the cell ended before it could be killed"
    process.kill()
    process.wait()


SEMI_SUPERVISED = (
    "task=semi_supervised",
    "task.learning_rate=1e-3",
    "network=moss",  # it has a memory, running averages and gates that open at random
    *("network.width=4", "network.growth=2", "network.blocks=1", "network.memory_items=16"),
    "unlabelled=synthesised",
    "unlabelled.patch_count=4",
    "unlabelled.batch_size=3",
)
REGIMES = {
    "supervised": ("task=supervised",),
    "first stage": (*SEMI_SUPERVISED, "task.supervised=10steps"),
    "switch": (*SEMI_SUPERVISED, "task.supervised=6steps"),  # the checkpoint from which the killed cell goes on
    "second stage": (*SEMI_SUPERVISED, "task.supervised=3steps"),
}


def all_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Of every network that the cell left: student and teacher with their memories and running averages."""
    return {
        f"{path.stem}.{name}": value
        for path in sorted(folder.glob("*.safetensors"))
        for name, value in load_file(path).items()
    }


SLOW = ("first stage", "second stage")  # the tasks' own tests stop there too, without processes


@pytest.mark.parametrize(
    "overrides",
    [pytest.param(given, id=name, marks=pytest.mark.slow if name in SLOW else ()) for name, given in REGIMES.items()],
)
def test_kill_and_resume_gives_the_same_weights_bit_for_bit(cheap, overrides):
    """Killed as a process of its own, before and after in another one."""
    undisturbed = cheap(*overrides)
    assert train_here(undisturbed.folder) == CellExit.DONE
    weights = all_weights(undisturbed.folder)
    assert ("teacher.memory.table" in weights) == (overrides is not REGIMES["supervised"])
    rows = measures(undisturbed.folder)
    undisturbed_end = torch.load(undisturbed.folder / "checkpoints" / "last.ckpt", weights_only=True)
    (undisturbed.folder / "network.safetensors").unlink()

    folder = undisturbed.folder.with_name("killed")
    undisturbed.folder.rename(undisturbed.folder.with_name("undisturbed"))
    killed = Cell(undisturbed.id, undisturbed.config, folder, undisturbed.label, undisturbed.axes)
    prepare(killed, HeartbeatMonitor())
    checkpoint = folder / "checkpoints" / "last.ckpt"
    kill_once(start_cell_process(folder, LaunchOptions(), ONE_THREAD), checkpoint.exists)
    status = written(folder)
    assert status.state == "running"
    assert not (folder / "network.safetensors").exists()
    assert train_here(folder) == CellExit.DONE

    resumed = all_weights(folder)
    assert resumed.keys() == weights.keys()
    for name, value in weights.items():
        assert torch.equal(value, resumed[name]), name
    resumed_end = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    for key in ("optimizer_states", "lr_schedulers"):
        torch.testing.assert_close(resumed_end[key], undisturbed_end[key], rtol=0, atol=0)
    assert measures(folder) == rows
    status = written(folder)
    assert (status.state, status.attempts) == ("done", 2)


def test_a_truncated_checkpoint_is_passed_over_for_the_previous_one_and_said(cheap):
    cell = cheap()
    assert train_here(cell.folder) == CellExit.DONE
    weights = load_file(cell.folder / "network.safetensors")
    last = cell.folder / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-2000])
    status = written(cell.folder)
    status.state = "interrupted"
    status.write(cell.folder)
    assert train_here(cell.folder) == CellExit.DONE
    status = written(cell.folder)
    assert status.state == "done"
    assert any("last.ckpt is truncated or damaged" in note for note in status.notes)
    assert any("previous.ckpt, step 18" in note for note in status.notes)
    again = load_file(cell.folder / "network.safetensors")
    assert all(torch.equal(weights[name], again[name]) for name in weights)


@pytest.mark.parametrize("foreign", [{"weights": torch.zeros(3)}, {"slackoff_cell": "other", "global_step": 3}])
def test_a_checkpoint_that_is_not_ours_is_refused(cheap, foreign):
    cell = cheap()
    last = cell.folder / "checkpoints" / "last.ckpt"
    last.parent.mkdir()
    torch.save(foreign, last)
    assert train_here(cell.folder) == CellExit.FAILED
    status = written(cell.folder)
    assert status.state == "failed"
    assert "last.ckpt was not written by slackoff for cell" in str(status.last_error)
    assert torch.load(last, weights_only=True).keys() == foreign.keys()


def test_nan_loss_stops_the_cell_and_names_step_and_checkpoint(cheap):
    cell = cheap("task.learning_rate=1e30", "schedule.log_every=1")
    assert train_here(cell.folder) == CellExit.FAILED
    status = written(cell.folder)
    assert "The loss became NaN or infinite at step" in str(status.last_error)
    assert "no checkpoint was written before" in str(status.last_error)
    assert "task.learning_rate" in str(status.last_error)
    assert "NonFiniteLossError" in (cell.folder / "error.txt").read_text()


def test_saving_keeps_the_previous_checkpoint_and_leaves_no_partial_files(tmp_path: Path):
    plugin = WholeFileCheckpointIO("cell")
    for step in (1, 2, 3):
        plugin.save_checkpoint({"global_step": step}, tmp_path / "last.ckpt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.ckpt", "previous.ckpt"]
    assert torch.load(tmp_path / "last.ckpt", weights_only=True) == {"global_step": 3, "slackoff_cell": "cell"}
    assert torch.load(tmp_path / "previous.ckpt", weights_only=True)["global_step"] == 2


def test_a_failed_save_keeps_both_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plugin = WholeFileCheckpointIO("cell")
    for step in (1, 2):
        plugin.save_checkpoint({"global_step": step}, tmp_path / "last.ckpt")

    def full_disk(content: object, file: BinaryIO) -> None:
        file.write(b"half")
        try:
            raise OSError(28, "No space left on device")
        except OSError:
            raise RuntimeError("unexpected pos 576 vs 534")  # noqa: B904 - as torch raises it

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        plugin.save_checkpoint({"global_step": 3}, tmp_path / "last.ckpt")
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 2
    assert torch.load(tmp_path / "previous.ckpt", weights_only=True)["global_step"] == 1
    assert len(list(tmp_path.iterdir())) == 2
