"""A folder in which drivers of a small sweep run, and what its record says."""

import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from slackoff.record.ledger import Attempt, HeartbeatMonitor, attempts
from slackoff.record.status import observed_status
from wait import wait_for

SWEEP = [
    "+experiment=patchcount",
    "-m",
    "size=smoke",
    "schedule.checkpoint_every=20",
    "schedule.evaluate_every=400",
    "logger.wandb=false",
]


class SweepFolder:
    """Two small cells, unless overrides say otherwise.

    Args:
        path: the folder.
        overrides: of every driver.
        environment: of every driver.
    """

    def __init__(self, path: Path, overrides: Sequence[str], environment: Mapping[str, str]) -> None:
        self.path, self.overrides, self.environment = path, list(overrides), dict(environment)
        self.drivers: list[subprocess.Popen[str]] = []

    def start(self, *overrides: str) -> subprocess.Popen[str]:
        """A driver; all that it says is read with ``communicate``."""
        driver = subprocess.Popen(
            [sys.executable, "-m", "slackoff", *SWEEP, *self.overrides, *overrides],
            cwd=self.path,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.drivers.append(driver)
        return driver

    def start_training(self, *overrides: str) -> subprocess.Popen[str]:
        """A driver two of whose cells have written a checkpoint."""
        driver = self.start(*overrides)
        wait_for(lambda: len(self.checkpoints()) == 2)
        return driver

    def finish(self, *overrides: str) -> tuple[int, str]:
        """Run a driver to its end: its exit code and all that it said."""
        driver = self.start(*overrides)
        output, _ = driver.communicate()
        return driver.returncode, output

    @property
    def cells(self) -> list[Path]:
        return sorted((self.path / "runs/cells").glob("*"))

    def attempts(self) -> list[list[Attempt]]:
        """All attempts on every cell."""
        return [attempts(cell) for cell in self.cells]

    def outcomes(self) -> list[list[str | None]]:
        return [[attempt.outcome for attempt in made] for made in self.attempts()]

    def states(self) -> list[str]:
        found = (observed_status(cell, HeartbeatMonitor()) for cell in self.cells)
        return [status.state for status in found if status]

    def checkpoints(self) -> list[Path]:
        return [cell / "checkpoints/last.ckpt" for cell in self.cells if (cell / "checkpoints/last.ckpt").exists()]

    def living(self) -> list[int]:
        """Process numbers of the cells that are being trained."""
        held = (HeartbeatMonitor().holder(cell) for cell in self.cells)
        return [attempt.owner.pid for attempt in held if attempt and attempt.owner]


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
