"""Signals and records that cannot be read: the driver always ends, and one cell's trouble stays its own."""

import errno
import os
import pickle
import shutil
import signal
import threading
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf
from rich.console import Console
from typer.testing import CliRunner

from slackoff.cell import process as process_module
from slackoff.cell.launch import CellExit, LaunchOptions
from slackoff.cell.process import main
from slackoff.cli.app import app
from slackoff.config.schema import Policy
from slackoff.errors import SlackoffError
from slackoff.record import files
from slackoff.record import status as status_module
from slackoff.record.files import Patience, read_bytes
from slackoff.record.ledger import Attempt, Claim, HeartbeatMonitor, attempts, claim, end_attempt, latest
from slackoff.record.status import Status, read_status
from slackoff.sweep import driver as driver_module
from slackoff.sweep.backend import Backend, Resources, RunningCell, Slot
from slackoff.sweep.cell_folders import CellFolders, prepare
from slackoff.sweep.display import Display, watch_statuses
from slackoff.sweep.driver import Driver, run_cells
from slackoff.sweep.plan import Cell

SLOTS = [Slot({}, "cpu 0"), Slot({}, "cpu 1")]
LOOKS = 200  # of a driver that should have ended long before


class Script(RunningCell):
    """A cell that waits and runs for some looks of the driver and then ends by an exit code; asked to stop, at once."""

    def __init__(self, cell: Cell, slot: Slot, after: int, looks: int, when_asked: CellExit, queued: int = 0) -> None:
        super().__init__(cell, slot, after)
        self.left, self.running_from, self.when_asked = looks, looks - queued, when_asked

    def ended(self) -> bool:
        self.left -= 1
        if self.left == 0 and not self.asked:
            status = read_status(self.cell.folder)
            assert status is not None
            status.state = "done"
            status.write(self.cell.folder)
        return self.left <= 0

    def seconds(self) -> float:
        return float(self.left < self.running_from)

    def kill(self) -> None:
        self._send_stop()

    def _send_stop(self) -> None:
        self.left = 0

    def _how_ended(self) -> CellExit | str:
        return self.when_asked if self.asked else CellExit.DONE

    def _owns(self, attempt: Attempt) -> bool:
        return True


class Scripts(Backend):
    """Starts cells as scripts; ``adopts``: takes over those that others hold; ``change`` is called with each."""

    def __init__(
        self,
        looks: int = 3,
        when_asked: CellExit = CellExit.INTERRUPTED,
        queued: int = 0,
        adopts: bool = False,
        change: Callable[[RunningCell], object] = lambda _: None,
    ) -> None:
        self.looks, self.when_asked, self.queued, self.adopts, self.change = looks, when_asked, queued, adopts, change
        self.started: list[str] = []
        self.adopted: list[RunningCell] = []

    def start(self, cell: Cell, slot: Slot, after: int) -> RunningCell:
        self.started.append(cell.id)
        script = Script(cell, slot, after, self.looks, self.when_asked, self.queued)
        self.change(script)
        return script

    def adopt(self, cell: Cell, slot: Slot) -> RunningCell | None:
        if not self.adopts:
            return None
        self.adopted.append(Script(cell, slot, 0, self.looks, self.when_asked))
        return self.adopted[-1]


class Looks(Display):
    """Does something at each look, and fails where there are too many."""

    def __init__(self, at: dict[int, Callable[[], object]] | None = None) -> None:
        super().__init__(Console(quiet=True))
        self.count, self.at, self.said, self.states = 0, at or {}, list[str](), list[list[str]]()

    def update(self, statuses: Sequence[Status], places: object, final: bool = False) -> None:
        self.count += 1
        assert self.count < LOOKS, "the driver does not end"
        self.states.append([status.state for status in statuses])
        self.at.get(self.count, lambda: None)()

    def say(self, sentence: str, style: str = "") -> None:
        self.said.append(sentence)


