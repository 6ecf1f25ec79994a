"""The driver: failures, hanging cells, signals, other drivers. Cells are small programs here."""

import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

import pytest
from omegaconf import DictConfig
from rich.console import Console

from slackoff.errors import SlackoffError
from slackoff.record.ledger import Watch, attempts
from slackoff.record.status import Status
from slackoff.sweep import driver as driver_module
from slackoff.sweep import processes
from slackoff.sweep.cell_folders import prepare
from slackoff.sweep.driver import run_cells
from slackoff.sweep.plan import Cell, plan
from slackoff.sweep.policy import Policy
from slackoff.sweep.processes import LocalCells
from slackoff.sweep.site import Site
from slackoff.sweep.slots import Slot

CELL = """
import json, os, signal, sys, time
from pathlib import Path
from slackoff.handover import Exit, Handover
from slackoff.record.ledger import Claim, ClaimedError, claim
from slackoff.record.status import read_status

folder, handover = Path(sys.argv[1]), Handover.read()
try:
    held = claim(folder, handover.slot, handover.after)
except ClaimedError:
    sys.exit(Exit.ELSEWHERE)
status = read_status(folder)

def end(state, code, reason=None):
    status.state, status.last_error = state, reason
    status.write(folder)
    Claim(held, lambda: None).end(state, reason)
    sys.exit(code)

def train(seconds=0.0):
    status.state, status.attempts = "running", held.number
    status.write(folder)
    with (folder / "trained").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(seconds)
    end("done", Exit.DONE)
"""
SLOTS = [Slot({}, "cpu 0"), Slot({}, "cpu 1")]


def cold_site(slots: Sequence[Slot], policy: Policy | None = None) -> Site:
    """One that starts each process by itself, so that the tests can run other code in it."""
    return Site(slots, policy or Policy(), LocalCells(warm=False))


@pytest.fixture
def sweep(composed: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Cell]]:
    """Plan some cells whose processes run the given code."""
    monkeypatch.setattr(
        driver_module, "check_cells", lambda cells, aside: dict.fromkeys((cell.id for cell in cells), 1.0)
    )
    monkeypatch.setattr(driver_module, "check_hardware", lambda *_: [])
    real = subprocess.Popen

    def make(count: int, code: str) -> list[Cell]:
        def popen(command: list[str], **options: object) -> subprocess.Popen[bytes]:
            if "slackoff.cell" not in command:
                return real(command, **options)  # type: ignore[call-overload]
            return real([sys.executable, "-c", CELL + code, command[-1]], **options)  # type: ignore[call-overload]

        cells = plan([composed(f"seed={seed}") for seed in range(count)], [[]] * count)  # before Popen is another
        monkeypatch.setattr(processes.subprocess, "Popen", popen)
        return cells

    return make


def states(statuses: list[Status]) -> list[str]:
    return [status.state for status in statuses]


def trained(cell: Cell) -> int:
    path = cell.folder / "trained"
    return len(path.read_text().split()) if path.exists() else 0


def test_a_cell_that_fails_is_tried_as_often_as_allowed(sweep):
    cells = sweep(2, "end('failed', 1, 'no luck') if held.number < 3 else train()")
    site = cold_site(SLOTS, Policy(max_attempts=2))
    assert states(run_cells(cells, site, Console(quiet=True))) == ["failed"] * 2
    assert [[attempt.outcome for attempt in attempts(cell.folder)] for cell in cells] == [["failed"] * 2] * 2
    assert states(run_cells(cells, site, Console(quiet=True))) == ["done"] * 2


def test_a_note_that_many_cells_have_is_printed_once(sweep, capsys):
    cells = sweep(3, "status.notes = ['it is slow here', f'at slot {handover.slot}, {folder.name}']; train()")
    assert states(run_cells(cells, cold_site(SLOTS), Console(width=200))) == ["done"] * 3
    out = capsys.readouterr().out
    assert len(re.findall(r"^note on cell .*: it is slow here$", out, re.MULTILINE)) == 1
    assert all(f", {cell.folder.name}" in out for cell in cells)


def test_a_sweep_can_end_after_so_many_failures(sweep):
    cells = sweep(5, "end('failed', 1, 'no luck')")
    console = Console(record=True, width=200)
    found = states(run_cells(cells, cold_site(SLOTS[:1], Policy(stop_after=2)), console))
    assert found == ["failed", "failed", "pending", "pending", "pending"]
    assert "2 cells failed: the 3 that wait are left" in console.export_text()


@pytest.mark.parametrize("deaf", [False, True], ids=["obeys", "hears nothing"])
def test_a_cell_over_its_time_limit_is_a_failure_and_the_others_go_on(sweep, deaf):
    first = "signal.signal(signal.SIGTERM, signal.SIG_IGN)" if deaf else "pass"
    cells = sweep(2, f"{first}\ntrain(60 if handover.slot == 'cpu 0' else 0)")
    site = cold_site(SLOTS, Policy(time_limit_s=3, grace_s=0.5))
    statuses = run_cells(cells, site, Console(quiet=True))
    assert states(statuses) == ["failed", "done"]
    assert "over its time limit of" in str(statuses[0].last_error)
    (attempt,) = attempts(cells[0].folder)
    assert (attempt.outcome, attempt.error) == ("failed", statuses[0].last_error)


