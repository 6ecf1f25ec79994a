"""Which process something belongs to, and whether that process still lives."""

import os
import socket
import threading
import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

_PROC = Path("/proc")
_STATE, _START = 0, 19  # of the fields of /proc/PID/stat behind the process's name
_SAME_START_S = 2.0
_LOOK_S = 1.0


@dataclass(frozen=True)
class Owner:
    """A process, named so that it cannot be taken for another one.

    ``place`` tells machines, boots and PID namespaces apart: only from the same place can one look whether the process
    lives. ``started`` is in ticks since boot where there is ``/proc`` (setting the clock does not change it), else in
    seconds. ``host`` is for people.
    """

    host: str
    place: str
    pid: int
    started: float

    @classmethod
    def this(cls) -> "Owner":
        """The present process."""
        return cls(socket.gethostname(), _place(), os.getpid(), _started(os.getpid()) or 0.0)

    @classmethod
    def near(cls, pid: int, started: float) -> "Owner":
        """Another process of this machine."""
        return cls(socket.gethostname(), _place(), pid, started)

    @classmethod
    def read(cls, content: Any) -> "Owner | None":
        """From what ``asdict`` gave; None for anything else."""
        try:
            return cls(str(content["host"]), str(content["place"]), int(content["pid"]), float(content["started"]))
        except (KeyError, TypeError, ValueError):
            return None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def is_near(self) -> bool:
        """Whether it is of this machine, this boot and this PID namespace."""
        return self.place == _place()

    def lives(self) -> bool:
        """Whether a near process runs; one that ended but was not waited for does not."""
        started = _started(self.pid)
        return started is not None and abs(started - self.started) < _SAME_START_S

    def ends_us_too(self, code: int) -> None:
        """Let the present process end with an exit code soon after this near one is gone."""

        def look() -> None:
            while self.lives():
                time.sleep(_LOOK_S)
            os._exit(code)

        threading.Thread(target=look, name="supervisor", daemon=True).start()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@cache
def _place() -> str:
    boot = _PROC / "sys/kernel/random/boot_id"
    try:
        return f"{boot.read_text().strip()} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return f"{socket.gethostname()} {psutil.boot_time():.0f}"


def _started(pid: int) -> float | None:
    """When a process started; None if it does not run."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except FileNotFoundError:
        return None if (_PROC / "self").exists() else _started_elsewhere(pid)
    except ProcessLookupError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[_STATE] in "ZX" else float(fields[_START])


def _started_elsewhere(pid: int) -> float | None:
    """The same where there is no ``/proc``."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None