@pytest.fixture
def cells(bare_cells: Callable[[int], list[Cell]], monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
    """Three prepared cells, and a driver that looks at them often."""
    monkeypatch.setattr(driver_module, "_POLL_S", 0.001)
    monkeypatch.setattr(driver_module, "_LOOK_ELSEWHERE_S", 0.0)
    found = bare_cells(3)
    for cell in found:
        prepare(cell, HeartbeatMonitor())
    return found


def drive(
    cells: Sequence[Cell],
    backend: Backend,
    shown: Looks,
    policy: Policy | None = None,
    known: dict[str, Status] | None = None,
) -> dict[str, Status]:
    """Run a driver; ``known``: the statuses by id, where they cannot be read any more."""
    statuses = known or {cell.id: cell.status() for cell in cells}
    Driver(cells, Resources(SLOTS, lambda: backend, policy or Policy()), statuses, HeartbeatMonitor(), shown).run()
    return statuses


def interrupt(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("ending", [CellExit.INTERRUPTED, CellExit.ELSEWHERE, CellExit.LOST, CellExit.NO_CELL])
def test_one_signal_ends_the_driver_however_the_cells_end(cells, number, ending):
    backend = Scripts(looks=10**6, when_asked=ending)
    with pytest.raises(KeyboardInterrupt):
        drive(cells, backend, Looks({2: lambda: interrupt(number)}), Policy(max_attempts=3))
    assert len(backend.started) == 2


def test_a_cell_that_cannot_be_told_to_stop_now_is_told_at_the_next_look(cells, monkeypatch):
    def deaf(script: RunningCell) -> None:
        real, troubles = script.stop, [OSError(errno.ESTALE, os.strerror(errno.ESTALE))]

        def stop() -> None:
            if troubles:
                raise troubles.pop()
            real()

        monkeypatch.setattr(script, "stop", stop)

    backend = Scripts(looks=10**6, change=deaf)
    with pytest.raises(KeyboardInterrupt):
        drive(cells, backend, Looks({2: interrupt}))
    assert len(backend.started) == 2


def test_a_closed_terminal_stops_the_driver_in_order_however_often_it_is_told(cells):
    """The shell and the system both send it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run below nohup
    try:
        backend = Scripts(looks=10**6)
        with pytest.raises(KeyboardInterrupt):
            drive(cells, backend, Looks({2: lambda: [interrupt(signal.SIGHUP) for _ in range(3)]}))
        assert len(backend.started) == 2
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_below_nohup_a_closed_terminal_changes_nothing(cells):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        statuses = drive(cells, Scripts(), Looks({2: lambda: interrupt(signal.SIGHUP)}))
    finally:
        signal.signal(signal.SIGHUP, before)
    assert [status.state for status in statuses.values()] == ["done"] * 3


@pytest.mark.parametrize("advances", [False, True])
def test_a_cell_that_is_stopped_again_and_again_without_progress_is_given_up(cells, advances):
    cell, stops = cells[0], 12

    def stop(script: RunningCell) -> None:
        if script.cell is not cell or backend.started.count(cell.id) > stops:
            return
        status = cell.status()
        status.state, status.step = "interrupted", status.step + advances
        status.write(cell.folder)
        script.left = 1  # type: ignore[attr-defined]
        script.ended = lambda: True  # type: ignore[method-assign]
        script._how_ended = lambda: CellExit.INTERRUPTED  # type: ignore[method-assign]

    backend, shown = Scripts(change=stop), Looks()
    statuses = drive(cells, backend, shown)
    assert [status.state for status in statuses.values()] == ["done" if advances else "failed", "done", "done"]
    assert backend.started.count(cell.id) == (stops + 1 if advances else 5)
    if not advances:
        assert "it was stopped 5 times without getting beyond step 0: see who sends" in str(
            statuses[cell.id].last_error
        )


def test_one_signal_ends_a_driver_that_waits_for_cells_of_another_one(cells):
    for cell in cells:
        claim(cell.folder, "elsewhere")
    with pytest.raises(KeyboardInterrupt):
        drive(cells, Scripts(), Looks({3: interrupt}))


def test_a_cell_that_another_driver_gets_while_this_one_is_stopped_is_left_to_it(cells):
    """What two commands on one folder do to each other when both get Ctrl-C: the cell lost here is held there."""

    shown = Looks({2: interrupt, 5: interrupt})
    backend = Scripts(10**6, CellExit.ELSEWHERE, change=lambda lost: claim(lost.cell.folder, "elsewhere"))
    with pytest.raises(KeyboardInterrupt):
        drive(cells, backend, shown)
    assert shown.count < 10


def test_a_cell_in_a_queue_is_pending_until_its_turn(cells):
    shown, (cell, *_) = Looks(), cells
    drive([cell], Scripts(looks=5, queued=2), shown)
    assert shown.states == [["pending"], ["pending"], ["running"], ["running"], ["done"]]


def test_ctrl_c_stops_a_cell_that_was_taken_over(cells):
    (cell, *_), backend = cells, Scripts(looks=10**6, adopts=True)
    claim(cell.folder, "job 0")
    with pytest.raises(KeyboardInterrupt):
        drive([cell], backend, Looks({2: interrupt}))
    assert backend.started == []
    assert [taken_over.asked for taken_over in backend.adopted] == [True]
    assert [attempt.number for attempt in attempts(cell.folder)] == [1]


class Fault:
    """Lets reading files of a cell raise, so many times; none counts the readings only."""

    def __init__(self, number: int = errno.ESTALE, times: float = float("inf")) -> None:
        self.number, self.left, self.raised = number, times, 0
        self.places: list[Path] = []

    def __call__(self, path: Path) -> bytes:
        if self.left > 0 and any(path.is_relative_to(place) for place in self.places):
            self.left, self.raised = self.left - 1, self.raised + 1
            raise OSError(self.number, os.strerror(self.number), str(path))
        return read_bytes(path)

    def put_on(self, *places: Path) -> None:
        self.places += places

    def mend(self) -> None:
        self.left = 0


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Fault:
    fault = Fault()
    for module in (status_module, files):
        monkeypatch.setattr(module, "read_bytes", fault)
    return fault


@pytest.mark.parametrize("file", ["status.json", "attempts"])
def test_a_status_that_cannot_be_read_for_a_while_changes_nothing(cells, fault, file):
    first = cells[0].folder
    for cell in cells:
        end_attempt(claim(cell.folder), "interrupted")
    fault.left = 7
    backend, shown = Scripts(looks=20), Looks({3: lambda: fault.put_on(first / file)})
    statuses = drive(cells, backend, shown)
    assert fault.raised == 7
    assert [status.state for status in statuses.values()] == ["done"] * 3
    assert backend.started == [cell.id for cell in cells]
    assert {states[0] for states in shown.states} == {"running", "done"}
    assert shown.said == [f"cell {cell.id} (seed {cell.axes['seed']}) done in 0 s" for cell in cells]


@pytest.mark.parametrize("file", ["status.json", "attempts"])
def test_a_cell_that_cannot_be_read_before_its_turn_is_started_later(cells, fault, file):
    for cell in cells:
        end_attempt(claim(cell.folder), "interrupted")
    statuses = {cell.id: cell.status() for cell in cells}
    fault.put_on(cells[0].folder / file)
    backend = Scripts()
    Driver(cells, Resources(SLOTS[:1], lambda: backend), statuses, HeartbeatMonitor(), Looks({12: fault.mend})).run()
    assert fault.raised > 2
    assert backend.started == [cells[1].id, cells[2].id, cells[0].id]
    assert [status.state for status in statuses.values()] == ["done"] * 3


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("when", ["before its turn", "while it runs", "while another has it"])
def test_a_record_that_stays_unreadable_is_the_failure_of_its_cell_alone(cells, fault, monkeypatch, number, when):
    monkeypatch.setattr(driver_module, "_RECOVERY_S", (0.05, 0.0, 0.0))
    fault.number, (first, *_) = number, cells
    at = {"before its turn": 0, "while it runs": 2, "while another has it": 2}[when]
    if when == "while another has it":
        claim(first.folder, "elsewhere")
    statuses = {cell.id: cell.status() for cell in cells}
    if at == 0:
        fault.put_on(first.folder)
    shown, backend = Looks({at: lambda: fault.put_on(first.folder)}), Scripts(looks=5)
    statuses = drive(cells, backend, shown, known=statuses)
    assert [status.state for status in statuses.values()] == ["failed", "done", "done"]
    assert f"could not be used for a while ({os.strerror(number)}): see that {first.folder} can be read" in str(
        statuses[first.id].last_error
    )
    assert sum("failed" in sentence for sentence in shown.said) == 1


def test_a_death_that_cannot_be_written_down_at_once_is_written_down_later(cells, fault):
    def die(script: RunningCell) -> None:
        script._how_ended = lambda: "signal 9"  # type: ignore[method-assign]

    (cell, *_) = cells
    held = claim(cell.folder)
    statuses = {cell.id: cell.status()}
    shown = Looks({2: lambda: fault.put_on(cell.folder / "attempts"), 8: fault.mend})
    end_attempt(held, "interrupted")
    drive([cell], Scripts(change=die), shown, known=statuses)
    assert fault.raised > 2
    assert statuses[cell.id].state == "failed"
    newest = latest(cell.folder)
    assert newest is not None
    assert "signal 9" in str(newest.error)


def test_the_claim_made_for_a_dead_cell_is_over_from_its_first_moment(cells, monkeypatch):
    """Else a driver that could not end it would wait for itself."""
    (cell, *_) = cells
    script = Script(cell, SLOTS[0], 0, 1, CellExit.DONE)
    monkeypatch.setattr(script, "_how_ended", lambda: "signal 9")
    script.finish()
    (attempt,) = attempts(cell.folder)
    assert (attempt.outcome, attempt.ended_at is not None) == ("failed", True)
    assert not HeartbeatMonitor().holds(attempt)


def test_a_sweep_begins_although_a_status_cannot_be_read(cells, fault):
    fault.put_on(cells[1].folder)
    fault.left = 4
    statuses = run_cells(cells, Resources(SLOTS, Scripts), Console(quiet=True))
    assert [status.state for status in statuses] == ["done"] * 3
    assert fault.raised == 4


def test_cells_are_prepared_when_their_turn_comes(bare_cells, monkeypatch):
    cells = bare_cells(8)
    there: list[int] = []
    shown = Looks({1: lambda: there.append(sum(cell.folder.exists() for cell in cells))})
    monkeypatch.setattr(driver_module, "Display", lambda *_: shown)
    monkeypatch.setattr(driver_module, "_POLL_S", 0.001)
    statuses = run_cells(cells, Resources(SLOTS, Scripts), Console(quiet=True))
    assert there == [len(SLOTS)]
    assert [status.state for status in statuses] == ["done"] * 8


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("times", [4, 10**6])
def test_a_folder_that_cannot_be_written_costs_its_own_cell_alone(cells, monkeypatch, number, times):
    monkeypatch.setattr(driver_module, "_RECOVERY_S", (0.1, 0.0, 0.0) if times > 4 else (300.0, 0.0, 0.0))
    monkeypatch.setattr(driver_module, "Patience", lambda: Patience(0.0))
    left = [times]

    def failing(cell: Cell, monitor: HeartbeatMonitor) -> Status:
        if cell is cells[0] and left[0]:
            left[0] -= 1
            raise OSError(number, os.strerror(number), str(cell.folder))
        return prepare(cell, monitor)

    monkeypatch.setattr(driver_module, "prepare", failing)
    statuses = run_cells(cells, Resources(SLOTS, Scripts), Console(quiet=True))
    assert [status.state for status in statuses] == ["failed" if times > 4 else "done", "done", "done"]
    if times > 4:
        assert f"could not be used for a while ({os.strerror(number)})" in str(statuses[0].last_error)


@pytest.mark.parametrize(("number", "tried"), [(errno.EIO, 23), (errno.ENOSPC, 1)])
def test_where_no_folder_can_be_written_nothing_is_started(cells, monkeypatch, number, tried):
    """What may pass is asked for again for ten seconds in all, then once for each of the first cells."""
    monkeypatch.setattr(files.time, "sleep", lambda _: None)
    asked: list[Cell] = []

    def failing(cell: Cell, monitor: HeartbeatMonitor) -> Status:
        asked.append(cell)
        raise OSError(number, os.strerror(number), str(cell.folder))

    monkeypatch.setattr(driver_module, "prepare", failing)
    with pytest.raises(SlackoffError, match=rf"cannot be written \({os.strerror(number)}\): make it writable"):
        run_cells(cells, Resources(SLOTS, Scripts), Console(quiet=True))
    assert len(asked) == tried


def test_a_folder_that_cannot_be_written_for_a_moment_keeps_no_command_from_beginning(cells, monkeypatch):
    monkeypatch.setattr(files, "_AGAIN_S", 0.001)
    left = [12]

    def failing(cell: Cell, monitor: HeartbeatMonitor) -> Status:
        if left[0]:
            left[0] -= 1
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(cell.folder))
        return prepare(cell, monitor)

    monkeypatch.setattr(driver_module, "prepare", failing)
    statuses = run_cells(cells, Resources(SLOTS, Scripts), Console(quiet=True))
    assert [status.state for status in statuses] == ["done"] * 3


def test_a_full_disk_is_not_waited_for(cells, monkeypatch):
    def failing(cell: Cell, monitor: HeartbeatMonitor) -> Status:
        if cell is cells[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(cell.folder))
        return prepare(cell, monitor)

    monkeypatch.setattr(driver_module, "prepare", failing)
    statuses = drive(cells, Scripts(), Looks())
    assert [status.state for status in statuses.values()] == ["failed", "done", "done"]
    assert f"No space is left for {cells[0].folder}" in str(statuses[cells[0].id].last_error)


def test_slurm_that_does_not_answer_ends_no_job(monkeypatch):
    slurm = pytest.importorskip("slackoff.sweep.slurm")

    def silent(*_: str) -> str:
        raise SlackoffError("squeue failed")

    monkeypatch.setattr(slurm, "run", silent)
    assert slurm.Queue().state("7", "cell") is None


def test_a_stale_handle_is_opened_anew_and_nothing_else_is_tried_again(tmp_path: Path, monkeypatch):
    path, opened = tmp_path / "file", []
    path.write_text("text")
    real = Path.read_bytes

    def read(self: Path) -> bytes:
        opened.append(self)
        if len(opened) <= failing:
            raise OSError(number, os.strerror(number))
        return real(self)

    monkeypatch.setattr(Path, "read_bytes", read)
    number, failing = errno.ESTALE, 2
    assert files.read_bytes(path) == b"text"
    opened.clear()
    failing = 3
    with pytest.raises(OSError, match="Stale"):
        files.read_bytes(path)
    opened.clear()
    number, failing = errno.EIO, 1
    with pytest.raises(OSError, match="Input"):
        files.read_bytes(path)
    assert len(opened) == 1


def test_an_unreadable_ledger_is_not_taken_for_an_empty_one(tmp_path: Path, monkeypatch):
    claim(tmp_path)

    def refuse(self: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(PermissionError):
        latest(tmp_path)


def test_the_place_of_a_cell_is_shown_although_its_heartbeat_cannot_be_read(tmp_path: Path, monkeypatch):
    attempt = claim(tmp_path, "gpu 3")
    assert attempt.owner is not None
    monkeypatch.setattr(type(attempt.owner), "is_local", lambda self: False)
    attempt.path.unlink()
    assert attempt.place() == f"{attempt.owner.host}, gpu 3"


def test_status_shows_the_others_where_one_cannot_be_read(cells, fault):
    fault.put_on(cells[0].folder)
    runs = cells[0].folder.parents[1]
    found = CliRunner().invoke(app, ["status", "--runs", str(runs)])
    assert found.exit_code == 0
    assert [cell.id in found.stdout for cell in cells] == [False, True, True]
    assert found.stderr.count("could not be used for a while") == 1


def test_status_watch_keeps_what_was_known(cells, fault):
    folders = CellFolders(cells[0].folder.parents[1], Patience(0.0))
    before = folders.look()
    assert len(before) == 3
    fault.put_on(cells[0].folder)
    assert folders.look() == before
    assert len(folders.troubles) == 1
    shutil.rmtree(cells[0].folder)
    assert [found.folder for found in folders.look()] == [cell.folder for cell in cells[1:]]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for."""
    monkeypatch.setattr(files, "_AGAIN_S", 0.0)


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EACCES, errno.EIO])
def test_a_file_system_that_fails_for_a_moment_is_asked_again(cells, fault, impatient, number):
    fault.number, fault.left = number, 9
    fault.put_on(*(cell.folder for cell in cells))
    folders = CellFolders(cells[0].folder.parents[1], Patience())
    assert [found.folder for found in folders.look()] == [cell.folder for cell in cells]
    assert (fault.raised, folders.troubles) == (9, [])


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EACCES, errno.EIO])
def test_patience_ends_and_is_shared_by_all_cells(cells, fault, monkeypatch, number):
    slept: list[float] = []
    monkeypatch.setattr(files.time, "sleep", slept.append)
    fault.number = number
    fault.put_on(cells[0].folder, cells[2].folder)
    folders = CellFolders(cells[0].folder.parents[1], Patience(4.0))
    assert [found.folder for found in folders.look()] == [cells[1].folder]
    assert [cell.folder.name in trouble for cell, trouble in zip(cells[::2], folders.troubles, strict=True)] == [
        True
    ] * 2
    assert sum(slept) == 4.0


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("verb", ["status", "retry", "clean"])
def test_a_cell_that_cannot_be_read_stops_no_verb(cells, composed, fault, monkeypatch, number, verb):
    monkeypatch.setattr(files.time, "sleep", lambda _: None)
    fault.number, ran = number, []
    for cell in cells:
        Status(cell.id, cell.label, 20, "failed").write(cell.folder)
        (cell.folder / "config.yaml").write_text(OmegaConf.to_yaml(composed(), resolve=True))
    fault.put_on(cells[0].folder)
    monkeypatch.setattr(driver_module, "run_cells", lambda found, *_: ran.extend(found) or [])
    monkeypatch.setattr(driver_module, "report_failures", lambda *_: 0)
    found = CliRunner().invoke(
        app, [verb, "--runs", str(cells[0].folder.parents[1]), *(["--yes"] if verb == "clean" else [])]
    )
    assert found.exit_code == 0, found.output
    assert f"could not be used for a while ({os.strerror(number)}): see that {cells[0].folder} can" in found.stderr
    if verb == "retry":
        assert [cell.folder for cell in ran] == [cell.folder for cell in cells[1:]]
    if verb == "clean":
        assert [cell.folder.exists() for cell in cells] == [True, False, False]


