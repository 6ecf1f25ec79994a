"""What a driver hands to the process of a cell, and what that process's exit code says."""

import json
import os
import time
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from typing import Any

_VARIABLE = "SLACKOFF_HANDOVER"


class Exit(IntEnum):
    """Exit codes of a cell's process."""

    DONE = 0
    FAILED = 1
    NO_CELL = 2
    ELSEWHERE = 3  # another process holds the cell
    INTERRUPTED = 4  # asked to stop; the checkpoint is written
    LOST = 5  # another process took the cell over
    UNWRITTEN = 6  # its record cannot be written

    @classmethod
    def of(cls, outcome: str) -> "Exit":
        """The exit code that goes with the outcome of an attempt, in the ledger's words."""
        return {"done": cls.DONE, "unneeded": cls.DONE, "failed": cls.FAILED, "interrupted": cls.INTERRUPTED}[outcome]


@dataclass(frozen=True)
class Handover:
    """What a driver tells a cell's process.

    Args:
        after: number of the attempt on the cell that the driver knows to be over (0: there was none); None if there is
            no driver that knows.
        ranks: processes that are to train the cell together.
        slot: where the cell runs, in words for the ledger.
        process_start: ``time.monotonic()`` when the process was started: a clock that all processes of a machine share
            and nobody can set.
        supervisor: number and start of the process (``Owner``) with which this one is to end, if any.
    """

    after: int | None = None
    ranks: int = 1
    slot: str = ""
    process_start: float = field(default_factory=time.monotonic)
    supervisor: tuple[int, float] | None = None

    def as_environment(self) -> dict[str, str]:
        return {_VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def read(cls) -> "Handover":
        """From the environment of this process; the defaults where nobody handed over anything."""
        return cls.of(json.loads(os.environ.get(_VARIABLE, "{}")))

    @classmethod
    def of(cls, content: dict[str, Any]) -> "Handover":
        """From what ``asdict`` gave, after a way through JSON."""
        content = dict(content)
        supervisor = content.pop("supervisor", None)
        return cls(**content, supervisor=tuple(supervisor) if supervisor else None)
