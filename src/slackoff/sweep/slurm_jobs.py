"""A cell's job in Slurm: its settings (``hydra/launcher=slurm``), its way into the queue, and what it runs on the node.

Light, for it is imported on the node before anything else.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import submitit
from submitit.core.utils import JobPaths
from submitit.helpers import Checkpointable, DelayedSubmission

from slackoff.cell.launch import CellExit, LaunchOptions, start_cell_process
from slackoff.config import packages
from slackoff.errors import SlackoffError, did_you_mean
from slackoff.record.ledger import ClaimedError, HeartbeatMonitor, Owner, claim, end_attempt, latest
from slackoff.sweep.plan import Cell

FOLDER = "slurm"
AGAIN_S = 30.0
_MOST_TURNS = 1000  # each goes on from a checkpoint, so that a cell may take as many as it needs
_MOST_IDLE_TURNS = 10
_LOOK_S = 1.0
_WARNING_S = 90  # submitit's default: how long before the time limit Slurm warns
_EARLIER_S = 60  # by so much Slurm may warn earlier than it was told
_PROGRAMS = ("sbatch", "srun", "squeue", "scancel")
_OWN = {
    "nodes": "a cell runs on one node; hydra.launcher.gpus_per_cell says on how many of its GPUs",
    "ntasks_per_node": "a cell is one task, which starts its ranks itself: hydra.launcher.ranks_per_cell",
    "setup": "say hydra.launcher.setup",
    "time": "say hydra.launcher.timeout_min",
    "use_srun": "without srun Slurm's warning does not reach the cell",
}


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
        environment: set for the cell's process; None: what it needs to know the packages that are named here.
    """

    def __init__(
        self, folder: Path, ranks: int, after: int, idle: int = 0, environment: Mapping[str, str] | None = None
    ) -> None:
        self.folder, self.ranks, self.after, self.idle = folder, ranks, after, idle
        self.environment = packages.environment() if environment is None else environment
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
        options = LaunchOptions(after, self.ranks, self.slot, time.monotonic(), (this.pid, this.started))
        self.process = start_cell_process(self.folder, options, self.environment)  # Slurm's warning is passed on to it
        if self.stopping:
            self.process.terminate()
        code = self.process.wait()
        if self.stopping and code == -signal.SIGTERM:  # stopped before it listened
            self._end_attempt()
            return CellExit.INTERRUPTED
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
        return DelayedSubmission(CellJob(self.folder, self.ranks, self.after, idle, self.environment))

    def _over(self) -> int:
        """Number of the attempt that is over; one that an earlier turn of this job made is, once its process is."""
        monitor = HeartbeatMonitor()
        while (newest := latest(self.folder)) is not None and newest.slot == self.slot:
            if not monitor.holds(newest):
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

    def _give_up(self, after: int) -> CellExit:
        reason = f"{self.idle} turns in Slurm were too short to write a checkpoint: raise hydra.launcher.timeout_min"
        try:
            claim(self.folder, self.slot, after, "failed", reason)
        except ClaimedError:
            return CellExit.ELSEWHERE
        return CellExit.FAILED


def job_settings(
    *,
    gpus_per_cell: int,
    ranks: int,
    cpus_per_rank: int,
    mem_gb: float | None,
    timeout_min: int,
    partition: str | None,
    setup: Sequence[str],
    parameters: Mapping[str, Any],
) -> dict[str, Any]:
    """What submitit's SlurmExecutor is told about each job.

    Args:
        gpus_per_cell: GPUs of a job; with 0 it sees none.
        ranks: processes that train a cell together.
        cpus_per_rank: CPU cores, and threads, of each of them.
        mem_gb: memory of a job; None for the cluster's default.
        timeout_min: minutes of one turn of a job.
        partition: where it runs; None for the cluster's default.
        setup: shell lines before it.
        parameters: more of SlurmExecutor's; they win, and None takes one away.

    Raises:
        SlackoffError: a setting that cannot be.
    """
    for key, reason in _OWN.items():
        if key in parameters:
            raise SlackoffError(f"hydra.launcher.parameters.{key} cannot be set: {reason}")
    cores = cpus_per_rank * ranks
    threads = [f"export OMP_NUM_THREADS={cpus_per_rank} MKL_NUM_THREADS={cpus_per_rank}"]
    hidden = [] if gpus_per_cell else ["export CUDA_VISIBLE_DEVICES="]
    wanted = {
        "job_name": "slackoff",
        "time": timeout_min,
        "cpus_per_task": cores,
        "gpus_per_node": gpus_per_cell or None,
        "mem": mem_gb and f"{round(1024 * mem_gb)}MB",
        "partition": partition,
        **parameters,
        "setup": [*setup, *threads, *hidden],
        "srun_args": [f"--cpus-per-task={cores}", *(parameters.get("srun_args") or [])],  # srun does not ask sbatch
        # Some clusters let a job stand in line again only if it says that it can.
        "additional_parameters": _without_nulls({"requeue": True, **(parameters.get("additional_parameters") or {})}),
    }
    found = _without_nulls(wanted)
    needed = found.get("signal_delay_s", _WARNING_S) + _EARLIER_S
    if 60 * timeout_min < needed:
        raise SlackoffError(
            f"hydra.launcher.timeout_min={timeout_min} is too short: Slurm may warn a job {needed} s before its end, "
            "when the cell has to write its checkpoint"
        )
    return found