def test_watching_goes_on_where_the_folder_cannot_be_read(monkeypatch):
    answers = iter([["first"], OSError(errno.ESTALE, "stale"), ["third"], KeyboardInterrupt()])

    def read() -> list[str]:
        answer = next(answers)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    console = Console(record=True, force_terminal=True)
    watch_statuses(read, console, interval_s=0.0)
    assert "third" in console.export_text()


def test_a_cell_whose_status_cannot_be_read_ends_with_the_code_for_its_record(tmp_path: Path, fault, capsys):
    fault.put_on(tmp_path)
    assert main(tmp_path, LaunchOptions()) == CellExit.UNWRITTEN
    assert f"{tmp_path} cannot be written (" in capsys.readouterr().err


def test_the_error_of_an_earlier_attempt_is_gone_once_the_cell_is_trained(cells, monkeypatch):
    def fail(*_: object) -> None:
        raise SlackoffError("no")

    folder = cells[0].folder
    monkeypatch.setattr(process_module, "_train", fail)
    assert main(folder, LaunchOptions()) == CellExit.FAILED
    assert (folder / "error.txt").exists()
    monkeypatch.setattr(process_module, "_train", lambda *_: None)
    assert main(folder, LaunchOptions()) == CellExit.DONE
    assert not (folder / "error.txt").exists()


