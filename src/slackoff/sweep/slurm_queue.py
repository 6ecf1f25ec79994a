"""Slurm's commands, and what its queue says about this user's jobs."""

import os
import subprocess
import time
from typing import NamedTuple

from slackoff.errors import SlackoffError

_ASK_EVERY_S = 5.0
_ANSWER_WITHIN_S = 30.0
OVER = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"}
OVER |= {"REVOKED", "TIMEOUT", ""}
"""States of a job that will not run again; the empty one is that of a job that Slurm does not know any more."""


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
