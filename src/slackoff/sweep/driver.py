"""Run the cells of a sweep: each in a free slot, never one that another driver has, until none is left."""

import shlex
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console

from slackoff.cell.launch import CellExit
from slackoff.errors import SlackoffError, explain_unusable, is_temporary
from slackoff.record.files import Patience
from slackoff.record.ledger import Attempt, HeartbeatMonitor, latest
from slackoff.record.status import Status
from slackoff.sweep.backend import Ending, Resources, RunningCell, Slot
from slackoff.sweep.cell_folders import prepare, repair
from slackoff.sweep.display import ENDED, Display, say
from slackoff.sweep.plan import Cell, check_cells, check_hardware
from slackoff.sweep.planner_process import PlannerProcess

_POLL_S = 0.25
_LOOK_ELSEWHERE_S = 2.0
_FIRST_PREPARED = 4
_MOST_VAIN_STOPS = 5
_RECOVERY_S = (300.0, 30.0, 0.0)
"""With a record that cannot be used (the server of a network file system may restart): before a signal, after one,
after two."""


def run_cells(
    cells: Sequence[Cell], resources: Resources, console: Console, planner: PlannerProcess | None = None
) -> list[Status]:
    """Train every cell that is not done, a slot each at a time, the longest first.

    Args:
        cells: the plan.
        resources: where cells run.
        console: where progress is shown.
        planner: where configs are checked; closed before training starts.

    Returns:
        The final status of each cell, in the order of ``cells``. A cell that failed does not stop the others.

    Raises:
        SlackoffError: a mistake found before any training starts.
        KeyboardInterrupt: after the running cells were stopped.
    """
    monitor, statuses = HeartbeatMonitor(resources.policy.stale_after_s), dict[str, Status]()
    for cell in cells:
        try:
            statuses[cell.id] = cell.status(monitor)
        except OSError:  # the driver looks again before it trains the cell
            statuses[cell.id] = cell.first_status()
    missing = [cell for cell in cells if not cell.is_over(statuses[cell.id])]
    if not missing:
        pruned = sum(status.state == "pruned" for status in statuses.values())
        words = f" or pruned ({pruned})" if pruned else ""
        console.print(f"All {len(cells)} cells are done{words} already: nothing to train.")
        return list(statuses.values())
    precisions = " and ".join(dict.fromkeys(str(cell.content["trainer"]["precision"]) for cell in missing))
    number = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
    console.print(f"{number}, {len(missing)} to train, {len(resources.slots)} at a time, in {precisions}.")
    with planner or PlannerProcess() as checks:
        if not console.is_terminal:
            console.print("Checking the configs.")
        with console.status("Checking the configs"):
            operations = check_cells(missing, checks)
        for warning in check_hardware(missing, resources.slots, checks) if resources.local else ():
            say(console, warning, "yellow")

    def work_left(cell: Cell) -> float:
        """Floating-point operations to the end of training."""
        return operations[cell.id] * (statuses[cell.id].steps_total - statuses[cell.id].step)

    missing.sort(key=work_left, reverse=True)
    _prepare_first(missing[:_FIRST_PREPARED], monitor)
    with Display(console, operations) as display:
        Driver(missing, resources, statuses, monitor, display).run()
    return list(statuses.values())


def _prepare_first(cells: Sequence[Cell], monitor: HeartbeatMonitor) -> None:
    """Find out on the first cells whether records can be written; the others are prepared when their turn comes.

    Raises:
        SlackoffError: no folder can be written.
    """
    patience = Patience()
    for cell in cells:
        try:
            patience(partial(prepare, cell, monitor))
        except OSError as error:
            if not is_temporary(error) or cell is cells[-1]:
                raise SlackoffError(
                    f"The record folder {cell.folder} cannot be written ({error.strerror}): "
                    "make it writable, free space, or choose another place with runs=..."
                ) from error
            continue  # the driver tries this one again
        return