def test_a_heartbeat_goes_on_after_a_look_that_failed(tmp_path: Path, monkeypatch):
    attempt, looks, over = claim(tmp_path), [], threading.Event()

    def exists(self: Path) -> bool:
        looks.append(self)
        if len(looks) == 1:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        over.set()
        return False

    monkeypatch.setattr(Path, "exists", exists)
    with Claim(attempt, lambda: None, heartbeat_s=0.001):
        assert over.wait(timeout=30)


def test_the_result_of_a_slurm_job_that_cannot_be_read_now_is_no_failure(tmp_path: Path, monkeypatch):
    slurm = pytest.importorskip("slackoff.sweep.slurm")
    paths = slurm.JobPaths(tmp_path, "7")
    with paths.result_pickle.open("wb") as file:
        pickle.dump(("success", 0), file)
    assert slurm._result(paths, look_anew=True) == CellExit.DONE
    real, left = Path.open, [1]

    def stale(self: Path, *args: Any, **options: Any) -> Any:
        if left and left.pop():
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(self))
        return real(self, *args, **options)

    monkeypatch.setattr(Path, "open", stale)
    with pytest.raises(OSError, match="Stale"):
        slurm._result(paths, look_anew=False)
    assert slurm._result(paths, look_anew=False) == CellExit.DONE


