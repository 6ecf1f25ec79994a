"""Cells as processes of this machine."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from slackoff.handover import Exit, Handover
from slackoff.record.ledger import Attempt
from slackoff.sweep.plan import Cell
from slackoff.sweep.running import Running, newest_number, read_code
from slackoff.sweep.slots import Slot
from slackoff.sweep.starter import Starter
from slackoff.sweep.warm import WarmServer


class Process(Protocol):
    """What is needed of a process: ``subprocess.Popen`` has it."""

    @property
    def pid(self) -> int | None: ...

    def poll(self) -> int | None: ...

    def send_signal(self, sig: int, /) -> None: ...


class LocalCells(Starter):
    """Starts each cell in a process of its own, on its own resolved config: the sweep's command line is not passed on.

    The processes of slots with the same environment are forked from one server that has imported torch; on GPUs, whose
    driver does not take to forks, and for several ranks each is started from nothing.

    Args:
        warm: whether to fork at all.
    """

    def __init__(self, warm: bool = True) -> None:
        self.warm = warm
        self.servers: dict[str, WarmServer] = {}

    def start(self, cell: Cell, slot: Slot, after: int | None = None) -> "CellProcess":
        """Start a cell in a slot; ``after`` as in ``Starter``."""
        after = newest_number(cell) if after is None else after
        handover = Handover(after, slot.ranks, slot.name, time.monotonic())
        warm = self.warm and slot.ranks == 1 and "CUDA_VISIBLE_DEVICES" not in slot.environment
        process = self._server(slot).start(cell.folder, handover) if warm else _start(cell.folder, slot, handover)
        return CellProcess(cell, slot, after, process)

    def close(self) -> None:
        """Let the servers go; cells that run go on."""
        for server in self.servers.values():
            server.close()
        self.servers.clear()

    def _server(self, slot: Slot) -> WarmServer:
        key = repr(sorted(slot.environment.items()))
        if key not in self.servers or not self.servers[key].alive:
            self.servers[key] = WarmServer(slot.environment)
        return self.servers[key]


def _start(folder: Path, slot: Slot, handover: Handover) -> Process:
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "slackoff.cell", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **slot.environment, **handover.as_environment()},
            start_new_session=True,
        )


class CellProcess(Running):
    """A cell in a process of this machine; ``after`` as in ``Running``."""

    def __init__(self, cell: Cell, slot: Slot, after: int, process: Process) -> None:
        super().__init__(cell, slot, after)
        self.process = process
        self.started = time.monotonic()

    def ended(self) -> bool:
        return self.process.poll() is not None

    def seconds(self) -> float:
        return time.monotonic() - self.started

    def end_now(self) -> None:
        if self.process.pid is not None and not self.ended():
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.send_signal(signal.SIGKILL)

    def _stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def _ending(self) -> Exit | str:
        code = self.process.poll()
        assert code is not None
        return read_code(code)

    def _made(self, attempt: Attempt) -> bool:
        owner = attempt.owner
        return owner is not None and owner.is_near() and owner.pid == self.process.pid
