"""Signals and records that cannot be read: the driver always ends, and one cell's trouble stays its own."""

import errno
import os
import pickle
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from slackoff.cell import main
from slackoff.cli.app import app
from slackoff.handover import Exit, Handover
from slackoff.record import files, ledger
from slackoff.record import status as status_module
from slackoff.record.files import read_text
from slackoff.record.ledger import Attempt, Claim, Watch, attempts, claim, end_attempt, latest
from slackoff.record.status import Status, read_status
from slackoff.sweep import driver as driver_module
from slackoff.sweep.cell_folders import prepare
from slackoff.sweep.display import Display, watch_statuses
from slackoff.sweep.driver import Driver, run_cells
from slackoff.sweep.plan import Cell
from slackoff.sweep.policy import Policy
from slackoff.sweep.running import Running
from slackoff.sweep.site import Site
from slackoff.sweep.slots import Slot
from slackoff.sweep.starter import Starter

SLOTS = [Slot({}, "cpu 0"), Slot({}, "cpu 1")]
LOOKS = 200  # of a driver that should have ended long before


class Script(Running):
    """A cell that runs for some looks of the driver and then ends by an exit code; asked to stop, at once."""

    def __init__(self, cell: Cell, slot: Slot, after: int, looks: int, asked_to_stop: Exit = Exit.INTERRUPTED) -> None:
        super().__init__(cell, slot, after)
        self.looks, self.asked_to_stop = looks, asked_to_stop

    def ended(self) -> bool:
        self.looks -= 1
        if self.looks == 0 and not self.asked:
            status = read_status(self.cell.folder)
            assert status is not None
            status.state = "done"
            status.write(self.cell.folder)
        return self.looks <= 0

    def seconds(self) -> float:
        return 1.0

    def end_now(self) -> None:
        self._stop()

    def _stop(self) -> None:
        self.looks = 0

    def _ending(self) -> Exit | str:
        return self.asked_to_stop if self.asked else Exit.DONE

    def _made(self, attempt: Attempt) -> bool:
        return True


class Scripts(Starter):
    """Starts cells as scripts."""

    def __init__(self, looks: int = 3, asked_to_stop: Exit = Exit.INTERRUPTED) -> None:
        self.looks, self.asked_to_stop = looks, asked_to_stop
        self.started: list[str] = []

    def start(self, cell: Cell, slot: Slot, after: int | None = None) -> Running:
        self.started.append(cell.id)
        return Script(cell, slot, after or 0, self.looks, self.asked_to_stop)


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
def cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
    monkeypatch.setattr(driver_module, "_POLL_S", 0.001)
    monkeypatch.setattr(driver_module, "_LOOK_ELSEWHERE_S", 0.0)
    monkeypatch.setattr(driver_module, "check_cells", lambda cells, _: dict.fromkeys((cell.id for cell in cells), 1.0))
    monkeypatch.setattr(driver_module, "check_hardware", lambda *_: [])
    content = {"schedule": {"steps": 20}, "trainer": {"precision": "32-true", "accelerator": "cpu"}}
    names = [f"cell{seed}" for seed in range(3)]
    found = [
        Cell(name, content, tmp_path / "runs/cells" / name, {"seed": seed}, {"seed": seed})
        for seed, name in enumerate(names)
    ]
    for cell in found:
        prepare(cell, Watch())
    return found


def drive(cells: Sequence[Cell], starter: Starter, shown: Looks, policy: Policy | None = None) -> dict[str, Status]:
    statuses = {cell.id: cell.status() for cell in cells}
    Driver(cells, Site(SLOTS, policy or Policy(), starter), statuses, Watch(), shown).run()
    return statuses


