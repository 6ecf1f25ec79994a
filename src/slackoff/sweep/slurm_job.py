"""What a job of Slurm runs: the process of one cell. Light, for it is imported on the node before anything else."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from submitit.helpers import Checkpointable, DelayedSubmission

from slackoff.handover import Exit, Handover
from slackoff.record.ledger import ClaimedError, Watch, claim, end_attempt, latest
from slackoff.record.owner import Owner

_MOST_IDLE_TURNS = 10
_LOOK_S = 1.0


def slot_name(number: str) -> str:
    """How the ledger names the place of a job."""
    return f"slurm {number}"


class CellJob(Checkpointable):
    """A cell as a job; at Slurm's warning (time limit, preemption) it writes a checkpoint and stands in line again.

    Args:
        folder: the cell's folder.
        ranks: processes that are to train the cell together.
        after: number of the attempt on the cell that was over when the job was submitted.
        idle: turns in a row that ended before a checkpoint could be written.
    """

    def __init__(self, folder: Path, ranks: int, after: int, idle: int = 0) -> None:
        self.folder, self.ranks, self.after, self.idle = folder, ranks, after, idle
        self.process: subprocess.Popen[bytes] | None = None
        self.stopping = False
        self.found = 0.0

    @property
    def slot(self) -> str:
        """How the ledger names this place."""
        return slot_name(os.environ["SLURM_JOB_ID"])

    def __call__(self) -> int:
        """Run the cell's process to its end; its exit code."""
        signal.signal(signal.SIGTERM, lambda *_: self._stop())
        after = self._over()
        if self.idle >= _MOST_IDLE_TURNS:
            return self._give_up(after)
        self.found = self._checkpoint_time()
        this = Owner.this()
        handover = Handover(after, self.ranks, self.slot, time.monotonic(), (this.pid, this.started))
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "slackoff.cell", str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **handover.as_environment()},
                start_new_session=True,  # Slurm's warning is for this process, which passes it on
            )
        if self.stopping:
            self.process.terminate()
        code = self.process.wait()
        if self.stopping and code == -signal.SIGTERM:  # stopped before it listened
            self._end_attempt()
            return Exit.INTERRUPTED
        return code

    def checkpoint(self) -> DelayedSubmission:
        """Called by submitit at Slurm's warning: what is to run when the job's turn comes again."""
        self._stop()
        if self.process is not None:
            with suppress(ChildProcessError):
                # Popen.wait would stand still: __call__, which this handler interrupts, holds its lock.
                os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
            self._end_attempt()
        idle = self.idle + 1 if self._checkpoint_time() == self.found else 0
        return DelayedSubmission(CellJob(self.folder, self.ranks, self.after, idle))

    def _over(self) -> int:
        """Number of the attempt that is over; one that an earlier turn of this job made is, once its process is."""
        watch = Watch()
        while (newest := latest(self.folder)) is not None and newest.slot == self.slot:
            if not watch.holds(newest):
                return newest.number
            time.sleep(_LOOK_S)
        return self.after

    def _end_attempt(self) -> None:
        """Write down what a process that was stopped before it listened could not."""
        with suppress(OSError):  # whoever takes the cell up then sees that its process is gone
            newest = latest(self.folder)
            if newest is not None and newest.slot == self.slot and newest.outcome is None:
                end_attempt(newest, "interrupted")

    def _stop(self) -> None:
        """Ask the cell's process to stop, once: a second signal would end ranks while they write a checkpoint."""
        first, self.stopping = not self.stopping, True
        if first and self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def _checkpoint_time(self) -> float:
        with suppress(OSError):  # there is none, or it cannot be looked at: that must not keep a job from going on
            return (self.folder / "checkpoints" / "last.ckpt").stat().st_mtime
        return 0.0

    def _give_up(self, after: int) -> Exit:
        reason = f"{self.idle} turns in Slurm were too short to write a checkpoint: raise hydra.launcher.timeout_min"
        try:
            end_attempt(claim(self.folder, self.slot, after), "failed", reason)
        except ClaimedError:
            return Exit.ELSEWHERE
        return Exit.FAILED
