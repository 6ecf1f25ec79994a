"""Cells as jobs of Slurm: Slurm's commands, and what its queue says about this user's jobs."""

import os
import pickle
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

from submitit.core.utils import JobPaths

from slackoff.cell.launch import CellExit
from slackoff.errors import SlackoffError
from slackoff.record.ledger import Attempt, latest
from slackoff.sweep.backend import Backend, RunningCell, Slot, read_exit_code
from slackoff.sweep.plan import Cell
from slackoff.sweep.slurm_jobs import AGAIN_S, Submission, Submitter, slot_name

_ASK_EVERY_S = 5.0
_ANSWER_WITHIN_S = 30.0
_RESULT_WITHIN_S = 20.0  # a result may reach this machine's view of a network file system later than the job's end
_REPEAT_S = 10.0
_PATIENCE_S = 24 * 3600.0
_LEAVE_S = 60.0  # Slurm's KillWait is 30

_OVER = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"}
_OVER |= {"REVOKED", "TIMEOUT", ""}
"""States of a job that will not run again; the empty one is that of a job that Slurm does not know any more."""
_ON_NODE = {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING", "STAGE_OUT"}
_NOT_THE_CELLS_FAULT = {"NODE_FAIL", "BOOT_FAIL", "PREEMPTED"}
_STUCK = {"AccountNotAllowed", "BadConstraints", "DependencyNeverSatisfied", "InvalidAccount", "InvalidQOS"}
_STUCK |= {"JobHeldAdmin", "JobHeldUser", "launch failed requeued held", "PartitionDown", "PartitionInactive"}
_STUCK |= {"PartitionNodeLimit", "PartitionTimeLimit", "QOSNotAllowed", "QOSMaxWallDurationPerJobLimit"}


class _Job(NamedTuple):
    state: str
    reason: str
    name: str


class Queue:
    """The states of this user's jobs; asked for all of them at once, and not too often.

    While Slurm does not answer (its controller restarts, say) nothing is known, and no job counts as ended for it.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, _Job] | None = None
        self._asked = float("-inf")

    def state(self, number: str, name: str) -> str | None:
        """The state of a job in Slurm's words; "" if there is none of this number and name; None for no answer."""
        if time.monotonic() - self._asked > _ASK_EVERY_S:
            self._jobs = self._ask()
            self._asked = time.monotonic()
        if self._jobs is None:
            return None
        job = self._jobs.get(number)
        return job.state if job and job.name == name else ""

    def trouble(self, number: str) -> str:
        """Why a job will not have its turn by itself, in Slurm's words; "" for one that will."""
        job = (self._jobs or {}).get(number)
        return job.reason if job and job.state == "PENDING" and job.reason in _STUCK else ""

    def forget(self) -> None:
        """Ask anew next time."""
        self._asked = float("-inf")

    def _ask(self) -> dict[str, _Job] | None:
        try:
            answer = run("squeue", f"--user={os.getuid()}", "--noheader", "--states=all", "--format=%A|%T|%r|%j")
        except SlackoffError:
            return None
        rows = (line.strip().split("|", 3) for line in answer.splitlines())
        return {number: _Job(*rest) for number, *rest in rows if len(rest) == 3}


def run(*command: str) -> str:
    """What one of Slurm's commands prints.

    Raises:
        SlackoffError: it is not there, or it failed.
    """
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=_ANSWER_WITHIN_S).stdout
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or error
        raise SlackoffError(f"{' '.join(command)} failed: {str(reason).strip()}") from error


