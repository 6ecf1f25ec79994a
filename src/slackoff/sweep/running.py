"""A cell that runs somewhere: in a process here, as a job of Slurm, as a task of Ray."""

from abc import ABC, abstractmethod
from contextlib import suppress
from typing import NamedTuple

from slackoff.failure import death, may_pass, unusable, unwritable
from slackoff.handover import Exit
from slackoff.record.files import write_text
from slackoff.record.ledger import Attempt, ClaimedError, Outcome, claim, end_attempt, latest
from slackoff.sweep.plan import Cell
from slackoff.sweep.slots import Slot


class Ended(NamedTuple):
    """How a cell ended: done, failed (why), interrupted, or elsewhere: another process has it."""

    exit: Exit
    reason: str | None = None


class Running(ABC):
    """A running cell as a driver sees it.

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
    def end_now(self) -> None:
        """End it with its helpers at once; the last checkpoint stays."""

    @abstractmethod
    def _stop(self) -> None:
        """Send it the signal to write a checkpoint and end."""

    @abstractmethod
    def _ending(self) -> Exit | str:
        """How it ended: by its exit code, or in words what killed it."""

    @abstractmethod
    def _made(self, attempt: Attempt) -> bool:
        """Whether an attempt is its own."""

    def ask_to_stop(self, fault: str | None = None) -> None:
        """Let the cell write a checkpoint and end; with a fault this counts as a failure."""
        self.asked, self.fault = True, fault
        self._stop()

    def settle(self) -> Ended:
        """How it ended; what one that died could not write down itself is written here, as far as it can be.

        Raises:
            OSError: its record cannot be used now; to be called again.
        """
        ending = self._ending()
        if ending in (Exit.DONE, Exit.ELSEWHERE) or (ending == Exit.INTERRUPTED and self.fault is None):
            return Ended(Exit(ending))
        if ending == Exit.LOST:
            return Ended(Exit.ELSEWHERE)
        reason = self.fault or self._reason(ending)
        self.cause = reason if self.fault is not None or isinstance(ending, str) else None
        try:
            return self._write_down(reason)
        except ClaimedError:
            return Ended(Exit.ELSEWHERE)
        except OSError as error:
            if may_pass(error):
                raise
            return self._stopped() or Ended(Exit.FAILED, self.cause or unwritable(error, self.cell.folder))

    def give_up(self, error: OSError) -> Ended:
        """How it counts as ended, now that its record could not be used for too long; it is ended if it still runs."""
        with suppress(OSError):
            self.end_now()
        return self._stopped() or Ended(Exit.FAILED, self.cause or unusable(error, self.cell.folder))

    def _reason(self, ending: Exit | str) -> str:
        """Why it failed, if it could not say that itself."""
        folder = self.cell.folder
        if ending == Exit.NO_CELL:
            return f"{folder} holds no status.json any more: the same command again makes it anew"
        if ending == Exit.UNWRITTEN:
            return (
                f"{folder} could not be written for a while: free space or make it writable, then run the same command "
                "again; it goes on from there"
            )
        return death(f"exit code {ending:d}" if isinstance(ending, Exit) else ending, folder)

    def _write_down(self, reason: str) -> Ended:
        """Write into the ledger how it ended.

        Raises:
            ClaimedError: another process has the cell.
            OSError: it cannot be written.
        """
        folder, newest, stopped = self.cell.folder, latest(self.cell.folder), self._stopped()
        outcome: Outcome = "interrupted" if stopped else "failed"
        if newest is None or newest.number <= self.after:  # it died before it could claim the cell
            claim(folder, self.slot.name, self.after, outcome, reason)
        elif not self._made(newest):
            raise ClaimedError(f"{folder} is being trained by {newest.owner or 'another process'}")
        elif newest.outcome not in (None, "interrupted") and self.fault is None:  # it had said so itself
            return Ended(Exit.of(newest.outcome), newest.error)
        elif self.cell.status().state == "done":  # it died after its last word
            with suppress(OSError):
                end_attempt(newest, "done")
            return Ended(Exit.DONE)
        else:
            end_attempt(newest, outcome, reason)
        if stopped:
            return stopped
        write_text(folder / "error.txt", f"{reason}\n")
        return Ended(Exit.FAILED, reason)

    def _stopped(self) -> Ended | None:
        """The ending of one that was only asked to stop."""
        return Ended(Exit.INTERRUPTED) if self.asked and self.fault is None else None


def newest_number(cell: Cell) -> int:
    """Number of the newest attempt on a cell; 0 if there is none."""
    attempt = latest(cell.folder)
    return attempt.number if attempt else 0


def read_code(code: int) -> Exit | str:
    """What an exit code says: an ``Exit``, or in words what killed the process."""
    if code in list(Exit):
        return Exit(code)
    return f"signal {-code}" if code < 0 else f"exit code {code}"
