"""How a cell's process is started, asked to stop, and what its exit code says: all that its starters know of it."""

import atexit
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import NoReturn

PROGRAM = "slackoff.cell.process"
"""The module that is run in a cell's process, with the cell's folder as its argument."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""What a driver, Slurm's scancel and a shutdown send; what Slurm sends ahead of a time limit."""

_OPTIONS_VARIABLE = "SLACKOFF_LAUNCH_OPTIONS"
_RANK_VARIABLES = ("RANK", "WORLD_SIZE")
_LAUNCHER_VARIABLES = (
    *(f"{of}{name}" for of in ("", "LOCAL_", "GLOBAL_", "GROUP_", "NODE_", "ROLE_") for name in _RANK_VARIABLES),
    *("ROLE_NAME", "MASTER_ADDR", "MASTER_PORT"),
    *(f"SLURM_{name}" for name in ("PROCID", "LOCALID", "NODEID", "NTASKS", "NPROCS", "NTASKS_PER_NODE")),
    *("MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
)
_LAUNCHER_PREFIXES = ("JSM_NAMESPACE_", "OMPI_COMM_WORLD_", "PMI_", "PMIX_", "TORCHELASTIC_", "PET_")


class CellExit(IntEnum):
    """Exit codes of a cell's process."""

    DONE = 0
    FAILED = 1
    NO_CELL = 2
    ELSEWHERE = 3  # another process holds the cell
    INTERRUPTED = 4  # asked to stop; the checkpoint is written
    LOST = 5  # another process took the cell over
    UNWRITTEN = 6  # its record cannot be written
    PRUNED = 7  # its sweep's rule ended it; the checkpoint is written

    @classmethod
    def of(cls, outcome: str) -> "CellExit":
        """The exit code that goes with the outcome of an attempt, in the ledger's words."""
        codes = {"done": cls.DONE, "unneeded": cls.DONE, "failed": cls.FAILED, "interrupted": cls.INTERRUPTED}
        return (codes | {"pruned": cls.PRUNED})[outcome]


class Stopped(BaseException):
    """The cell was asked to stop. No error of the cell, so that no handler for errors takes it for one."""


class Pruned(Stopped):
    """The rule of its sweep ended the cell, for the reason that this says."""


@dataclass(frozen=True)
class LaunchOptions:
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
        return {_OPTIONS_VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def read(cls) -> "LaunchOptions":
        """From the environment of this process; the defaults where no driver started it."""
        content = json.loads(os.environ.get(_OPTIONS_VARIABLE, "{}"))
        if content.get("supervisor"):
            content["supervisor"] = tuple(content["supervisor"])
        return cls(**content)


def start_cell_process(
    folder: Path, options: LaunchOptions, environment: Mapping[str, str], directory: Path | None = None
) -> "subprocess.Popen[bytes]":
    """Start the process of a cell in a session of its own, so that a signal to the starter is not one to the cell.

    Args:
        folder: the cell's; what the process prints is appended to its ``log.txt``.
        options: told to the process.
        environment: set for the process, beside the present one's.
        directory: where relative paths in the cell's config start from; None: the present one.

    Raises:
        OSError: the log cannot be opened or the process not be started.
    """
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", PROGRAM, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=directory,
            env={**os.environ, **environment, **options.as_environment()},
            start_new_session=True,
        )


def launcher_variables(names: Iterable[str]) -> list[str]:
    """Those environment variables in which a launcher (srun, torchrun, mpirun, Kubeflow) tells a process its rank.

    A cell's processes inherit them from whatever the sweep was started below, which means another program by them.
    ``PET_...`` are defaults of torchrun's own options.
    """
    return [name for name in names if name in _LAUNCHER_VARIABLES or name.startswith(_LAUNCHER_PREFIXES)]


def on_stop_signal(handler: Callable[..., object]) -> None:
    """Call ``handler`` at each of the ``STOP_SIGNALS``."""
    for number in STOP_SIGNALS:
        signal.signal(number, handler)


def ignore_stop_signals() -> None:
    """Let the process end as it is about to; those that it starts listen to signals as usual."""
    on_stop_signal(lambda *_: None)


def exit_now(code: int) -> NoReturn:
    """End the process as ``sys.exit`` would, but leave its memory to the system.

    Taking torch and the libraries around it apart object by object takes more than a second; all files are closed by
    now, and what libraries registered for the end has been called.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