def test_a_running_cell_that_cannot_tell_whether_it_ended_is_asked_again_and_ended_at_last(cells, monkeypatch):
    """As a job of Slurm whose result cannot be read: first for a while, then for good."""
    stale = OSError(errno.ESTALE, os.strerror(errno.ESTALE), "result.pkl")

    def mute(script: RunningCell) -> None:
        real, looks = script.ended, iter(range(LOOKS))

        def ended() -> bool:
            if next(looks) < silent:
                raise stale
            return real()

        if script.cell is cells[0]:
            monkeypatch.setattr(script, "ended", ended)

    silent = 5
    shown = Looks()
    assert [status.state for status in drive(cells, Scripts(change=mute), shown).values()] == ["done"] * 3
    assert not any("failed" in sentence for sentence in shown.said)
    monkeypatch.setattr(driver_module, "_RECOVERY_S", (0.02, 0.02, 0.0))
    silent = LOOKS
    for cell in cells:
        cell.first_status().write(cell.folder)
    statuses = drive(cells, Scripts(change=mute), Looks())
    assert [status.state for status in statuses.values()] == ["failed", "done", "done"]
    assert str(statuses[cells[0].id].last_error).startswith("result.pkl could not be used for a while")


def test_troubles_with_a_running_cell_that_lie_far_apart_are_each_waited_for(cells, monkeypatch):
    shown = Looks()
    clock = SimpleNamespace(monotonic=lambda: 200.0 * shown.count, sleep=lambda _: None)
    monkeypatch.setattr(driver_module, "time", clock)  # 300 s are waited for each

    def trouble(script: RunningCell) -> None:
        real, looks = script.ended, count()

        def ended() -> bool:
            if next(looks) in (1, 4):
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), "result.pkl")
            return real()

        monkeypatch.setattr(script, "ended", ended)

    (status,) = drive(cells[:1], Scripts(looks=8, change=trouble), shown).values()
    assert (status.state, status.last_error) == ("done", None)
