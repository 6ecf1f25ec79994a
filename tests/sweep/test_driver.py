"""The driver: failures, deaths, hanging cells, signals, other drivers. Cells are small programs here."""

import errno
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
from pathlib import Path

import pytest
from rich.console import Console

from slackoff.cell.launch import PROGRAM, CellExit
from slackoff.config.schema import Policy
from slackoff.errors import SlackoffError
from slackoff.record.ledger import HeartbeatMonitor, attempts, claim, end_attempt, latest
from slackoff.record.status import Status
from slackoff.sweep import backend as backend_module
from slackoff.sweep import cell_folders as prepare_module
from slackoff.sweep.backend import Ending, Resources, Slot
from slackoff.sweep.cell_folders import prepare, repair
from slackoff.sweep.driver import report_failures, run_cells
from slackoff.sweep.local import CellProcess, LocalBackend
from slackoff.sweep.plan import Cell
from wait import wait_for

CLAIM = """
import os, signal, sys, time
from pathlib import Path
from slackoff.cell.launch import CellExit, LaunchOptions
from slackoff.record.ledger import ClaimedError, claim, end_attempt
from slackoff.record.status import read_status

folder, options = Path(sys.argv[1]), LaunchOptions.read()
try:
    held = claim(folder, options.slot, options.after)
except ClaimedError:
    sys.exit(CellExit.ELSEWHERE)
status = read_status(folder)

def write(state, reason=None):
    status.state, status.last_error = state, reason
    status.write(folder)

def end(state, code, reason=None):
    write(state, reason)
    end_attempt(held, state, reason)
    sys.exit(code)

def train(seconds=0.0):
    status.attempts = held.number
    write("running")
    with (folder / "trained").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(seconds)
    end("done", CellExit.DONE)
"""
SLOTS = [Slot({}, "cpu 0"), Slot({}, "cpu 1")]
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
QUIET = Console(quiet=True)
Make = Callable[..., list[Cell]]


def resources(slots: Sequence[Slot] = SLOTS, **policy: object) -> Resources:
    return Resources(slots, LocalBackend, Policy(**policy), local=True)  # type: ignore[arg-type]


@pytest.fixture
def make(bare_cells: Callable[[int], list[Cell]], monkeypatch: pytest.MonkeyPatch) -> Make:
    """Some cells whose processes run the given code; unless ``claims``, without having claimed the cell."""
    real = subprocess.Popen

    def cells(count: int, code: str, claims: bool = True) -> list[Cell]:
        def popen(command: list[str], **options: object) -> subprocess.Popen[bytes]:
            if PROGRAM in command:
                command = [sys.executable, "-c", (CLAIM if claims else "import os, sys\n") + code, command[-1]]
            return real(command, **options)  # type: ignore[call-overload]

        monkeypatch.setattr(subprocess, "Popen", popen)
        return bare_cells(count)

    return cells


def states(statuses: Sequence[Status]) -> list[str]:
    return [status.state for status in statuses]


def outcomes(cell: Cell) -> list[str | None]:
    return [attempt.outcome for attempt in attempts(cell.folder)]


def trained(*cells: Cell) -> int:
    """How often processes have begun to train the cells."""
    paths = (cell.folder / "trained" for cell in cells)
    return sum(len(path.read_text().split()) for path in paths if path.exists())


def ending(cell: Cell) -> Ending:
    """Run one cell to its end."""
    prepare(cell, HeartbeatMonitor())
    process = LocalBackend().start(cell, SLOTS[0], len(attempts(cell.folder)))
    wait_for(process.ended)
    return process.finish()


def fork_drivers(count: int, cells: list[Cell]) -> list["multiprocessing.process.BaseProcess"]:
    context = multiprocessing.get_context("fork")
    drivers = [context.Process(target=run_cells, args=(cells, resources(), QUIET)) for _ in range(count)]
    for driver in drivers:
        driver.start()
    return drivers  # type: ignore[return-value]


def refuse(*_: object) -> None:
    raise FULL


