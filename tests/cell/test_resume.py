"""Killed at any step, the same command again ends with the weights of an undisturbed run."""

import errno
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from slackoff.cell import training
from slackoff.cell.launch import CellExit, LaunchOptions, start_cell_process
from slackoff.deraining.model import from_cell
from slackoff.record import checkpoint
from slackoff.record.checkpoint import WholeFileCheckpointIO
from slackoff.record.ledger import HeartbeatMonitor, attempts, claim, end_attempt
from slackoff.record.results import kept_pictures
from slackoff.record.status import Status
from slackoff.sweep.cell_folders import prepare, repair
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


def cut_short(cell: Cell) -> Path:
    """The last checkpoint of a done cell, which is now one that was interrupted, its checkpoint half written."""
    last = cell.folder / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-2000])
    status = written(cell.folder)
    status.state = "interrupted"
    status.write(cell.folder)
    return last


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
    cut_short(cell)
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


@pytest.mark.parametrize("linked", [True, False], ids=["hard links", "no hard links"])
def test_a_flipped_byte_in_a_checkpoint_is_found(tmp_path: Path, linked: bool, monkeypatch: pytest.MonkeyPatch):
    """Nothing but the checksums of the file tells it: torch would load the wrong weights."""
    if not linked:
        monkeypatch.setattr(checkpoint.os, "link", Mock(side_effect=PermissionError(1, "no hard links here")))
    plugin = WholeFileCheckpointIO("cell")
    for step in (1, 2):
        plugin.save_checkpoint({"global_step": step, "weights": torch.arange(64.0)}, tmp_path / "last.ckpt")
    content = (tmp_path / "last.ckpt").read_bytes()
    place = content.index(torch.arange(64.0).numpy().tobytes()) + 100
    (tmp_path / "last.ckpt").write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    wrong = torch.load(tmp_path / "last.ckpt", weights_only=True)["weights"]
    assert not torch.equal(wrong, torch.arange(64.0))
    found = checkpoint.find_resume_point(tmp_path, "cell")
    assert (found.path, found.step) == (tmp_path / "previous.ckpt", 1)
    assert "last.ckpt is truncated or damaged and was not used" in found.notes[0]


def test_what_the_data_and_the_checkpoint_say_is_all_noted(cheap, monkeypatch: pytest.MonkeyPatch):
    make = training.build.build_training_data

    def with_a_note(*given: Any) -> Any:
        data = make(*given)
        data.notes = ["a pair is left out"]
        return data

    monkeypatch.setattr(training.build, "build_training_data", with_a_note)
    cell = cheap()
    assert train_here(cell.folder) == CellExit.DONE
    assert written(cell.folder).notes == ["a pair is left out"]
    last = cut_short(cell)
    assert train_here(cell.folder) == CellExit.DONE
    notes = written(cell.folder).notes
    assert [note.partition(" is truncated")[0] for note in notes[:2]] == ["a pair is left out", str(last)]
    assert len(notes) == 3


def test_the_pictures_of_student_and_teacher_are_their_own(cheap):
    cell = cheap(*REGIMES["switch"])
    assert train_here(cell.folder) == CellExit.DONE
    runs = cell.folder.parents[1]
    networks = {"output": from_cell(cell.id, runs), "output_teacher": from_cell(cell.id, runs, "teacher")}
    places = list(kept_pictures(cell.folder).values())
    assert places
    for place in places:
        rainy, *shown = (np.array(Image.open(place / f"{kind}.png")) for kind in ("rainy", *networks))
        images = torch.from_numpy(rainy).permute(2, 0, 1)[None] / 255
        expected = [model.network(images)[0].clamp(0, 1).permute(1, 2, 0).numpy() * 255 for model in networks.values()]
        own = [[np.abs(picture - each).mean() for each in expected] for picture in shown]
        assert own[0][0] < 1 < own[0][1]
        assert own[1][1] < 1 < own[1][0]


def test_a_cell_that_another_process_has_just_done_is_left_alone(cheap):
    cell = cheap()
    assert train_here(cell.folder) == CellExit.DONE
    before = {path: path.stat().st_mtime_ns for path in cell.folder.rglob("*") if path.is_file()}
    assert train_here(cell.folder) == CellExit.DONE
    assert [attempt.outcome for attempt in attempts(cell.folder)] == ["done", "unneeded"]
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_failure_that_cannot_be_written_into_the_status_is_in_the_ledger(cheap, monkeypatch: pytest.MonkeyPatch):
    cell = cheap("task.learning_rate=1e30", "schedule.log_every=1")
    write = Status.write

    def refused(self: Status, folder: Path) -> None:
        if self.state == "failed":
            raise OSError(errno.EIO, "Input/output error")
        write(self, folder)

    monkeypatch.setattr(Status, "write", refused)
    assert train_here(cell.folder) == CellExit.FAILED
    (attempt,) = attempts(cell.folder)
    assert attempt.outcome == "failed"
    assert "The loss became NaN or infinite" in str(attempt.error)


def test_evaluations_are_no_time_of_training(cheap, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(training.RecordLogger, "elapsed", lambda self: 100.0)
    monkeypatch.setattr(
        training.EvaluationCallback, "on_train_batch_end", lambda self, *_: setattr(self, "seconds", 40.0)
    )
    cell = cheap()
    assert train_here(cell.folder) == CellExit.DONE
    status = written(cell.folder)
    assert status.train_seconds == 60
    assert status.evaluate_seconds >= 40


def test_a_damaged_status_of_a_cell_that_is_held_is_left_to_its_process(cheap):
    cell = cheap()
    held = claim(cell.folder)
    (cell.folder / "status.json").write_text("{")
    assert repair(cell, HeartbeatMonitor()) is None
    assert (cell.folder / "status.json").read_text() == "{"
    assert attempts(cell.folder) == [held]
    end_attempt(held, "interrupted")
    assert "was damaged and is made anew" in str(repair(cell, HeartbeatMonitor()))
    assert written(cell.folder).state == "pending"
