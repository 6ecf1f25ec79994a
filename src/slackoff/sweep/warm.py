"""Cells forked from a server that has imported torch already, instead of from nothing."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from slackoff.handover import Handover
from slackoff.record.ledger import latest


class WarmServer:
    """The driver's end of a ``slackoff.fork_server``; started at once, ready when it has imported what cells need.

    Args:
        environment: of the server and of every cell that it forks.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "slackoff.fork_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
            start_new_session=True,  # Ctrl-C is for the driver, which stops the cells
        )
        assert self.process.stdin
        assert self.process.stdout
        self._orders, self._answers = self.process.stdin.fileno(), self.process.stdout.fileno()
        os.set_blocking(self._answers, False)
        self._unread = b""
        self._count = 0
        self.alive = True
        self.pids: dict[int, int] = {}
        self.codes: dict[int, int] = {}

    def start(self, folder: Path, handover: Handover) -> "ForkedProcess":
        """Order a cell."""
        self._count += 1
        self.order(order=self._count, folder=str(folder.absolute()), handover=asdict(handover))
        return ForkedProcess(self, self._count, folder, handover.after or 0)

    def order(self, **content: Any) -> None:
        try:
            os.write(self._orders, json.dumps(content).encode() + b"\n")
        except BrokenPipeError:
            self.alive = False

    def listen(self) -> None:
        """Take in what the server has said since."""
        while self.alive:
            try:
                chunk = os.read(self._answers, 65536)
            except BlockingIOError:
                return
            self.alive = bool(chunk)
            *lines, self._unread = (self._unread + chunk).split(b"\n")
            for answer in map(json.loads, lines):
                kind = self.pids if "pid" in answer else self.codes
                kind[answer["order"]] = answer.get("pid", answer.get("code"))

    def close(self) -> None:
        """Let the server go; cells that still run go on."""
        self.process.communicate()


class ForkedProcess:
    """A cell's process as ``subprocess.Popen`` would show it, forked by a server."""

    def __init__(self, server: WarmServer, number: int, folder: Path, after: int) -> None:
        self.server, self.number, self.folder, self.after = server, number, folder, after

    @property
    def pid(self) -> int | None:
        """None until the server has forked it."""
        self.server.listen()
        return self.server.pids.get(self.number)

    def poll(self) -> int | None:
        """The exit code, or minus the signal that ended it; None while it runs. -9 if only its server could know."""
        self.server.listen()
        if self.number in self.server.codes:
            return self.server.codes[self.number]
        return None if self.server.alive or self._lives_alone() else -signal.SIGKILL

    def send_signal(self, number: int) -> None:
        self.server.order(order=self.number, signal=number)
        if not self.server.alive and self.pid is not None and self._lives_alone():
            os.kill(self.pid, number)

    def _lives_alone(self) -> bool:
        """Whether it goes on after its server died."""
        attempt = latest(self.folder)
        if attempt is None or attempt.owner is None or attempt.number <= self.after:
            return False
        return attempt.owner.is_near() and attempt.owner.lives()
