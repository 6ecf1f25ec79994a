"""The ledger of a cell: every attempt to train it, each a numbered file that exactly one process made.

``attempts/0001.json``, ``0002.json``, ... An attempt is claimed by creating the next number, which a file system lets
only one process do, on a network too. Nothing is ever removed or renamed, so that there is no moment at which two
processes can hold the same claim: a stale claim is taken over by creating the number after it.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Literal

import psutil

from slackoff.errors import SlackoffError
from slackoff.record.files import DamagedFileError, Moment, create_text, now, read_json, write_json

FOLDER = "attempts"
HEARTBEAT_S = 15.0
STALE_AFTER_S = 180.0
"""Longer than a network file system keeps old times in its cache (60 s, NFS)."""

_PROC = Path("/proc")
_STATE, _START = 0, 19  # of the fields of /proc/PID/stat behind the process's name
_SAME_START_S = 2.0
_SUPERVISOR_POLL_S = 1.0
_SAME_CLOCK_S = 60.0

Outcome = Literal["done", "unneeded", "failed", "interrupted", "pruned"]


class ClaimedError(SlackoffError):
    """Another process trains the cell."""


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
        return cls.local(os.getpid(), _started(os.getpid()) or 0.0)

    @classmethod
    def local(cls, pid: int, started: float) -> "Owner":
        """Another process of this machine."""
        return cls(socket.gethostname(), _place(), pid, started)

    def is_local(self) -> bool:
        """Whether it is of this machine, this boot and this PID namespace."""
        return self.place == _place()

    def is_alive(self) -> bool:
        """Whether a local process runs; one that ended but was not waited for does not."""
        started = _started(self.pid)
        return started is not None and abs(started - self.started) < _SAME_START_S

    def exit_when_it_ends(self, code: int) -> None:
        """Let the present process end with an exit code soon after this local one is gone."""

        def wait() -> None:
            while self.is_alive():
                time.sleep(_SUPERVISOR_POLL_S)
            os._exit(code)

        threading.Thread(target=wait, name="supervisor", daemon=True).start()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@dataclass(frozen=True)
class Attempt:
    """One attempt as its file tells it.

    ``owner`` is None while the file is being written. ``outcome`` is None until the attempt ended; it stays None when
    the process died; "unneeded" says that the cell was done already. ``slot``: where it runs, as its driver names it.
    """

    path: Path
    number: int
    owner: Owner | None
    claimed_at: str
    slot: str
    outcome: Outcome | None = None
    ended_at: str | None = None
    error: str | None = None

    def place(self) -> str:
        """Where it runs, in a few words."""
        if self.owner is None:
            return self.slot or "unknown"
        slot = self.slot or f"process {self.owner.pid}"
        return slot if self.owner.is_local() else f"{self.owner.host}, {slot}"

    def beat(self) -> int:
        """Changes with every heartbeat: the time of the file, in nanoseconds of whatever clock its server has."""
        return self.path.stat().st_mtime_ns


def attempts(folder: Path) -> list[Attempt]:
    """All attempts of a cell, the oldest first.

    Raises:
        OSError: they cannot be read.
    """
    return [_read(path) for path in _paths(folder)]


def latest(folder: Path) -> Attempt | None:
    """The newest attempt of a cell; None if there was none.

    Raises:
        OSError: that cannot be read.
    """
    found = _paths(folder)
    return _read(found[-1]) if found else None


def _paths(folder: Path) -> list[Path]:
    try:
        paths = list((folder / FOLDER).iterdir())  # glob would take some folders that cannot be read for empty ones
    except FileNotFoundError:
        return []
    named = (path for path in paths if path.stem.isdecimal() and path.suffix == ".json")
    return sorted(named, key=lambda path: int(path.stem))


@dataclass
class _Content:
    """The file of an attempt."""

    owner: Owner | None
    claimed_at: Moment
    slot: str
    outcome: Outcome | None
    ended_at: Moment | None
    error: str | None


def _read(path: Path) -> Attempt:
    attempt = Attempt(path, int(path.stem), None, "", "")
    with suppress(DamagedFileError, FileNotFoundError):  # half written, or cut short by a full disk: of someone unknown
        attempt = replace(attempt, **vars(read_json(path, _Content)))
    return attempt


class HeartbeatMonitor:
    """Tells whether the claims on cells are held by living processes.

    A local process is looked up. For one on another machine only its heartbeat tells: it counts as dead when that did
    not move for ``stale_after_s`` of this process's own clock, so that clocks that differ or are set do no harm.
    """

    def __init__(self, stale_after_s: float = STALE_AFTER_S, clock: Callable[[], float] = time.monotonic) -> None:
        self.stale_after_s, self.clock = stale_after_s, clock
        self._seen: dict[Path, tuple[int, float]] = {}
        self._ahead: tuple[float, float] | None = None  # the file system's clock before time.monotonic(), and when

    def holds(self, attempt: Attempt) -> bool:
        """Whether the attempt goes on, as far as can be told from here.

        Raises:
            OSError: its heartbeat cannot be read.
        """
        if attempt.outcome is not None:
            return False
        if attempt.owner is not None and attempt.owner.is_local():
            return attempt.owner.is_alive()
        try:
            beat = attempt.beat()
        except FileNotFoundError:
            return False
        before, since = self._seen.get(attempt.path, (None, 0.0))
        if before != beat:
            self._seen[attempt.path] = (beat, self.clock())
            return True
        return self.clock() - since < self.stale_after_s

    def silence(self, attempt: Attempt) -> float:
        """For how many seconds a process that cannot be looked up has shown no sign of life, at one look.

        By the clock of the file system, which dates the heartbeats; this machine's where nothing can be written.

        Returns:
            0 for a local process.

        Raises:
            OSError: its heartbeat cannot be read.
        """
        if attempt.owner is not None and attempt.owner.is_local():
            return 0.0
        if self._ahead is None or time.monotonic() - self._ahead[1] > _SAME_CLOCK_S:
            now = time.time()
            with suppress(OSError), TemporaryFile(dir=attempt.path.parent) as file:
                now = os.fstat(file.fileno()).st_mtime
            self._ahead = (now - time.monotonic(), time.monotonic())
        return max(0.0, time.monotonic() + self._ahead[0] - attempt.beat() / 1e9)

    def holder(self, folder: Path) -> Attempt | None:
        """The attempt that holds a cell now; None if the cell is free; raises as ``latest`` and ``holds``."""
        attempt = latest(folder)
        return attempt if attempt is not None and self.holds(attempt) else None


class Claim:
    """The right to train a cell, held by the present process meanwhile; use as a context manager.

    A thread shows that the process lives. If another one has taken the cell over all the same (this machine was
    suspended, say), ``lost`` is called from that thread.
    """

    def __init__(self, attempt: Attempt, lost: Callable[[], None], heartbeat_s: float = HEARTBEAT_S) -> None:
        self.attempt, self.lost, self.heartbeat_s = attempt, lost, heartbeat_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> "Claim":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        successor = _path(self.attempt.path.parent, self.attempt.number + 1)
        while not self._over.wait(self.heartbeat_s):
            with suppress(OSError):  # the next beat may succeed; if none does, others take the claim for stale
                if successor.exists():
                    self.lost()
                    return
                os.utime(self.attempt.path)


def claim(
    folder: Path, slot: str = "", after: int | None = None, outcome: Outcome | None = None, error: str | None = None
) -> Attempt:
    """Claim a cell for the present process by making its next attempt.

    Args:
        folder: the cell's folder.
        slot: where this process runs, as its driver names it.
        after: number of the attempt that the caller knows to be over (0: none); without it this function looks, which
            tells nothing about other machines.
        outcome, error: how the attempt ended, where it is written down for a process that died before it could make
            one: nobody ever sees it as held.

    Raises:
        ClaimedError: another process holds the cell or was quicker.
        OSError: the ledger cannot be read, or the attempt not be written.
    """
    newest = latest(folder)
    number = newest.number if newest else 0
    if newest is not None and (number > after if after is not None else HeartbeatMonitor().holds(newest)):
        raise ClaimedError(f"{folder} is being trained by {newest.owner or 'another process'}")
    path = _path(folder / FOLDER, number + 1)
    attempt = Attempt(path, number + 1, Owner.this(), now(), slot, outcome, now() if outcome else None, error)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        create_text(path, json.dumps(_content(attempt), indent=2) + "\n")
    except FileExistsError as error:
        raise ClaimedError(f"{folder} is being trained by another process") from error
    return attempt


def end_attempt(attempt: Attempt, outcome: Outcome, error: str | None = None) -> None:
    """Write down how an attempt ended: its own process does, or the one that saw it die.

    Raises:
        OSError: it cannot be written; the claim then ends with the process.
    """
    write_json(attempt.path, _content(replace(attempt, outcome=outcome, ended_at=now(), error=error)))


def _content(attempt: Attempt) -> dict[str, Any]:
    content = asdict(attempt)
    del content["path"], content["number"]  # the name of the file
    return content


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:04d}.json"


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
        if (_PROC / "self").exists():
            fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
            return None if fields[_STATE] in "ZX" else float(fields[_START])
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except (FileNotFoundError, ProcessLookupError, psutil.Error):
        return None
