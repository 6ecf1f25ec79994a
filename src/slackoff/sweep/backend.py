"""What a sweep asks of that which runs its cells: slots, a way to start a cell, and how a cell that runs is doing."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from slackoff.cell.launch import CellExit
from slackoff.config.schema import Policy
from slackoff.errors import explain_death, explain_unusable, explain_unwritable, is_temporary
from slackoff.record.files import write_text
from slackoff.record.ledger import Attempt, ClaimedError, Outcome, claim, end_attempt, latest
from slackoff.sweep.plan import Cell


@dataclass(frozen=True)
class Slot:
    """A place for one cell.

    ``name`` says which it is, for the ledger; ``environment`` is set for the cell's process before it imports torch;
    ``ranks`` is the number of processes that train the cell together.
    """

    environment: dict[str, str]
    name: str = ""
    ranks: int = 1


class Ending(NamedTuple):
    """How a cell ended: done, failed (why), interrupted, pruned, or elsewhere: another process has it."""

    exit: CellExit
    reason: str | None = None


class RunningCell(ABC):
    """A cell that runs somewhere, in a process here, as a job of Slurm, as a task of Ray, as a driver sees it.

    Args:
        cell: what runs.
        slot: the place that it takes.
        after: number of the attempt on the cell that was over when this one was started; 0 if there was none.

    ``asked`` says whether it was asked to stop, ``fault`` why, where that counts as a failure; ``cause`` why it failed,
    once that is known; ``news`` holds what a person should read now. What asks for its state raises OSError where that
    cannot be told at the moment.
    """

    def __init__(self, cell: Cell, slot: Slot, after: int) -> None:
        self.cell, self.slot, self.after = cell, slot, after
        self.asked = False
        self.fault: str | None = None
        self.cause: str | None = None
        self.news: list[str] = []

    @abstractmethod
    def ended(self) -> bool:
        """Whether it runs no longer."""

    @abstractmethod
    def seconds(self) -> float:
        """How long it has been running; 0 while it waits for its turn."""

    @abstractmethod
    def kill(self) -> None:
        """End it with its helpers at once; the last checkpoint stays."""

    @abstractmethod
    def _send_stop(self) -> None:
        """Send it the signal to write a checkpoint and end."""

    @abstractmethod
    def _how_ended(self) -> CellExit | str:
        """How it ended: by its exit code, or in words what killed it."""

    @abstractmethod
    def _owns(self, attempt: Attempt) -> bool:
        """Whether an attempt is its own."""

    def stop(self, fault: str | None = None) -> None:
        """Let the cell write a checkpoint and end; with a fault this counts as a failure."""
        self.asked, self.fault = True, fault
        self._send_stop()

    def finish(self) -> Ending:
        """How it ended; what one that died could not write down itself is written here, as far as it can be.

        Raises:
            OSError: its record cannot be used now; to be called again.
        """
        how = self._how_ended()
        stopped = how == CellExit.INTERRUPTED and self.fault is None
        if stopped or how in (CellExit.DONE, CellExit.ELSEWHERE, CellExit.PRUNED):
            return Ending(CellExit(int(how)))
        if how == CellExit.LOST:
            return Ending(CellExit.ELSEWHERE)
        reason = self.fault or self._reason(how)
        self.cause = reason if self.fault is not None or isinstance(how, str) else None
        try:
            return self._write_down(reason)
        except ClaimedError:
            return Ending(CellExit.ELSEWHERE)
        except OSError as error:
            if is_temporary(error):
                raise
            return self._only_stopped() or Ending(
                CellExit.FAILED, self.cause or explain_unwritable(error, self.cell.folder)
            )

    def give_up(self, error: OSError) -> Ending:
        """How it counts as ended, now that its record could not be used for too long; it is killed if it still runs."""
        with suppress(OSError):
            self.kill()
        return self._only_stopped() or Ending(CellExit.FAILED, self.cause or explain_unusable(error, self.cell.folder))

    def _reason(self, how: CellExit | str) -> str:
        """Why it failed, if it could not say that itself."""
        folder = self.cell.folder
        if how == CellExit.NO_CELL:
            return f"{folder} holds no status.json any more: the same command again makes it anew"
        if how == CellExit.UNWRITTEN:
            return (
                f"{folder} could not be written for a while: free space or make it writable, then run the same command "
                "again; it goes on from there"
            )
        return explain_death(f"exit code {how:d}" if isinstance(how, CellExit) else how, folder)

    def _write_down(self, reason: str) -> Ending:
        """Write into the ledger how it ended.

        Raises:
            ClaimedError: another process has the cell.
            OSError: it cannot be written.
        """
        folder, newest, stopped = self.cell.folder, latest(self.cell.folder), self._only_stopped()
        outcome: Outcome = "interrupted" if stopped else "failed"
        if newest is None or newest.number <= self.after:  # it died before it could claim the cell
            claim(folder, self.slot.name, self.after, outcome, reason)
        elif not self._owns(newest):
            raise ClaimedError(f"{folder} is being trained by {newest.owner or 'another process'}")
        elif newest.outcome not in (None, "interrupted") and self.fault is None:  # it had said so itself
            return Ending(CellExit.of(newest.outcome), newest.error)
        elif (state := self.cell.status().state) == "done" or state == "pruned":  # it died after its last word
            with suppress(OSError):
                end_attempt(newest, state)
            return Ending(CellExit.of(state))
        else:
            end_attempt(newest, outcome, reason)
        if stopped:
            return stopped
        write_text(folder / "error.txt", f"{reason}\n")
        return Ending(CellExit.FAILED, reason)

    def _only_stopped(self) -> Ending | None:
        """The ending of one that was asked to stop, without a fault of its own."""
        return Ending(CellExit.INTERRUPTED) if self.asked and self.fault is None else None


class Backend(ABC):
    """Starts cells in slots: as processes here, as jobs of Slurm, as tasks of Ray."""

    @abstractmethod
    def start(self, cell: Cell, slot: Slot, after: int) -> RunningCell:
        """Start a cell.

        Args:
            cell: what to train.
            slot: the place for it.
            after: number of the attempt that the caller knows to be over (0: there was none), so that a newer one of
                somebody else is not taken for that.

        Raises:
            OSError: its log or its process cannot be made.
            SlackoffError: it cannot be started at all.
        """

    def adopt(self, cell: Cell, slot: Slot) -> RunningCell | None:
        """Take over a cell that an earlier driver started and that still runs; None where that cannot be."""
        return None


@dataclass
class Resources:
    """Where the cells of a sweep run, and by which rules.

    Args:
        slots: places for cells.
        connect: makes what starts cells, at the first cell: a sweep that is done, and a dry run, need no cluster.
        policy: what to do about failures.
        local: whether cells are processes of this machine.
    """

    slots: Sequence[Slot]
    connect: Callable[[], Backend]
    policy: Policy = field(default_factory=Policy)
    local: bool = False

    @cached_property
    def backend(self) -> Backend:
        """What starts cells."""
        return self.connect()


def read_exit_code(code: int) -> CellExit | str:
    """What an exit code says: a ``CellExit``, or in words what killed the process."""
    if code in list(CellExit):
        return CellExit(code)
    return f"signal {-code}" if code < 0 else f"exit code {code}"
