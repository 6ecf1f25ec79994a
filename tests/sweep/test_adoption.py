"""Cells of other drivers or in a queue: taken over, shown as what they are, stopped by Ctrl-C."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from omegaconf import DictConfig
from rich.console import Console

from slackoff.handover import Exit
from slackoff.record.ledger import Attempt, Watch, latest
from slackoff.record.status import Status
from slackoff.sweep.cell_folders import prepare
from slackoff.sweep.display import Display
from slackoff.sweep.driver import Driver
from slackoff.sweep.plan import Cell, plan
from slackoff.sweep.running import Running
from slackoff.sweep.site import Site
from slackoff.sweep.slots import Slot
from slackoff.sweep.starter import Starter

SLOT = Slot({}, "job 0")


class Queued(Running):
    """A job that waits, runs and ends as its script says; the script is read once a look of the driver."""

    def __init__(self, cell: Cell, script: Callable[["Queued"], Iterator[float]]) -> None:
        super().__init__(cell, SLOT, 0)
        self.script, self.since = script(self), 0.0

    def ended(self) -> bool:
        try:
            self.since = next(self.script)
        except StopIteration:
            return True
        return False

    def seconds(self) -> float:
        return self.since

    def end_now(self) -> None:
        self._stop()

    def _stop(self) -> None:
        self.script = iter(())

    def _ending(self) -> Exit | str:
        return Exit.INTERRUPTED if self.asked else Exit.DONE

    def _made(self, attempt: Attempt) -> bool:
        return True


class Jobs(Starter):
    """Starts or takes over one job."""

    def __init__(self, job: Queued, adopts: bool) -> None:
        self.job, self.adopts, self.started = job, adopts, 0

    def start(self, cell: Cell, slot: Slot, after: int | None = None) -> Running:
        self.started += 1
        return self.job

    def adopt(self, cell: Cell, slot: Slot) -> Running | None:
        return self.job if self.adopts else None


class Shown(Display):
    """Keeps what was shown."""

    def __init__(self) -> None:
        super().__init__(Console(quiet=True))
        self.states: list[str] = []

    def update(self, statuses, places, final=False) -> None:
        self.states += [status.state for status in statuses]


@pytest.fixture
def cell(composed: Callable[..., DictConfig]) -> Cell:
    (found,) = plan([composed()], [[]])
    prepare(found, Watch())
    return found


def drive(cell: Cell, jobs: Jobs) -> Shown:
    shown, watch = Shown(), Watch()
    statuses: dict[str, Status] = {cell.id: cell.status(watch)}
    Driver([cell], Site([SLOT], cells=jobs), statuses, watch, shown).run()
    return shown


def test_a_cell_in_a_queue_is_pending_until_its_turn(cell: Cell):
    def script(job: Queued) -> Iterator[float]:
        yield from (0.0, 0.0, 1.0, 2.0)
        done = job.cell.status()
        done.state = "done"
        done.write(job.cell.folder)

    jobs = Jobs(Queued(cell, script), adopts=False)
    assert drive(cell, jobs).states == ["pending", "pending", "running", "running", "done"]
    assert jobs.started == 1


def test_ctrl_c_stops_a_cell_that_was_taken_over(cell: Cell):
    code = "import sys, time; from pathlib import Path; from slackoff.record.ledger import claim; "
    code += "claim(Path(sys.argv[1]), 'job 0'); print('held', flush=True); time.sleep(60)"
    held = subprocess.Popen([sys.executable, "-c", code, str(cell.folder)], stdout=subprocess.PIPE, text=True)
    assert held.stdout
    assert held.stdout.readline() == "held\n"

    def script(job: Queued) -> Iterator[float]:
        yield 1.0
        os.kill(os.getpid(), signal.SIGINT)
        while True:
            yield 2.0

    jobs = Jobs(Queued(cell, script), adopts=True)
    try:
        with pytest.raises(KeyboardInterrupt):
            drive(cell, jobs)
    finally:
        held.kill()
        held.wait()
        held.stdout.close()
    assert jobs.started == 0
    assert jobs.job.asked
    newest = latest(cell.folder)
    assert newest is not None
    assert newest.number == 1
