"""A real sweep of a few small cells, ways to stop and kill it, and disks that fill up or turn read-only under it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from slackoff.record.ledger import Attempt, HeartbeatMonitor, attempts
from slackoff.record.status import Status, observed_status
from wait import wait_for

STEPS = 200
RESULTS = ("network.safetensors", "images.parquet")
_PATIENCE_S = 300.0


class SmallSweep:
    """A sweep of one cell a seed, two at a time, in a folder of its own; the record is in ``runs`` there.

    ``special`` holds further settings of the cells of some seeds.
    """

    def __init__(
        self, folder: Path, seeds: Sequence[int] = (0, 1, 2), special: Mapping[int, Mapping[str, object]] | None = None
    ) -> None:
        self.folder, self.runs, self.seeds, self.special = folder, folder / "runs", seeds, special or {}
        folder.mkdir(parents=True, exist_ok=True)
        self.said = folder / "said.txt"

    def start(self, *overrides: str, prefix: Sequence[str] = (), **environment: str) -> subprocess.Popen[bytes]:
        """Start the command; ``prefix`` is what stands before it, ``environment`` is added to this one's."""
        command = [
            *prefix,
            *(sys.executable, "-m", "slackoff", "+experiment=manifest", "-m", "study.manifest=cells.yaml"),
            "size=smoke",
            "network=unet_tiny",
            "background.patch_count=4",
            f"schedule.steps={STEPS}",
            "schedule.checkpoint_every=20",
            "schedule.evaluate_every=100",
            "logger.wandb=false",
            "hydra.launcher.slots=2",
            "hydra.launcher.threads=1",
            *overrides,
        ]
        rows = [{"seed": seed, **self.special.get(seed, {})} for seed in self.seeds]
        (self.folder / "cells.yaml").write_text(json.dumps({"rows": rows}))
        self.said.unlink(missing_ok=True)
        with self.said.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, "COLUMNS": "200", **environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def finish(self, *overrides: str, **environment: str) -> int:
        """Run the command until it ends by itself; its exit code."""
        return self.start(*overrides, **environment).wait(timeout=_PATIENCE_S)

    @property
    def output(self) -> str:
        """What the latest command said; it never ends in a traceback."""
        text = self.said.read_text()
        assert "Traceback" not in text, text
        return text

    @property
    def cells(self) -> dict[int, Path]:
        """The folder of each cell by its seed."""
        found = [path.parent for path in self.runs.glob("cells/*/status.json")]
        return {json.loads((cell / "status.json").read_text())["label"]["seed"]: cell for cell in found}

    def line(self, seed: int, words: str) -> str:
        """The line of the latest output about a cell that has these words."""
        cell = self.cells[seed].name
        lines = [line for line in self.output.splitlines() if f"cell {cell} (" in line]
        return next((line for line in lines if words in line), f"{words!r} is not in {lines}")

    def status(self, seed: int) -> Status:
        status = observed_status(self.cells[seed], HeartbeatMonitor())
        assert status is not None
        return status

    def states(self) -> list[str]:
        return [self.status(seed).state for seed in sorted(self.cells)]

    def outcomes(self, seed: int) -> list[str | None]:
        return [attempt.outcome for attempt in attempts(self.cells[seed])]

    def results(self) -> dict[str, bytes]:
        """Every result file by its place."""
        return {f"{cell.name}/{name}": (cell / name).read_bytes() for cell in self.cells.values() for name in RESULTS}

    def halves(self) -> list[Path]:
        """Files that were left half written."""
        return list(self.runs.rglob(".*.partial"))

    def held(self) -> list[Attempt]:
        """The attempts that living processes of this machine hold."""
        newest = (attempts(cell)[-1:] for cell in self.runs.glob("cells/*"))
        found = (attempt for last in newest for attempt in last if attempt.outcome is None)
        return [attempt for attempt in found if attempt.owner and attempt.owner.is_alive()]

    def checkpoints(self) -> list[Path]:
        return list(self.runs.glob("cells/*/checkpoints/last.ckpt"))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let the processes of all cells stand still meanwhile."""
        pids = [attempt.owner.pid for attempt in self.held() if attempt.owner]
        assert pids
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def kill(self, driver: subprocess.Popen[bytes]) -> None:
        """``kill -9`` of the driver and all cells."""
        driver.kill()
        driver.wait()
        for attempt in self.held():
            assert attempt.owner
            os.kill(attempt.owner.pid, signal.SIGKILL)
        wait_for(lambda: not self.held())


class Disk:
    """A file system of its own in memory, mounted on a folder; use as a context manager."""

    def __init__(self, folder: Path, size_mb: int = 6) -> None:
        self.folder, self.size_mb = folder, size_mb

    def __enter__(self) -> "Disk":
        self.folder.mkdir(parents=True)
        _mount("-t", "tmpfs", "-o", f"size={self.size_mb}m", "tmpfs", str(self.folder))
        return self

    def __exit__(self, *error: object) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    def fill(self, leave_kb: int = 0) -> None:
        """Let somebody else use the room up."""
        with (self.folder / "of_somebody_else").open("ab") as file:
            while (free := shutil.disk_usage(self.folder).free - leave_kb * 1024) > 0:
                file.write(bytes(min(free, 65536)))
                file.flush()

    def free(self) -> None:
        """Let somebody else remove what they wrote."""
        (self.folder / "of_somebody_else").unlink()

    def enlarge(self) -> None:
        _mount("-o", "remount,size=200m", str(self.folder))


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let a folder be read-only meanwhile, for root too; files that are open can still be written."""
    _mount("--bind", str(folder), str(folder))
    _mount("-o", "remount,bind,ro", str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