def check_names(settings: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse what submitit does not know.

    Raises:
        SlackoffError: naming the setting, and the one that was meant if it can be guessed.
    """
    for name in (name for name in settings if name not in known):
        meant = did_you_mean(name, known, f"there are {', '.join(sorted(known))}")
        raise SlackoffError(
            f"hydra.launcher.parameters.{name} is not known to submitit: {meant} "
            f"Any option of sbatch can be given as hydra.launcher.parameters.additional_parameters.{name}"
        )


def _without_nulls(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value is not None}


class Submission(NamedTuple):
    """A job as Slurm took it; each has a folder of its own, because Slurm may give its number again one day."""

    number: str
    name: str
    paths: JobPaths


class Submitter:
    """Hands cells to Slurm.

    Args:
        settings: of submitit's SlurmExecutor.

    Raises:
        SlackoffError: one that submitit does not know, or no Slurm on this machine.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        if missing := [name for name in _PROGRAMS if shutil.which(name) is None]:
            raise SlackoffError(
                f"hydra/launcher=slurm needs Slurm's commands, but {', '.join(missing)} cannot be found: "
                "run it on a login node of the cluster, or leave it out to train on this machine"
            )
        check_names(settings, sorted(submitit.SlurmExecutor._valid_parameters()))
        self.settings = settings
        self.working = False  # whether Slurm has taken a job: what it refuses now it may take later
        self.refusal = ""
        self._again = float("-inf")

    def submit(self, cell: Cell, ranks: int, after: int) -> Submission | None:
        """Submit a cell; None if Slurm takes no job now, and ``refusal`` says why.

        Raises:
            SlackoffError: Slurm refused the first job.
        """
        if time.monotonic() < self._again:
            return None
        folder = cell.folder.absolute() / FOLDER / datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
        executor = submitit.SlurmExecutor(folder, max_num_timeout=_MOST_TURNS)
        executor.update_parameters(**{**self.settings, "job_name": f"{self.settings['job_name']}-{cell.id}"})
        try:
            # A driver killed in here leaves no job that could train: a job needs the file that is written last.
            with _outside_of_a_job(), redirect_stderr(StringIO()):
                job = executor.submit(CellJob(cell.folder.absolute(), ranks, after))
        except RuntimeError as error:
            shutil.rmtree(folder, ignore_errors=True)
            lines = (line.replace("sbatch: error:", "").strip() for line in str(error).splitlines())
            self.refusal = "; ".join(line for line in lines if line)
            if not self.working:
                raise SlackoffError(f"Slurm refused the job of cell {cell.id}: {self.refusal}") from error
            self._again = time.monotonic() + AGAIN_S
            return None
        self.working = True
        return self._submission(cell, folder, job.job_id)

    def earlier(self, cell: Cell) -> list[Submission]:
        """What was submitted for a cell, the newest first; whether those jobs still live only Slurm can tell."""
        found = sorted((cell.folder.absolute() / FOLDER).glob("*/*_submitted.pkl"), reverse=True)
        return [self._submission(cell, path.parent, path.name.partition("_")[0]) for path in found]

    def _submission(self, cell: Cell, folder: Path, number: str) -> Submission:
        return Submission(number, f"{self.settings['job_name']}-{cell.id}", JobPaths(folder, number))


@contextmanager
def _outside_of_a_job() -> Iterator[None]:
    """Hide that the driver is a job itself: a new job would inherit the sizes of that one."""
    inside = "SLURM_JOB_ID" in os.environ
    hidden = {key for key in os.environ if inside and key.startswith("SLURM_") and key != "SLURM_CONF"}
    kept = {key: os.environ.pop(key) for key in hidden}
    try:
        yield
    finally:
        os.environ.update(kept)
