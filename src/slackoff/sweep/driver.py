"""Run the cells of a sweep: each in a free slot, never one that another driver has, until none is left."""

import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from rich.console import Console

from slackoff import failure
from slackoff.errors import SlackoffError
from slackoff.handover import Exit
from slackoff.record.ledger import Attempt, Watch, latest
from slackoff.record.status import Status
from slackoff.sweep.cell_folders import prepare, repair
from slackoff.sweep.display import Display
from slackoff.sweep.failures import name, relative
from slackoff.sweep.plan import Cell, check_cells, check_hardware
from slackoff.sweep.planner_process import PlannerProcess
from slackoff.sweep.running import Ended, Running
from slackoff.sweep.site import Site
from slackoff.sweep.slots import Slot

_POLL_S = 0.25
_LOOK_ELSEWHERE_S = 2.0
_PATIENCE_S = (300.0, 30.0, 0.0)
"""With a record that cannot be used (the server of a network file system may restart): before a signal, after one,
after two."""


def run_cells(
    cells: Sequence[Cell], site: Site, console: Console, planner: PlannerProcess | None = None
) -> list[Status]:
    """Train every cell that is not done, a slot each at a time, the longest first.

    Args:
        cells: the plan.
        site: where cells run.
        console: where progress is shown.
        planner: where configs are checked; closed before training starts.

    Returns:
        The final status of each cell, in the order of ``cells``. A cell that failed does not stop the others.

    Raises:
        SlackoffError: a mistake found before any training starts.
        KeyboardInterrupt: after the running cells were stopped.
    """
    watch = Watch(site.policy.stale_after_s)
    statuses = {cell.id: _known_status(cell, watch) for cell in cells}
    missing = [cell for cell in cells if statuses[cell.id].state != "done"]
    if not missing:
        console.print(f"All {len(cells)} cells are done already: nothing to train.")
        return list(statuses.values())
    precisions = " and ".join(dict.fromkeys(str(cell.content["trainer"]["precision"]) for cell in missing))
    number = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
    console.print(f"{number}, {len(missing)} to train, {len(site.slots)} at a time, in {precisions}.")
    with planner or PlannerProcess() as checks:
        with console.status("Checking the configs"):
            operations = check_cells(missing, checks)
        for warning in check_hardware(missing, site.slots, checks) if site.here else ():
            console.print(warning, style="yellow", highlight=False, markup=False, soft_wrap=True)
    missing.sort(key=lambda cell: _work_left(statuses[cell.id], operations[cell.id]), reverse=True)
    for cell in missing:
        with suppress(OSError):  # where the record cannot be read now, the driver tries again before it trains the cell
            if repaired := repair(cell, watch):
                console.print(repaired, style="yellow", highlight=False, markup=False, soft_wrap=True)
            statuses[cell.id] = prepare(cell, watch)
    with Display(console, operations) as display:
        try:
            Driver(missing, site, statuses, watch, display).run()
        finally:
            site.cells.close()
    return list(statuses.values())