def test_a_cell_that_fails_is_tried_as_often_as_allowed(make: Make):
    cells = make(2, "end('failed', 1, 'no luck') if held.number < 3 else train()")
    assert states(run_cells(cells, resources(max_attempts=2), QUIET)) == ["failed"] * 2
    assert list(map(outcomes, cells)) == [["failed"] * 2] * 2
    assert states(run_cells(cells, resources(max_attempts=2), QUIET)) == ["done"] * 2


def test_a_note_that_many_cells_have_is_printed_once(make: Make, capsys: pytest.CaptureFixture[str]):
    cells = make(3, "status.notes = ['it is slow here', f'at slot {options.slot}, {folder.name}']; train()")
    assert states(run_cells(cells, resources(), Console(width=200))) == ["done"] * 3
    out = capsys.readouterr().out
    assert len(re.findall(r"^note on cell .*: it is slow here$", out, re.MULTILINE)) == 1
    assert all(f", {cell.folder.name}" in out for cell in cells)


def test_a_sweep_can_end_after_so_many_failures(make: Make):
    cells, console = make(5, "end('failed', 1, 'no luck')"), Console(record=True, width=200)
    found = states(run_cells(cells, resources(SLOTS[:1], on_failure="stop_after=2"), console))
    assert found == ["failed", "failed", "pending", "pending", "pending"]
    assert "2 cells failed: the 3 that wait are left" in console.export_text()


@pytest.mark.parametrize("deaf", [False, True], ids=["obeys", "hears nothing"])
def test_a_cell_over_its_time_limit_is_a_failure_and_the_others_go_on(make: Make, deaf: bool):
    first = "signal.signal(signal.SIGTERM, signal.SIG_IGN)" if deaf else "pass"
    cells = make(2, f"{first}\ntrain(60 if options.slot == 'cpu 0' else 0)")
    statuses = run_cells(cells, resources(time_limit_h=3 / 3600, grace_s=0.5), QUIET)
    assert states(statuses) == ["failed", "done"]
    assert "over its time limit of" in str(statuses[0].last_error)
    (attempt,) = attempts(cells[0].folder)
    assert (attempt.outcome, attempt.error) == ("failed", statuses[0].last_error)


@pytest.mark.parametrize("claims", [True, False], ids=["while it trains", "before it could claim the cell"])
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("os.kill(os.getpid(), 9)", ["the process died (signal 9)", "memory runs out: run fewer cells at once"]),
        ("sys.exit(70)", ["the process died (exit code 70); its last words are in "]),
        (
            "raise ImportError('libtorch_cpu.so: failed to map segment from shared object')",
            ["the process died (exit code 1); its last words are in ", "Memory seems to have run out"],
        ),
    ],
    ids=["signal", "exit code", "memory"],
)
def test_a_cell_that_dies_without_a_word_is_failed_and_says_by_what(make: Make, claims: bool, code: str, words):
    (cell,) = make(1, code, claims)
    end_attempt(claim(cell.folder), "interrupted")
    exit_code, reason = ending(cell)
    assert exit_code == CellExit.FAILED
    assert reason is not None
    assert all(each in reason for each in words)
    found = [(attempt.number, attempt.outcome, attempt.error) for attempt in attempts(cell.folder)]
    assert found == [(1, "interrupted", None), (2, "failed", reason)]
    assert (cell.status().state, cell.status().last_error) == ("failed", reason)
    assert (cell.folder / "error.txt").read_text() == f"{reason}\n"


def test_one_cell_that_dies_does_not_stop_the_other(make: Make):
    cells = make(2, "os.kill(os.getpid(), signal.SIGKILL) if status.label['seed'] == 0 else train()")
    console = Console(record=True, width=300)
    assert states(run_cells(cells, resources(SLOTS[:1]), console)) == ["failed", "done"]
    text = console.export_text()
    assert f"cell {cells[0].id} (seed 0) failed: the process died (signal 9)" in text
    assert "1 done, 0 running, 0 left, 1 failed" in text