def interrupt(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("ending", [Exit.INTERRUPTED, Exit.ELSEWHERE, Exit.LOST, Exit.NO_CELL])
def test_one_signal_ends_the_driver_however_the_cells_end(cells, number, ending):
    starter = Scripts(looks=10**6, asked_to_stop=ending)
    with pytest.raises(KeyboardInterrupt):
        drive(cells, starter, Looks({2: lambda: interrupt(number)}), Policy(max_attempts=3))
    assert len(starter.started) == 2


def test_one_signal_ends_a_driver_that_waits_for_cells_of_another_one(cells):
    for cell in cells:
        claim(cell.folder, "elsewhere")
    with pytest.raises(KeyboardInterrupt):
        drive(cells, Scripts(), Looks({3: interrupt}))


def test_a_cell_that_another_driver_gets_while_this_one_is_stopped_is_left_to_it(cells):
    """What two commands on one folder do to each other when both get Ctrl-C: the cell lost here is held there."""

    class Overtaken(Scripts):
        def start(self, cell: Cell, slot: Slot, after: int | None = None) -> Running:
            claim(cell.folder, "elsewhere")
            return super().start(cell, slot, after)

    shown = Looks({2: interrupt, 5: interrupt})
    with pytest.raises(KeyboardInterrupt):
        drive(cells, Overtaken(looks=10**6, asked_to_stop=Exit.ELSEWHERE), shown)
    assert shown.count < 10


class Fault:
    """Lets reading files of a cell raise, so many times; none counts the readings only."""

    def __init__(self, number: int = errno.ESTALE, times: float = float("inf")) -> None:
        self.number, self.left, self.raised = number, times, 0
        self.places: list[Path] = []

    def __call__(self, path: Path) -> str:
        if self.left > 0 and any(path.is_relative_to(place) for place in self.places):
            self.left, self.raised = self.left - 1, self.raised + 1
            raise OSError(self.number, os.strerror(self.number), str(path))
        return read_text(path)

    def put_on(self, *places: Path) -> None:
        self.places += places

    def mend(self) -> None:
        self.left = 0


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Fault:
    fault = Fault()
    for module in (status_module, ledger):
        monkeypatch.setattr(module, "read_text", fault)
    return fault


@pytest.mark.parametrize("file", ["status.json", "attempts"])
def test_a_status_that_cannot_be_read_for_a_while_changes_nothing(cells, fault, file):
    first = cells[0].folder
    for cell in cells:
        end_attempt(claim(cell.folder), "interrupted")
    fault.left = 7
    starter, shown = Scripts(looks=20), Looks({3: lambda: fault.put_on(first / file)})
    statuses = drive(cells, starter, shown)
    assert fault.raised == 7
    assert [status.state for status in statuses.values()] == ["done"] * 3
    assert starter.started == [cell.id for cell in cells]
    assert {states[0] for states in shown.states} == {"running", "done"}
    assert shown.said == [f"cell {cell.id} (seed {cell.axes['seed']}) done in 0 s" for cell in cells]


@pytest.mark.parametrize("file", ["status.json", "attempts"])
def test_a_cell_that_cannot_be_read_before_its_turn_is_started_later(cells, fault, file):
    for cell in cells:
        end_attempt(claim(cell.folder), "interrupted")
    statuses = {cell.id: cell.status() for cell in cells}
    fault.put_on(cells[0].folder / file)
    starter = Scripts()
    Driver(cells, Site(SLOTS[:1], cells=starter), statuses, Watch(), Looks({12: fault.mend})).run()
    assert fault.raised > 2
    assert starter.started == [cells[1].id, cells[2].id, cells[0].id]
    assert [status.state for status in statuses.values()] == ["done"] * 3


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("when", ["before its turn", "while it runs", "while another has it"])
def test_a_record_that_stays_unreadable_is_the_failure_of_its_cell_alone(cells, fault, monkeypatch, number, when):
    monkeypatch.setattr(driver_module, "_PATIENCE_S", (0.05, 0.0, 0.0))
    fault.number, (first, *_) = number, cells
    at = {"before its turn": 0, "while it runs": 2, "while another has it": 2}[when]
    if when == "while another has it":
        claim(first.folder, "elsewhere")
    statuses = {cell.id: cell.status() for cell in cells}
    if at == 0:
        fault.put_on(first.folder)
    shown, starter = Looks({at: lambda: fault.put_on(first.folder)}), Scripts(looks=5)
    Driver(cells, Site(SLOTS, cells=starter), statuses, Watch(), shown).run()
    assert [status.state for status in statuses.values()] == ["failed", "done", "done"]
    assert f"could not be used for a while ({os.strerror(number)}): see that {first.folder} can be read" in str(
        statuses[first.id].last_error
    )
    assert sum("failed" in sentence for sentence in shown.said) == 1


def test_a_death_that_cannot_be_written_down_at_once_is_written_down_later(cells, fault):
    class Dying(Scripts):
        def start(self, cell: Cell, slot: Slot, after: int | None = None) -> Running:
            running = super().start(cell, slot, after)
            running._ending = lambda: "signal 9"  # type: ignore[method-assign]
            return running

    (cell, *_) = cells
    held = claim(cell.folder)
    statuses = {cell.id: cell.status()}
    shown = Looks({2: lambda: fault.put_on(cell.folder / "attempts"), 8: fault.mend})
    end_attempt(held, "interrupted")
    Driver([cell], Site(SLOTS, cells=Dying()), statuses, Watch(), shown).run()
    assert fault.raised > 2
    assert statuses[cell.id].state == "failed"
    newest = latest(cell.folder)
    assert newest is not None
    assert "signal 9" in str(newest.error)


def test_the_claim_made_for_a_dead_cell_is_over_from_its_first_moment(cells, monkeypatch):
    """Else a driver that could not end it would wait for itself."""
    (cell, *_) = cells
    script = Script(cell, SLOTS[0], 0, 1)
    monkeypatch.setattr(script, "_ending", lambda: "signal 9")
    script.settle()
    (attempt,) = attempts(cell.folder)
    assert (attempt.outcome, attempt.ended_at is not None) == ("failed", True)
    assert not Watch().holds(attempt)


def test_a_sweep_begins_although_a_status_cannot_be_read(cells, fault):
    fault.put_on(cells[1].folder)
    fault.left = 4
    statuses = run_cells(cells, Site(SLOTS, cells=Scripts()), Console(quiet=True))
    assert [status.state for status in statuses] == ["done"] * 3
    assert fault.raised == 4


def test_a_stale_handle_is_opened_anew_and_nothing_else_is_tried_again(tmp_path: Path, monkeypatch):
    path, opened = tmp_path / "file", []
    path.write_text("text")
    real = Path.read_text

    def read(self: Path, *args: object, **options: object) -> str:
        opened.append(self)
        if len(opened) <= failing:
            raise OSError(number, os.strerror(number))
        return real(self, encoding="utf-8")

    monkeypatch.setattr(Path, "read_text", read)
    number, failing = errno.ESTALE, 2
    assert files.read_text(path) == "text"
    opened.clear()
    failing = 3
    with pytest.raises(OSError, match="Stale"):
        files.read_text(path)
    opened.clear()
    number, failing = errno.EIO, 1
    with pytest.raises(OSError, match="Input"):
        files.read_text(path)
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
    monkeypatch.setattr(type(attempt.owner), "is_near", lambda self: False)
    attempt.path.unlink()
    assert attempt.place() == f"{attempt.owner.host}, gpu 3"


def test_status_shows_the_others_where_one_cannot_be_read(cells, fault):
    fault.put_on(cells[0].folder)
    runs = cells[0].folder.parents[1]
    found = CliRunner().invoke(app.app, ["status", "--runs", str(runs)])
    assert found.exit_code == 0
    assert [cell.id in found.stdout for cell in cells] == [False, True, True]
    assert found.stderr.count("could not be used for a while") == 1


def test_status_watch_keeps_what_was_known(cells, fault):
    runs, known = cells[0].folder.parents[1], dict[str, Status]()
    assert len(app._guarded_statuses(runs, Watch(), known)) == 3
    fault.put_on(cells[0].folder)
    assert len(app._guarded_statuses(runs, Watch(), known)) == 3


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
    assert main(tmp_path, Handover()) == Exit.UNWRITTEN
    assert f"{tmp_path} cannot be written (" in capsys.readouterr().err


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
    assert slurm._result(paths, look_anew=True) == Exit.DONE
    real, left = Path.open, [1]

    def stale(self: Path, *args: Any, **options: Any) -> Any:
        if left and left.pop():
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(self))
        return real(self, *args, **options)

    monkeypatch.setattr(Path, "open", stale)
    with pytest.raises(OSError, match="Stale"):
        slurm._result(paths, look_anew=False)
    assert slurm._result(paths, look_anew=False) == Exit.DONE