class Driver:
    """The loop over the cells that are not done.

    Args:
        cells: those cells.
        site: where they run.
        statuses: of all cells by id; kept up to date.
        watch: tells which claims of others are held by living processes.
        display: where it is shown.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        site: Site,
        statuses: dict[str, Status],
        watch: Watch,
        display: Display,
    ) -> None:
        self.waiting = deque(cells)
        self.elsewhere: dict[str, tuple[Cell, Attempt]] = {}
        self.site, self.statuses, self.watch, self.display = site, statuses, watch, display
        self.running: list[Running] = []
        self.tries: dict[str, int] = {}
        self.noted: set[str] = set()
        self.failures = 0
        self.unusable_since: dict[str, float] = {}  # when the record of a cell could not be used first
        self.untold: list[Running] = []  # those that have not got the latest signal yet
        self.signals = self.obeyed = 0
        self.looked = float("-inf")

    def run(self) -> None:
        """Train until no cell is left.

        Raises:
            KeyboardInterrupt: after Ctrl-C, once the running cells have stopped.
        """
        with self._listening():
            while not self._over():
                self._obey()
                self._look_elsewhere()
                self._fill()
                time.sleep(_POLL_S)
                self._settle()
                self._limit_time()
                self.display.update(list(self.statuses.values()), self._places(), final=self._over())
        if self.signals:
            raise KeyboardInterrupt

    def _over(self) -> bool:
        """Whether nothing is left to wait for: once a signal is obeyed, only the cells that run here are."""
        return not self.running and bool(self.obeyed or not (self.waiting or self.elsewhere))

    def _queue(self, cell: Cell, first: bool = False) -> None:
        """Put a cell in line; after a signal it is left for the next command."""
        if self.signals:
            return
        self.waiting.appendleft(cell) if first else self.waiting.append(cell)

    def _fill(self) -> None:
        """Start waiting cells in free slots; one that somebody else trains is only watched."""
        busy = {process.slot.name for process in self.running} | self._taken_elsewhere()
        free = deque(slot for slot in self.site.slots if slot.name not in busy)
        for _ in range(len(self.waiting)):
            if not free or not self.waiting or self.signals:
                return
            cell = self.waiting.popleft()
            try:
                self._take_up(cell, free[0])
            except OSError as error:  # its record cannot be used, no log opened, no process started
                if self._bears(cell, error):
                    self._queue(cell)
                else:
                    self._failed(cell, failure.unusable(error, cell.folder))
            taken = {process.slot.name for process in self.running} | self._taken_elsewhere()
            free = deque(slot for slot in free if slot.name not in taken)

    def _take_up(self, cell: Cell, slot: Slot) -> None:
        """Start a cell in a slot, unless it is done or somebody else trains it.

        Raises:
            OSError: its record cannot be used now, or no process be started.
        """
        newest = latest(cell.folder)
        holder = newest if newest is not None and self.watch.holds(newest) else None
        self.statuses[cell.id] = cell.status(self.watch)
        if holder is not None and (adopted := self.site.cells.adopt(cell, slot)) is not None:
            self.running.append(adopted)
        elif holder is not None:
            self.elsewhere[cell.id] = (cell, holder)
            self.display.say(f"cell {name(cell)} is waited for: {self._held_by(holder)}")
        elif self.statuses[cell.id].state != "done":
            self.running.append(self.site.cells.start(cell, slot, newest.number if newest else 0))
        self.unusable_since.pop(cell.id, None)

    def _bears(self, cell: Cell, error: OSError) -> bool:
        """Whether to try again what a cell's record does not allow now."""
        since = self.unusable_since.setdefault(cell.id, time.monotonic())
        if failure.may_pass(error) and time.monotonic() - since < _PATIENCE_S[min(self.signals, 2)]:
            return True
        del self.unusable_since[cell.id]
        return False

    def _taken_elsewhere(self) -> set[str]:
        """Names of the slots of this machine that cells of other drivers run in."""
        attempts = (attempt for _, attempt in self.elsewhere.values())
        return {attempt.slot for attempt in attempts if attempt.owner and attempt.owner.is_near()}

    def _places(self) -> dict[str, str]:
        """Where the running cells run, by id."""
        here = {process.cell.id: process.slot.name for process in self.running}
        return here | {id: attempt.place() for id, (_, attempt) in self.elsewhere.items()}

    def _held_by(self, attempt: Attempt) -> str:
        if attempt.owner is not None and attempt.owner.is_near():
            return f"{attempt.owner} trains it"
        return (
            f"{_owner(attempt)} trains it; if that shows no sign of life for {self.site.policy.stale_after_s:g} s, "
            "it goes on here"
        )

    def _look_elsewhere(self) -> None:
        """Take up the cells whose other process has ended or died."""
        if time.monotonic() - self.looked < _LOOK_ELSEWHERE_S:
            return
        self.looked = time.monotonic()
        for cell, attempt in list(self.elsewhere.values()):
            try:
                self.statuses[cell.id] = status = cell.status(self.watch)
                held = self.watch.holder(cell.folder) is not None
            except OSError as error:
                if not self._bears(cell, error):
                    del self.elsewhere[cell.id]
                    self._failed(cell, failure.unusable(error, cell.folder))
                continue
            self.unusable_since.pop(cell.id, None)
            if held:
                continue
            del self.elsewhere[cell.id]
            if status.state == "done":
                self.display.say(f"cell {name(cell)} done by {_owner(attempt)}")
            else:
                self.display.say(f"cell {name(cell)}: {_owner(attempt)} is gone; it goes on here", "yellow")
                self._queue(cell)

    def _settle(self) -> None:
        """See which cells have ended, and how."""
        for process in list(self.running):
            cell, ended = process.cell, self._look(process)
            while process.news:
                self.display.say(process.news.pop(0), "yellow")
            if ended is None:
                continue
            self.running.remove(process)
            self._announce(cell, ended.exit)
            if ended.exit == Exit.ELSEWHERE:
                self._queue(cell, first=True)
            elif ended.exit == Exit.INTERRUPTED and not process.asked:
                self._queue(cell)  # somebody else stopped it: it goes on from its checkpoint
            elif ended.exit == Exit.FAILED:
                self._failed(cell, ended.reason)

    def _look(self, process: Running) -> Ended | None:
        """How a cell ended; None while it runs, or while its record cannot be used and may be soon."""
        cell = process.cell
        try:
            if not process.ended():
                with suppress(OSError):  # it runs on whatever can be read of it: what was known is shown until then
                    self.statuses[cell.id] = _current(process, self.watch)
                self.unusable_since.pop(cell.id, None)
                return None
            ended = process.settle()
            self.statuses[cell.id] = cell.status(self.watch)
        except OSError as error:
            return None if self._bears(cell, error) else process.give_up(error)
        self.unusable_since.pop(cell.id, None)
        return ended

    def _failed(self, cell: Cell, reason: str | None) -> None:
        """Say so, and try again where the policy allows it; the record may not be able to tell."""
        with suppress(OSError):
            self.statuses[cell.id] = cell.status(self.watch)
        self.statuses[cell.id] = replace(self.statuses[cell.id], state="failed", last_error=reason)
        self.display.say(f"cell {name(cell)} failed: {reason} [{relative(cell.folder)}]", "red")
        if self.signals:
            return
        self.tries[cell.id] = self.tries.get(cell.id, 0) + 1
        if self.tries[cell.id] < self.site.policy.max_attempts:
            self._queue(cell)
            return
        self.failures += 1
        if self.site.policy.stop_after is not None and self.failures >= self.site.policy.stop_after and self.waiting:
            self.display.say(f"{self.failures} cells failed: the {len(self.waiting)} that wait are left", "red")
            self.waiting.clear()

    def _limit_time(self) -> None:
        limit = self.site.policy.time_limit_s
        if limit is None:
            return
        for process in self.running:
            with suppress(OSError):  # one that cannot be reached now is ended when its time of grace is over
                if process.seconds() > limit + self.site.policy.grace_s:
                    process.end_now()
                elif process.seconds() > limit and not process.asked:
                    process.ask_to_stop(
                        f"it ran over its time limit of {limit / 3600:g} h: raise hydra.launcher.time_limit_h; "
                        "the same command again goes on from its last checkpoint"
                    )

    def _announce(self, cell: Cell, ending: Exit) -> None:
        """Say how a cell ended as soon as it did; a note that many cells have is said of the first one."""
        status = self.statuses[cell.id]
        for note in status.notes:
            if note not in self.noted:
                self.noted.add(note)
                self.display.say(f"note on cell {name(cell)}: {note}", "yellow")
        if ending == Exit.DONE:
            seconds = status.train_seconds + status.evaluate_seconds
            self.display.say(f"cell {name(cell)} done in {seconds:.0f} s")
        elif ending == Exit.INTERRUPTED:
            self.display.say(f"cell {name(cell)} stopped at step {status.step}", "yellow")

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Count the signals that ask to stop instead of being torn out of what is being done."""

        def count(*_: object) -> None:
            self.signals += 1

        before = {number: signal.signal(number, count) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        except BaseException:
            for process in self.running:
                with suppress(SlackoffError, OSError):
                    process.ask_to_stop()
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _obey(self) -> None:
        """After the first signal let checkpoints be written, after the second end now."""
        if self.signals > self.obeyed:
            self.obeyed = self.signals
            self.untold = list(self.running)
            self.waiting.clear()
            self.elsewhere.clear()
            if self.signals == 1:
                self.display.say(
                    "stopping: the running cells write a checkpoint; Ctrl-C again ends them at once", "yellow"
                )
        for process in list(self.untold):
            with suppress(OSError):  # one that cannot be reached now is told at the next look
                process.ask_to_stop() if self.obeyed == 1 else process.end_now()
                self.untold.remove(process)


def _known_status(cell: Cell, watch: Watch) -> Status:
    """The status of a cell; that of one never tried while it cannot be read: the driver looks again."""
    try:
        return cell.status(watch)
    except OSError:
        return cell.first_status()


def _work_left(status: Status, operations: float) -> float:
    """Floating-point operations to the end of training; a step takes ``operations``."""
    return operations * (status.steps_total - status.step)


def _current(process: Running, watch: Watch) -> Status:
    status = process.cell.status(watch)
    if status.state in ("pending", "failed", "interrupted"):
        status.state = "running" if process.seconds() else "pending"  # not yet at its first word, or in line
    return status


def _owner(attempt: Attempt) -> str:
    return str(attempt.owner or "an unknown process")