@pytest.mark.parametrize(
    ("code", "exit_code", "words"),
    [
        ("end_attempt(held, 'failed', 'no luck'); sys.exit(CellExit.FAILED)", CellExit.FAILED, "no luck"),
        ("sys.exit(CellExit.LOST)", CellExit.ELSEWHERE, None),
        ("sys.exit(CellExit.UNWRITTEN)", CellExit.FAILED, "could not be written for a while: free space or make it"),
    ],
    ids=["the ledger is believed", "taken over by another process", "unwritten"],
)
def test_what_a_cell_says_of_its_end(make: Make, code: str, exit_code: CellExit, words: str | None):
    (cell,) = make(1, code)
    found = ending(cell)
    newest = latest(cell.folder)
    assert newest is not None
    assert found.exit == exit_code
    assert found.reason == newest.error
    assert (words or "None") in str(found.reason)


def test_a_cell_that_is_done_and_could_only_not_end_its_attempt_is_done(make: Make, monkeypatch):
    (cell,) = make(1, "write('done'); sys.exit(CellExit.UNWRITTEN)")
    monkeypatch.setattr(backend_module, "end_attempt", refuse)
    assert ending(cell) == (CellExit.DONE, None)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("sys.exit(CellExit.UNWRITTEN)", "No space is left for "),
        ("os.abort()", "the process died (signal 6)"),
    ],
    ids=["because of it", "for another reason"],
)
def test_a_driver_that_cannot_write_a_failure_down_remembers_it(make: Make, monkeypatch, code: str, words: str):
    cells = make(3, f"if status.label['seed'] == 1:\n    {code}\ntrain()")
    monkeypatch.setattr(backend_module, "end_attempt", refuse)
    console = Console(record=True, width=300)
    statuses = run_cells(cells, resources(SLOTS[:1]), console)
    assert states(statuses) == ["done", "failed", "done"]
    assert str(statuses[1].last_error).startswith(words)
    assert cells[1].status().state == "pending"  # what the record says
    assert report_failures(cells, statuses, resources(), console) == 1
    text = console.export_text()
    assert f"1 of 3 cells failed. The same command again trains only these.\ncell {cells[1].id} (" in text


def test_a_cell_that_cannot_be_started_is_a_failure_and_the_others_go_on(make: Make):
    cells = make(3, "train()")

    class FullDisk(LocalBackend):
        def start(self, cell: Cell, slot: Slot, after: int) -> CellProcess:
            if cell is cells[0]:
                raise FULL
            return super().start(cell, slot, after)

    statuses = run_cells(cells, Resources(SLOTS[:1], FullDisk), QUIET)
    assert states(statuses) == ["failed", "done", "done"]
    assert str(statuses[0].last_error).startswith(f"No space is left for {cells[0].folder}: free some")


@pytest.mark.parametrize("local", [True, False], ids=["here", "on a cluster"])
def test_failures_are_told_with_the_command_that_trains_them_again(make: Make, monkeypatch, capsys, local: bool):
    cells = make(3, "")
    statuses = [Status(cell.id, cell.label, 20) for cell in cells]
    statuses[0].state, statuses[0].last_error = "failed", "no luck"
    statuses[1].state = "done"
    command = ["-m", "+experiment=patchcount", "hydra/launcher=slurm"]
    monkeypatch.setattr(sys, "argv", ["slackoff", *command])
    assert report_failures(cells, statuses, Resources([], LocalBackend, local=local), Console(width=80)) == 1
    again = f"retry --runs {cells[0].folder.parents[1]} {cells[0].id}" if local else " ".join(command)
    assert capsys.readouterr().out.splitlines() == [
        "1 of 3 cells failed, 1 not trained. The same command again trains only these.",
        f"cell {cells[0].id} (seed 0): no luck | log: {cells[0].folder}/log.txt | again: python -m slackoff {again}",
    ]