def test_a_running_cell_that_cannot_tell_whether_it_ended_is_asked_again_and_ended_at_last(cells, monkeypatch):
    """As a job of Slurm whose result cannot be read: first for a while, then for good."""
    stale = OSError(errno.ESTALE, os.strerror(errno.ESTALE), "result.pkl")

    class Mute(Scripts):
        def start(self, cell: Cell, slot: Slot, after: int | None = None) -> Running:
            running = super().start(cell, slot, after)
            if cell is cells[0]:
                real, looks = running.ended, iter(range(LOOKS))

                def ended() -> bool:
                    if next(looks) < silent:
                        raise stale
                    return real()

                monkeypatch.setattr(running, "ended", ended)
            return running

    silent = 5
    shown = Looks()
    assert [status.state for status in drive(cells, Mute(), shown).values()] == ["done"] * 3
    assert not any("failed" in sentence for sentence in shown.said)
    monkeypatch.setattr(driver_module, "_PATIENCE_S", (0.02, 0.02, 0.0))
    silent = LOOKS
    for cell in cells:
        cell.first_status().write(cell.folder)
    statuses = drive(cells, Mute(), Looks())
    assert [status.state for status in statuses.values()] == ["failed", "done", "done"]
    assert str(statuses[cells[0].id].last_error).startswith("result.pkl could not be used for a while")