def test_a_cell_killed_for_memory_is_a_failure_that_names_the_signal(sweep):
    cells = sweep(2, "os.kill(os.getpid(), signal.SIGKILL) if handover.slot == 'cpu 0' else train()")
    statuses = run_cells(cells, cold_site(SLOTS), Console(quiet=True))
    assert states(statuses) == ["failed", "done"]
    assert "signal 9" in str(statuses[0].last_error)


def test_ctrl_c_lets_cells_write_their_checkpoints_and_twice_ends_them(sweep):
    code = """
signal.signal(signal.SIGTERM, lambda *_: end("interrupted", Exit.INTERRUPTED) if handover.slot == "cpu 0" else None)
train(60)
"""
    cells = sweep(4, code)
    console = Console(record=True, width=200)

    def interrupt() -> None:
        deadline = time.monotonic() + 60
        while sum(map(trained, cells)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(2)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run_cells(cells, cold_site(SLOTS), console)
    thread.join()
    assert [trained(cell) for cell in cells] == [1, 1, 0, 0]
    assert [attempt.outcome for cell in cells for attempt in attempts(cell.folder)] == ["interrupted", "interrupted"]
    assert states([cell.status() for cell in cells]) == ["interrupted", "interrupted", "pending", "pending"]
    assert "the running cells write a checkpoint" in console.export_text()


def test_a_cell_of_another_driver_is_waited_for_and_keeps_its_slot(sweep):
    cells = sweep(3, "train(1.5 if folder.name == os.environ.get('SLOW') else 0.2)")
    prepare(cells[0], Watch())
    other = LocalCells(warm=False).start(cells[0], Slot({"SLOW": cells[0].id}, "cpu 1"))
    while not trained(cells[0]):
        time.sleep(0.02)
    console = Console(record=True, width=200)
    assert states(run_cells(cells, cold_site(SLOTS), console)) == ["done"] * 3
    assert [trained(cell) for cell in cells] == [1, 1, 1]
    assert {attempts(cell.folder)[0].slot for cell in cells[1:]} == {"cpu 0"}
    assert f"{cells[0].id} (patch_count 4) done by process {other.process.pid}" in console.export_text()


def test_a_cell_whose_driver_and_process_died_goes_on_here(sweep):
    cells = sweep(2, "train(60 if 'HANG' in os.environ else 0)")
    prepare(cells[0], Watch())
    other = LocalCells(warm=False).start(cells[0], Slot({"HANG": "yes"}, "cpu 0"))
    while not trained(cells[0]):
        time.sleep(0.02)
    threading.Timer(1.5, other.end_now).start()
    console = Console(record=True, width=200)
    assert states(run_cells(cells, cold_site(SLOTS), console)) == ["done", "done"]
    assert trained(cells[0]) == 2
    assert f"process {other.process.pid} on {socket.gethostname()} is gone; it goes on here" in console.export_text()


def test_two_drivers_at_once_train_every_cell_once(sweep):
    cells = sweep(8, "train(0.2)")
    context = multiprocessing.get_context("fork")
    drivers = [context.Process(target=run_cells, args=(cells, cold_site(SLOTS), Console(quiet=True))) for _ in range(2)]
    for process in drivers:
        process.start()
    for process in drivers:
        process.join()
    assert [process.exitcode for process in drivers] == [0, 0]
    assert states([cell.status() for cell in cells]) == ["done"] * 8
    assert [trained(cell) for cell in cells] == [1] * 8


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_two_drivers_on_one_folder_end_at_one_signal_each(sweep, number):
    """Their cells end as those do that another process has taken over: they must not be put in line again."""
    cells = sweep(4, "signal.signal(signal.SIGTERM, lambda *_: sys.exit(Exit.LOST))\ntrain(600)")
    context = multiprocessing.get_context("fork")
    drivers = [context.Process(target=run_cells, args=(cells, cold_site(SLOTS), Console(quiet=True))) for _ in range(2)]
    for process in drivers:
        process.start()
    while sum(map(trained, cells)) < 2:
        time.sleep(0.05)
    for process in drivers:
        os.kill(process.pid, number)
    for process in drivers:
        process.join(timeout=60)
    ended = [process.exitcode for process in drivers]
    for process in drivers:
        process.kill()
    assert ended == [1, 1]  # KeyboardInterrupt


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"on_failure": "stop"}, "on_failure=stop is not known"),
        ({"on_failure": "stop_after=0"}, "on_failure=stop_after=0 is not known"),
        ({"max_attempts": 0}, "max_attempts=0 must be a number above 0"),
        ({"time_limit_h": "long"}, "time_limit_h=long must be a number above 0"),
        ({"grace_s": 0}, "grace_s=0 must be a number above 0"),
        ({"stale_after_s": -1}, "stale_after_s=-1 must be a number above 0"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(settings, words):
    usual = {"on_failure": "continue", "max_attempts": 1, "time_limit_h": None, "grace_s": 60, "stale_after_s": 180}
    with pytest.raises(SlackoffError, match=words):
        Policy.of(**{**usual, **settings})