def test_a_damaged_status_is_made_anew_and_the_cell_trained(make: Make):
    cells, console = make(2, "train()"), Console(record=True, width=300)
    prepare(cells[0], HeartbeatMonitor())
    (cells[0].folder / "status.json").write_bytes(b"")
    assert states(run_cells(cells, resources(SLOTS[:1]), console)) == ["done", "done"]
    assert f"{cells[0].folder}/status.json was damaged and is made anew" in console.export_text()
    assert outcomes(cells[0]) == ["interrupted", "done"]
    assert cells[0].status().label == cells[0].label


def test_a_damaged_status_of_a_cell_that_somebody_trains_is_left_to_them(make: Make):
    (cell,) = make(1, "")
    prepare(cell, HeartbeatMonitor())
    (cell.folder / "status.json").write_bytes(b"{")
    held = claim(cell.folder)
    assert repair(cell, HeartbeatMonitor()) is None
    assert (cell.folder / "status.json").read_bytes() == b"{"
    end_attempt(held, "interrupted")
    assert "was damaged" in str(repair(cell, HeartbeatMonitor()))
    assert repair(cell, HeartbeatMonitor()) is None


def test_a_read_only_folder_is_named_before_anything_is_trained(make: Make, monkeypatch: pytest.MonkeyPatch):
    (cell,) = make(1, "train()")

    def read_only(path: Path, text: str) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(prepare_module, "write_text", read_only)
    with pytest.raises(SlackoffError, match=rf"{cell.folder} cannot be written \(Read-only file system\)"):
        run_cells([cell], resources(), QUIET)
    assert attempts(cell.folder) == []


def test_slots_bound_how_many_run_at_once_and_set_their_environment(make: Make):
    code = """
(folder / "start").write_text(f"{time.monotonic()} {os.environ['OMP_NUM_THREADS']}")
time.sleep(0.4)
(folder / "end").write_text(str(time.monotonic()))
train()
"""
    cells = make(5, code)
    run_cells(cells, resources([Slot({"OMP_NUM_THREADS": "1"}, name) for name in ("a", "b")]), QUIET)
    times = []
    for cell in cells:
        start, threads = (cell.folder / "start").read_text().split()
        assert threads == "1"
        times.append((float(start), float((cell.folder / "end").read_text())))
    assert max(sum(start <= moment < end for start, end in times) for moment, _ in times) == 2


def test_a_cell_is_a_session_of_its_own_that_is_killed_with_its_helpers(make: Make):
    (cell,) = make(1, "import subprocess; print(subprocess.Popen(['sleep', '60']).pid, flush=True); train(60)")
    prepare(cell, HeartbeatMonitor())
    process = LocalBackend().start(cell, SLOTS[0], len(attempts(cell.folder)))
    wait_for(lambda: trained(cell))
    (attempt,) = attempts(cell.folder)
    assert attempt.owner is not None
    assert attempt.owner.pid == os.getsid(attempt.owner.pid) == process.process.pid
    helper = int((cell.folder / "log.txt").read_text())
    assert os.getsid(helper) == process.process.pid
    process.kill()
    wait_for(process.ended)
    assert "signal 9" in str(process.finish().reason)
    process.kill()  # its number may be another's now
    wait_for(lambda: not Path(f"/proc/{helper}").exists() or "Z" in Path(f"/proc/{helper}/stat").read_text().split())


def test_ctrl_c_lets_cells_write_their_checkpoints_and_twice_ends_them(make: Make):
    code = """
stop = lambda *_: end("interrupted", CellExit.INTERRUPTED) if options.slot == "cpu 0" else None
signal.signal(signal.SIGTERM, stop)
train(60)
"""
    cells, console = make(4, code), Console(record=True, width=200)

    def interrupt() -> None:
        wait_for(lambda: trained(*cells) == 2)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(2)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run_cells(cells, resources(), console)
    thread.join()
    assert list(map(trained, cells)) == [1, 1, 0, 0]
    assert list(map(outcomes, cells)) == [["interrupted"], ["interrupted"], [], []]
    assert states([cell.status() for cell in cells]) == ["interrupted", "interrupted", "pending", "pending"]
    assert "the running cells write a checkpoint" in console.export_text()


