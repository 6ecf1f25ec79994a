"""How cells end when they or their record cannot say it. Cells are small programs here."""

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig
from rich.console import Console

from slackoff.errors import SlackoffError
from slackoff.handover import Exit
from slackoff.record.ledger import Watch, attempts, claim, end_attempt, latest
from slackoff.record.status import Status
from slackoff.sweep import driver as driver_module
from slackoff.sweep import prepare as prepare_module
from slackoff.sweep import processes, running
from slackoff.sweep.cell_folders import prepare, repair
from slackoff.sweep.driver import run_cells
from slackoff.sweep.failures import tell_failures
from slackoff.sweep.plan import Cell, plan
from slackoff.sweep.processes import CellProcess, LocalCells
from slackoff.sweep.running import Ended
from slackoff.sweep.site import Site
from slackoff.sweep.slots import Slot
from slackoff.sweep.starter import OnDemand

BEGIN = """
import json, os, sys
from pathlib import Path
from slackoff.handover import Exit, Handover
from slackoff.record.ledger import claim, end_attempt
from slackoff.record.status import read_status
folder, handover = Path(sys.argv[1]), Handover.read()
held = claim(folder, handover.slot, handover.after)
status = read_status(folder)

def finish():
    status.state = "done"
    status.write(folder)
"""
DONE = "finish(); end_attempt(held, 'done')"
SLOTS = [Slot({}, "cpu 0")]
CELLS = LocalCells(warm=False)
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def make(composed: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Cell]]:
    """Plan some cells whose processes run the given code."""
    monkeypatch.setattr(driver_module, "check_cells", lambda cells, *_: dict.fromkeys((cell.id for cell in cells), 1.0))
    monkeypatch.setattr(driver_module, "check_hardware", lambda *_: [])
    real = subprocess.Popen

    def plan_cells(count: int, code: str) -> list[Cell]:
        def popen(command: list[str], **options: object) -> subprocess.Popen[bytes]:
            if "slackoff.cell" not in command:
                return real(command, **options)  # type: ignore[call-overload]
            return real([sys.executable, "-c", BEGIN + code, command[-1]], **options)  # type: ignore[call-overload]

        seeds = [f"seed={seed}" for seed in range(count)]
        cells = plan([composed(seed) for seed in seeds], [[seed] for seed in seeds])  # before Popen is another
        monkeypatch.setattr(processes.subprocess, "Popen", popen)
        return cells

    return plan_cells


def ended(cell: Cell) -> Ended:
    """Run one cell to its end."""
    prepare(cell, Watch())
    process = CELLS.start(cell, SLOTS[0])
    while not process.ended():
        time.sleep(0.02)
    return process.settle()


def refuse(*_: object) -> None:
    raise FULL


def test_exit_code_1_without_a_word_in_the_ledger_is_a_death(make):
    (cell,) = make(1, "raise ImportError('libtorch_cpu.so: failed to map segment from shared object')")
    ending, reason = ended(cell)
    assert ending == Exit.FAILED
    assert reason is not None
    assert reason.startswith("the process died (exit code 1); its last words are in ")
    assert "Memory seems to have run out" in reason
    assert [(attempt.outcome, attempt.error) for attempt in attempts(cell.folder)] == [("failed", reason)]


def test_a_failure_in_the_ledger_is_believed(make):
    (cell,) = make(1, "end_attempt(held, 'failed', 'no luck'); sys.exit(Exit.FAILED)")
    assert ended(cell) == (Exit.FAILED, "no luck")


def test_a_cell_that_was_taken_over_is_no_failure(make):
    (cell,) = make(1, "sys.exit(Exit.LOST)")
    assert ended(cell) == (Exit.ELSEWHERE, None)


def test_a_cell_that_is_done_and_could_only_not_end_its_attempt_is_done(make, monkeypatch: pytest.MonkeyPatch):
    (cell,) = make(1, "finish(); sys.exit(Exit.UNWRITTEN)")
    monkeypatch.setattr(running, "end_attempt", refuse)
    assert ended(cell) == (Exit.DONE, None)


def test_a_cell_that_could_not_write_for_a_while_says_so_in_the_ledger(make):
    (cell,) = make(1, "sys.exit(Exit.UNWRITTEN)")
    ending, reason = ended(cell)
    assert ending == Exit.FAILED
    assert f"{cell.folder} could not be written for a while: free space or make it writable" in str(reason)
    newest = latest(cell.folder)
    assert newest is not None
    assert newest.error == reason


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("sys.exit(Exit.UNWRITTEN)", "No space is left for "),
        ("os.abort()", "the process died (signal 6)"),
    ],
    ids=["because of it", "for another reason"],
)
def test_a_driver_that_cannot_write_a_failure_down_remembers_it(make, monkeypatch: pytest.MonkeyPatch, code, words):
    cells = make(3, f"if status.label['seed'] == 1:\n    {code}\n{DONE}")
    monkeypatch.setattr(running, "end_attempt", refuse)
    console = Console(record=True, width=300)
    statuses = run_cells(cells, Site(SLOTS, cells=CELLS), console)
    assert [status.state for status in statuses] == ["done", "failed", "done"]
    assert str(statuses[1].last_error).startswith(words)
    assert cells[1].status().state == "pending"  # what the record says
    assert tell_failures(cells, statuses, Site([]), console) == 1
    text = console.export_text()
    assert f"1 of 3 cells failed. The same command again trains only these.\ncell {cells[1].id} (" in text


