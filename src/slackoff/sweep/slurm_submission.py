"""A cell's way into Slurm's queue."""

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from datetime import UTC, datetime
from io import StringIO
from typing import Any, NamedTuple

import submitit
from submitit.core.utils import JobPaths

from slackoff.errors import SlackoffError
from slackoff.sweep.plan import Cell
from slackoff.sweep.slurm_job import CellJob
from slackoff.sweep.slurm_settings import check_names, check_slurm

FOLDER = "slurm"
AGAIN_S = 30.0
_MOST_TURNS = 1000  # each goes on from a checkpoint, so that a cell may take as many as it needs


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
        check_slurm()
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
        executor.update_parameters(**{**self.settings, "job_name": self._name(cell)})
        try:
            # A driver killed in here leaves no job that could train: a job needs the file that is written last.
            with _outside_of_a_job(), redirect_stderr(StringIO()):
                job = executor.submit(CellJob(cell.folder.absolute(), ranks, after))
        except RuntimeError as error:
            shutil.rmtree(folder, ignore_errors=True)
            self.refusal = _plain(str(error))
            if not self.working:
                raise SlackoffError(f"Slurm refused the job of cell {cell.id}: {self.refusal}") from error
            self._again = time.monotonic() + AGAIN_S
            return None
        self.working = True
        return Submission(job.job_id, self._name(cell), JobPaths(folder, job.job_id))

    def earlier(self, cell: Cell) -> list[Submission]:
        """What was submitted for a cell, the newest first; whether those jobs still live only Slurm can tell."""
        found = sorted((cell.folder.absolute() / FOLDER).glob("*/*_submitted.pkl"), reverse=True)
        numbers = [(path.parent, path.name.partition("_")[0]) for path in found]
        return [Submission(number, self._name(cell), JobPaths(folder, number)) for folder, number in numbers]

    def _name(self, cell: Cell) -> str:
        return f"{self.settings['job_name']}-{cell.id}"


def _plain(reason: str) -> str:
    """What sbatch says, in one line."""
    lines = (line.replace("sbatch: error:", "").strip() for line in reason.splitlines())
    return "; ".join(line for line in lines if line)


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