def test_a_cell_of_another_driver_is_waited_for_and_keeps_its_slot(make: Make):
    cells = make(3, "train(1.5 if folder.name == os.environ.get('SLOW') else 0.2)")
    prepare(cells[0], HeartbeatMonitor())
    other = LocalBackend().start(cells[0], Slot({"SLOW": cells[0].id}, "cpu 1"), 0)
    wait_for(lambda: trained(cells[0]))
    console = Console(record=True, width=200)
    assert states(run_cells(cells, resources(), console)) == ["done"] * 3
    assert list(map(trained, cells)) == [1, 1, 1]
    assert {attempts(cell.folder)[0].slot for cell in cells[1:]} == {"cpu 0"}
    assert f"{cells[0].id} (seed 0) done by process {other.process.pid}" in console.export_text()


def test_cells_outlive_a_driver_that_is_killed_and_the_next_one_waits_for_them(make: Make):
    cells = make(3, "train(2)")
    (driver,) = fork_drivers(1, cells)
    wait_for(lambda: trained(*cells) == 2)
    driver.kill()
    driver.join()
    assert states(run_cells(cells, resources(), QUIET)) == ["done"] * 3
    assert list(map(outcomes, cells)) == [["done"]] * 3


def test_a_cell_whose_driver_and_process_died_goes_on_here(make: Make):
    cells = make(2, "train(60 if 'HANG' in os.environ else 0)")
    prepare(cells[0], HeartbeatMonitor())
    other = LocalBackend().start(cells[0], Slot({"HANG": "yes"}, "cpu 0"), 0)
    wait_for(lambda: trained(cells[0]))
    threading.Timer(1.5, other.kill).start()
    console = Console(record=True, width=200)
    assert states(run_cells(cells, resources(), console)) == ["done", "done"]
    assert trained(cells[0]) == 2
    assert f"process {other.process.pid} on {socket.gethostname()} is gone; it goes on here" in console.export_text()


def test_a_cell_that_somebody_claims_while_it_is_started_here_is_left_to_them(make: Make):
    (cell,) = make(1, "train()")
    others = []

    class Overtaken(LocalBackend):
        def start(self, cell: Cell, slot: Slot, after: int) -> CellProcess:
            if not others:
                others.append(claim(cell.folder, "elsewhere"))
                threading.Timer(3.0, end_attempt, (others[0], "interrupted")).start()
            return super().start(cell, slot, after)

    console = Console(record=True, width=300)
    assert states(run_cells([cell], Resources(SLOTS[:1], Overtaken), console)) == ["done"]
    assert f"is waited for: process {os.getpid()} on " in console.export_text()
    assert outcomes(cell) == ["interrupted", "done"]


def test_two_drivers_at_once_train_every_cell_once(make: Make):
    cells = make(8, "train(0.2)")
    drivers = fork_drivers(2, cells)
    for driver in drivers:
        driver.join()
    assert [driver.exitcode for driver in drivers] == [0, 0]
    assert states([cell.status() for cell in cells]) == ["done"] * 8
    assert list(map(trained, cells)) == [1] * 8


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_two_drivers_on_one_folder_end_at_one_signal_each(make: Make, number: int):
    """Their cells end as those do that another process has taken over: they must not be put in line again."""
    cells = make(4, "signal.signal(signal.SIGTERM, lambda *_: sys.exit(CellExit.LOST))\ntrain(600)")
    drivers = fork_drivers(2, cells)
    wait_for(lambda: trained(*cells) == 2)
    for driver in drivers:
        assert driver.pid
        os.kill(driver.pid, number)
    for driver in drivers:
        driver.join(timeout=60)
    ended = [driver.exitcode for driver in drivers]
    for driver in drivers:
        driver.kill()
    assert ended == [1, 1]  # KeyboardInterrupt