def test_a_cell_that_cannot_be_started_is_a_failure_and_the_others_go_on(make):
    cells = make(3, DONE)

    class FullDisk(LocalCells):
        def start(self, cell: Cell, slot: Slot, after: int | None = None) -> CellProcess:
            if cell is cells[0]:
                raise FULL
            return super().start(cell, slot, after)

    statuses = run_cells(cells, Site(SLOTS, cells=FullDisk(warm=False)), Console(quiet=True))
    assert [status.state for status in statuses] == ["failed", "done", "done"]
    assert str(statuses[0].last_error).startswith(f"No space is left for {cells[0].folder}: free some")


def test_cells_that_were_left_are_counted_apart(make, capsys: pytest.CaptureFixture[str]):
    cells = make(3, DONE)
    statuses = [Status(cell.id, cell.label, 20) for cell in cells]
    statuses[0].state, statuses[0].last_error = "failed", "no luck"
    statuses[1].state = "done"
    runs = cells[0].folder.parents[1]
    assert tell_failures(cells, statuses, Site([]), Console(width=80)) == 1
    assert capsys.readouterr().out.splitlines() == [
        "1 of 3 cells failed, 1 not trained. The same command again trains only these.",
        f"cell {cells[0].id} (patch_count 4, seed 0): no luck | log: {cells[0].folder}/log.txt | "
        f"again: python -m slackoff retry --runs {runs} {cells[0].id}",
    ]


def test_cells_that_ran_elsewhere_are_trained_again_by_the_command_itself(make, monkeypatch, capsys):
    (cell,) = make(1, DONE)
    failed = Status(cell.id, cell.label, 20, "failed", last_error="no luck")
    monkeypatch.setattr(sys, "argv", ["slackoff", "-m", "+experiment=patchcount", "hydra/launcher=slurm"])
    tell_failures([cell], [failed], Site([], cells=OnDemand(LocalCells)), Console(width=80))
    assert (
        capsys.readouterr()
        .out.splitlines()[1]
        .endswith("again: python -m slackoff -m +experiment=patchcount hydra/launcher=slurm")
    )


def test_a_damaged_status_is_made_anew_and_the_cell_trained(make):
    cells = make(2, DONE)
    prepare(cells[0], Watch())
    (cells[0].folder / "status.json").write_bytes(b"")
    console = Console(record=True, width=300)
    statuses = run_cells(cells, Site(SLOTS, cells=CELLS), console)
    assert [status.state for status in statuses] == ["done", "done"]
    assert f"{cells[0].folder}/status.json was damaged and is made anew" in console.export_text()
    assert [attempt.outcome for attempt in attempts(cells[0].folder)] == ["interrupted", "done"]
    assert cells[0].status().label == cells[0].label


def test_a_damaged_status_of_a_cell_that_somebody_trains_is_left_to_them(make):
    (cell,) = make(1, DONE)
    prepare(cell, Watch())
    (cell.folder / "status.json").write_bytes(b"{")
    held = claim(cell.folder)
    assert repair(cell, Watch()) is None
    assert (cell.folder / "status.json").read_bytes() == b"{"
    end_attempt(held, "interrupted")
    assert "was damaged" in str(repair(cell, Watch()))
    assert repair(cell, Watch()) is None


def test_a_read_only_folder_is_named_before_anything_is_trained(make, monkeypatch: pytest.MonkeyPatch):
    cells = make(1, DONE)

    def read_only(path: Path, text: str) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(prepare_module, "write_text", read_only)
    with pytest.raises(SlackoffError, match=rf"{cells[0].folder} cannot be written \(Read-only file system\)"):
        run_cells(cells, Site(SLOTS, cells=CELLS), Console(quiet=True))
    assert attempts(cells[0].folder) == []


def test_a_cell_that_somebody_claims_while_it_is_started_here_is_left_to_them(make):
    (cell,) = make(1, DONE)
    others = []

    class Overtaken(LocalCells):
        def start(self, cell: Cell, slot: Slot, after: int | None = None) -> CellProcess:
            if not others:
                others.append(claim(cell.folder, "elsewhere"))
                threading.Timer(3.0, end_attempt, (others[0], "interrupted")).start()
            return super().start(cell, slot, after)

    console = Console(record=True, width=300)
    statuses = run_cells([cell], Site(SLOTS, cells=Overtaken(warm=False)), console)
    assert [status.state for status in statuses] == ["done"]
    assert f"is waited for: process {os.getpid()} on " in console.export_text()
    assert [attempt.outcome for attempt in attempts(cell.folder)] == ["interrupted", "done"]
