"""What a driver hands to the process of a cell, what that inherits unasked, and what its exit code says."""

import json
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from typing import Any

_VARIABLE = "SLACKOFF_HANDOVER"
_PLACE = ("RANK", "WORLD_SIZE")
_LAUNCHERS = (
    *(f"{of}{name}" for of in ("", "LOCAL_", "GLOBAL_", "GROUP_", "NODE_", "ROLE_") for name in _PLACE),
    *("ROLE_NAME", "MASTER_ADDR", "MASTER_PORT"),
    *(f"SLURM_{name}" for name in ("PROCID", "LOCALID", "NODEID", "NTASKS", "NPROCS", "NTASKS_PER_NODE")),
    *("MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
)
_LAUNCHER_FAMILIES = ("JSM_NAMESPACE_", "OMPI_COMM_WORLD_", "PMI_", "PMIX_", "TORCHELASTIC_", "PET_")


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


def launcher_variables(names: Iterable[str]) -> list[str]:
    """Those environment variables in which a launcher (srun, torchrun, mpirun, Kubeflow) tells a process its rank.

    A cell's processes inherit them from whatever the sweep was started below, which means another program by them.
    ``PET_...`` are defaults of torchrun's own options.
    """
    return [name for name in names if name in _LAUNCHERS or name.startswith(_LAUNCHER_FAMILIES)]