class SlurmJobs(Backend):
    """The jobs of a sweep.

    Args:
        settings: of submitit's SlurmExecutor.

    Raises:
        SlackoffError: one that submitit does not know, or no Slurm on this machine.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.submitter = Submitter(settings)
        self.queue = Queue()

    def start(self, cell: Cell, slot: Slot, after: int) -> "SlurmJob":
        """Submit a cell, unless it has a job that is still in line or running.

        Raises:
            SlackoffError: Slurm refused the first job.
        """
        job = self.adopt(cell, slot)
        if job is None:
            job = SlurmJob(cell, slot, after, self)
            job.submit()
        return job

    def adopt(self, cell: Cell, slot: Slot) -> "SlurmJob | None":
        """The job of a cell that an earlier driver submitted, if it is in line or running."""
        for submission in self.submitter.earlier(cell):
            if self.queue.state(submission.number, submission.name) not in {*_OVER, None}:
                self.submitter.working = True
                newest = latest(cell.folder)
                number = newest.number if newest else 0
                own = newest is not None and newest.slot == slot_name(submission.number)
                return SlurmJob(cell, slot, number - 1 if own else number, self, submission)
        return None


class SlurmJob(RunningCell):
    """A cell as a job in Slurm's queue, or one that Slurm does not take yet."""

    def __init__(
        self, cell: Cell, slot: Slot, after: int, jobs: SlurmJobs, submission: Submission | None = None
    ) -> None:
        super().__init__(cell, slot, after)
        self.jobs, self.submission = jobs, submission
        self.made = time.monotonic()
        self.ran = False
        self.since: float | None = None  # when its present turn began
        self.gone: float | None = None
        self.ending: float | None = None
        self.signalled_at = float("-inf")
        self.stuck = ""

    def submit(self) -> None:
        """Try to submit it; raises as ``Submitter.submit``."""
        submitter = self.jobs.submitter
        said = submitter.refusal
        self.submission = submitter.submit(self.cell, self.slot.ranks, self.after)
        if self.submission is not None:
            self.jobs.queue.forget()
        elif submitter.refusal != said:
            self.news.append(
                f"Slurm takes no more jobs now ({submitter.refusal}); it is asked again every {AGAIN_S:.0f} s"
            )

    def ended(self) -> bool:
        if self.submission is None and not self.asked:
            self.submit()
        if self.submission is None:
            return self.asked or time.monotonic() - self.made > _PATIENCE_S
        state = self._state(self.submission)
        if self.ending is not None and time.monotonic() - self.ending > _LEAVE_S:
            return True
        result = _result(self.submission.paths, state in _OVER)
        if result is not None and (result != CellExit.INTERRUPTED or state in _OVER or (state is None and self.asked)):
            return True  # one that was interrupted may stand in line again
        if state not in _OVER:
            self.gone = None
            self._repeat(state)
            self._look_for_trouble(self.submission)
            return False
        self.gone = self.gone or time.monotonic()
        return (self.asked and not self.ran) or time.monotonic() - self.gone > _RESULT_WITHIN_S

    def seconds(self) -> float:
        return 0.0 if self.since is None else time.monotonic() - self.since

    def kill(self) -> None:
        if self.ending is None:
            self.ending, self.signalled_at = time.monotonic(), float("-inf")
        self._send("scancel")

    def _send_stop(self) -> None:
        self.jobs.queue.forget()
        if self.submission is not None:
            self._repeat(self._state(self.submission))

    def _repeat(self, state: str | None) -> None:
        """Say it until it is heard: a job that only just starts does not listen yet, one may stand in line again."""
        if not self.asked or self.submission is None:
            return
        if self.ending is not None:
            self.kill()
        elif state == "RUNNING":
            self._send("scancel", "--signal=TERM")
        elif state is not None and state not in _ON_NODE:
            with suppress(OSError):  # tells other drivers who cancelled it
                self.submission.paths.submitted_pickle.unlink(missing_ok=True)
            self._send("scancel")

    def _look_for_trouble(self, submission: Submission) -> None:
        """Say why a job will never have its turn unless somebody does something."""
        reason = self.jobs.queue.trouble(submission.number)
        if reason and reason != self.stuck:
            self.news.append(
                f"Slurm job {submission.number} of cell {self.cell.id} stands still ({reason}): "
                f"change it with scontrol update, or give it up with scancel {submission.number}"
            )
        self.stuck = reason

    def _send(self, *command: str) -> None:
        if self.submission is not None and time.monotonic() - self.signalled_at > _REPEAT_S:
            self.signalled_at = time.monotonic()
            with suppress(SlackoffError):  # it has just ended, or Slurm does not answer
                run(*command, self.submission.number)

    def _state(self, submission: Submission) -> str | None:
        state = self.jobs.queue.state(submission.number, submission.name)
        if state == "RUNNING":
            self.ran, self.since = True, self.since or time.monotonic()
        elif state is not None and state not in _ON_NODE:
            self.since = None
        return state

    def _how_ended(self) -> CellExit | str:
        if self.submission is None:
            return CellExit.INTERRUPTED if self.asked else f"Slurm took no job for a day: {self.jobs.submitter.refusal}"
        state, paths = self._state(self.submission), self.submission.paths
        result = _result(paths, look_anew=True)
        cancelled = state == "CANCELLED" and not self.asked
        if cancelled and result in (None, CellExit.INTERRUPTED):
            if not paths.submitted_pickle.exists():
                return CellExit.ELSEWHERE  # another driver was asked to stop
            result = state  # somebody wants this cell to end: it is not tried again
        elif self._can_go_on(state, result):
            return CellExit.INTERRUPTED
        if isinstance(result, int) and isinstance(result := read_exit_code(result), CellExit):
            return result
        what = result or state or "Slurm does not know it any more"
        return f"Slurm job {self.submission.number}: {what}; Slurm's log is {paths.stderr}"

    def _can_go_on(self, state: str | None, result: int | str | None) -> bool:
        """Whether a job without an exit code is to be tried again, because its cell is not to blame."""
        if isinstance(result, int):
            return False
        if (self.asked and not self.ran) or (result is None and state in _NOT_THE_CELLS_FAULT):
            return True
        newest = latest(self.cell.folder)  # its checkpoint may be written, and only standing in line again have failed
        return newest is not None and self._owns(newest) and newest.outcome == "interrupted"

    def _owns(self, attempt: Attempt) -> bool:
        return self.submission is not None and attempt.slot == slot_name(self.submission.number)


class _Plain(pickle.Unpickler):
    """Reads numbers and texts, which is all that a job of ours leaves; anybody may have written into the folder."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it names {module}.{name}, which was not run")


def _result(paths: JobPaths, look_anew: bool) -> int | str | None:
    """Exit code of a cell's process, or the last words of a job that could not run it; None if there is none (yet).

    Raises:
        OSError: it cannot be read now.
    """
    if look_anew:  # else a network file system may not show for a minute that the file is there
        with suppress(OSError):
            list(paths.folder.iterdir())
    try:
        with paths.result_pickle.open("rb") as file:
            outcome, value = _Plain(file).load()
    except FileNotFoundError:
        return None
    except OSError:
        raise
    except Exception as error:  # a damaged pickle is a program that ends in any error
        return f"{paths.result_pickle} cannot be read ({error})"
    return int(value) if outcome == "success" else str(value).strip().splitlines()[-1]