class Driver:
    """The loop over the cells that are not done.

    Args:
        cells: those cells.
        resources: where they run.
        statuses: of all cells by id; kept up to date.
        monitor: tells which claims of others are held by living processes.
        display: where it is shown.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        resources: Resources,
        statuses: dict[str, Status],
        monitor: HeartbeatMonitor,
        display: Display,
    ) -> None:
        self.waiting = deque(cells)
        self.policy = resources.policy
        self.elsewhere: dict[str, tuple[Cell, Attempt]] = {}
        self.resources, self.statuses, self.monitor, self.display = resources, statuses, monitor, display
        self.running: list[RunningCell] = []
        self.tries: dict[str, int] = {}
        self.stops: dict[str, tuple[int, int]] = {}  # step at which others stopped a cell, how often in a row
        self.noted: set[str] = set()
        self.failures = 0
        self.unusable_since: dict[str, float] = {}  # when the record of a cell could not be used first
        self.unsignalled: list[RunningCell] = []  # those that have not got the latest signal yet
        self.signals = self.obeyed = 0
        self.looked = float("-inf")

    def run(self) -> None:
        """Train until no cell is left.

        Raises:
            KeyboardInterrupt: after Ctrl-C, once the running cells have stopped.
        """
        with self._listening():
            while not self._finished():
                self._obey()
                self._look_elsewhere()
                self._fill()
                time.sleep(_POLL_S)
                self._collect()
                self._limit_time()
                places = {process.cell.id: process.slot.name for process in self.running}
                places |= {id: attempt.place() for id, (_, attempt) in self.elsewhere.items()}
                self.display.update(list(self.statuses.values()), places, final=self._finished())
        if self.signals:
            raise KeyboardInterrupt

    def _finished(self) -> bool:
        """Whether nothing is left to wait for: once a signal is obeyed, only the cells that run here are."""
        return not self.running and bool(self.obeyed or not (self.waiting or self.elsewhere))

    def _queue(self, cell: Cell, first: bool = False) -> None:
        """Put a cell in line; after a signal it is left for the next command."""
        if self.signals:
            return
        self.waiting.appendleft(cell) if first else self.waiting.append(cell)

    def _fill(self) -> None:
        """Start waiting cells in free slots; one that somebody else trains is only watched."""
        for _ in range(len(self.waiting)):
            elsewhere = (attempt for _, attempt in self.elsewhere.values())
            busy = {attempt.slot for attempt in elsewhere if attempt.owner and attempt.owner.is_local()}
            busy |= {process.slot.name for process in self.running}
            slot = next((slot for slot in self.resources.slots if slot.name not in busy), None)
            if slot is None or not self.waiting or self.signals:
                return
            cell = self.waiting.popleft()
            try:
                self._take_up(cell, slot)
            except OSError as error:  # its record cannot be used, no log opened, no process started
                if self._may_recover(cell, error):
                    self._queue(cell)
                else:
                    self._failed(cell, explain_unusable(error, cell.folder))

    def _take_up(self, cell: Cell, slot: Slot) -> None:
        """Start a cell in a slot, unless it is done or somebody else trains it.

        Raises:
            OSError: its record cannot be used now, or no process be started.
        """
        if repaired := repair(cell, self.monitor):
            self.display.say(repaired, "yellow")
        newest = latest(cell.folder)
        holder = newest if newest is not None and self.monitor.holds(newest) else None
        self.statuses[cell.id] = cell.status(self.monitor)
        if holder is not None and (adopted := self.resources.backend.adopt(cell, slot)) is not None:
            self.running.append(adopted)
        elif holder is not None:
            self.elsewhere[cell.id] = (cell, holder)
            sentence = f"cell {cell_name(cell)} is waited for: {_owner(holder)} trains it"
            if holder.owner is None or not holder.owner.is_local():
                sentence += f"; if that shows no sign of life for {self.policy.stale_after_s:g} s, it goes on here"
            self.display.say(sentence)
        elif not cell.is_over(self.statuses[cell.id]):
            self.statuses[cell.id] = prepare(cell, self.monitor)
            if cell.pruning:
                slot = replace(slot, environment={**slot.environment, **cell.pruning.as_environment()})
            self.running.append(self.resources.backend.start(cell, slot, newest.number if newest else 0))
        self.unusable_since.pop(cell.id, None)

    def _may_recover(self, cell: Cell, error: OSError) -> bool:
        """Whether to try again what a cell's record does not allow now."""
        since = self.unusable_since.setdefault(cell.id, time.monotonic())
        if is_temporary(error) and time.monotonic() - since < _RECOVERY_S[min(self.signals, 2)]:
            return True
        del self.unusable_since[cell.id]
        return False

    def _look_elsewhere(self) -> None:
        """Take up the cells whose other process has ended or died."""
        if time.monotonic() - self.looked < _LOOK_ELSEWHERE_S:
            return
        self.looked = time.monotonic()
        for cell, attempt in list(self.elsewhere.values()):
            try:
                self.statuses[cell.id] = status = cell.status(self.monitor)
                held = self.monitor.holder(cell.folder) is not None
            except OSError as error:
                if not self._may_recover(cell, error):
                    del self.elsewhere[cell.id]
                    self._failed(cell, explain_unusable(error, cell.folder))
                continue
            self.unusable_since.pop(cell.id, None)
            if held:
                continue
            del self.elsewhere[cell.id]
            if cell.is_over(status):
                self.display.say(f"cell {cell_name(cell)} {status.state} by {_owner(attempt)}")
            else:
                self.display.say(f"cell {cell_name(cell)}: {_owner(attempt)} is gone; it goes on here", "yellow")
                self._queue(cell)

    def _collect(self) -> None:
        """See which cells have ended, and how."""
        for process in list(self.running):
            cell, ended = process.cell, self._look(process)
            while process.news:
                self.display.say(process.news.pop(0), "yellow")
            if ended is None:
                continue
            self.running.remove(process)
            self._announce_end(cell, ended.exit)
            if ended.exit == CellExit.ELSEWHERE:
                self._queue(cell, first=True)
            elif ended.exit == CellExit.INTERRUPTED and not process.asked:
                self._go_on(cell)
            elif ended.exit == CellExit.FAILED:
                self._failed(cell, ended.reason)

    def _go_on(self, cell: Cell) -> None:
        """Put a cell that somebody else stopped in line again: it goes on from its checkpoint, if it gets to one."""
        step = self.statuses[cell.id].step
        before, count = self.stops.get(cell.id, (-1, 0))
        count = count + 1 if step <= before else 1
        self.stops[cell.id] = (step, count)
        if count < _MOST_VAIN_STOPS:
            self._queue(cell)
            return
        del self.stops[cell.id]
        self._failed(
            cell,
            f"it was stopped {count} times without getting beyond step {step}: see who sends its process SIGTERM or "
            "SIGUSR1, then run the same command again; it goes on from its last checkpoint",
        )

    def _look(self, process: RunningCell) -> Ending | None:
        """How a cell ended; None while it runs, or while its record cannot be used and may be soon."""
        cell = process.cell
        try:
            if not process.ended():
                with suppress(OSError):  # it runs on whatever can be read of it: what was known is shown until then
                    status = cell.status(self.monitor)
                    if status.state in ("pending", "failed", "interrupted"):  # before its first word, or in line
                        status.state = "running" if process.seconds() else "pending"
                    self.statuses[cell.id] = status
                self.unusable_since.pop(cell.id, None)
                return None
            ended = process.finish()
            self.statuses[cell.id] = cell.status(self.monitor)
        except OSError as error:
            return None if self._may_recover(cell, error) else process.give_up(error)
        self.unusable_since.pop(cell.id, None)
        return ended

    def _failed(self, cell: Cell, reason: str | None) -> None:
        """Say so, and try again where the policy allows it; the record may not be able to tell."""
        with suppress(OSError):
            self.statuses[cell.id] = cell.status(self.monitor)
        self.statuses[cell.id] = replace(self.statuses[cell.id], state="failed", last_error=reason)
        self.display.say(f"cell {cell_name(cell)} failed: {reason} [{short_path(cell.folder)}]", "red")
        if self.signals:
            return
        self.tries[cell.id] = self.tries.get(cell.id, 0) + 1
        if self.tries[cell.id] < self.policy.max_attempts:
            self._queue(cell)
            return
        self.failures += 1
        if self.policy.stop_after is not None and self.failures >= self.policy.stop_after and self.waiting:
            self.display.say(f"{self.failures} cells failed: the {len(self.waiting)} that wait are left", "red")
            self.waiting.clear()

    def _limit_time(self) -> None:
        if self.policy.time_limit_h is None:
            return
        limit = 3600 * self.policy.time_limit_h
        for process in self.running:
            with suppress(OSError):  # one that cannot be reached now is ended when its time of grace is over
                if process.seconds() > limit + self.policy.grace_s:
                    process.kill()
                elif process.seconds() > limit and not process.asked:
                    process.stop(
                        f"it ran over its time limit of {self.policy.time_limit_h:g} h: raise "
                        "hydra.launcher.time_limit_h; the same command again goes on from its last checkpoint"
                    )

    def _announce_end(self, cell: Cell, ending: CellExit) -> None:
        """Say how a cell ended as soon as it did; a note that many cells have is said of the first one."""
        status = self.statuses[cell.id]
        if ending == CellExit.PRUNED:
            self.display.say(f"cell {cell_name(cell)} {status.notes[-1] if status.notes else 'pruned'}")
            return
        for note in status.notes:
            if note not in self.noted:
                self.noted.add(note)
                self.display.say(f"note on cell {cell_name(cell)}: {note}", "yellow")
        if ending == CellExit.DONE:
            seconds = status.train_seconds + status.evaluate_seconds
            self.display.say(f"cell {cell_name(cell)} done in {seconds:.0f} s")
        elif ending == CellExit.INTERRUPTED:
            self.display.say(f"cell {cell_name(cell)} stopped at step {status.step}", "yellow")

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Count the signals that ask to stop instead of being torn out of what is being done.

        That of a closed terminal comes more than once, from the shell and from the system, and counts as one.
        """

        def count(number: int, *_: object) -> None:
            self.signals = max(1, self.signals) if number == signal.SIGHUP else self.signals + 1

        listened = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup has it
            listened.append(signal.SIGHUP)
        before = {number: signal.signal(number, count) for number in listened}
        try:
            yield
        except BaseException:
            for process in self.running:
                with suppress(SlackoffError, OSError):
                    process.stop()
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _obey(self) -> None:
        """After the first signal let checkpoints be written, after the second end now."""
        if self.signals > self.obeyed:
            self.obeyed = self.signals
            self.unsignalled = list(self.running)
            self.waiting.clear()
            self.elsewhere.clear()
            if self.signals == 1:
                self.display.say(
                    "stopping: the running cells write a checkpoint; Ctrl-C again ends them at once", "yellow"
                )
        for process in list(self.unsignalled):
            with suppress(OSError):  # one that cannot be reached now is told at the next look
                process.stop() if self.obeyed == 1 else process.kill()
                self.unsignalled.remove(process)


def _owner(attempt: Attempt) -> str:
    return str(attempt.owner or "an unknown process")


def report_failures(cells: Sequence[Cell], statuses: Sequence[Status], resources: Resources, console: Console) -> int:
    """Print how many cells failed, then for each: which it is, why, its log, and how to train it again.

    Args:
        cells: the plan.
        statuses: of these cells, after the sweep.
        resources: where they ran; cells of a cluster are trained again by the whole command.
        console: where to print.

    Returns:
        The number of cells that failed.
    """
    failed = [(cell, status) for cell, status in zip(cells, statuses, strict=True) if status.state == "failed"]
    left = sum(status.state not in ENDED for status in statuses)
    if failed:
        rest = f", {left} not trained" if left else ""
        counts = f"{len(failed)} of {len(cells)} cells failed{rest}"
        say(console, f"{counts}. The same command again trains only these.", "red")
    for cell, status in failed:
        retry = ["retry", "--runs", str(short_path(cell.folder.parents[1])), cell.id]
        again = shlex.join(["python", "-m", "slackoff", *(retry if resources.local else sys.argv[1:])])
        log = short_path(cell.folder / "log.txt")
        say(console, f"cell {cell_name(cell)}: {status.last_error} | log: {log} | again: {again}", "red")
    return len(failed)


def cell_name(cell: Cell) -> str:
    """A cell in a sentence: its id and what tells it from the others of its sweep."""
    return f"{cell.id} ({', '.join(f'{key} {value}' for key, value in cell.axes.items())})"


def short_path(path: Path) -> Path:
    """A path as short as a person would type it here."""
    return path.relative_to(Path.cwd()) if path.is_absolute() and path.is_relative_to(Path.cwd()) else path
