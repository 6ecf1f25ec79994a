"""What a sweep costs beyond training: seconds of a slot for a cell of one step, and the memory of its driver."""

import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

from slackoff.record.ledger import Attempt, attempts

SLOTS = 2
_SWEEP = [
    "+experiment=patchcount",
    "-m",
    "size=smoke",
    "background.patch_count=4",
    "evaluation.count=1",
    "schedule.steps=1",
    "schedule.evaluate_every=1",
    "logger.wandb=false",
    f"hydra.launcher.slots={SLOTS}",
]
_LOOK_S = 0.2


@dataclass(frozen=True)
class Overhead:
    """A sweep of cells of one step.

    ``slot_seconds``: from the first claim to the end of the last cell, times slots, over cells. ``driver_mb``: the most
    that the driver had resident while cells ran.
    """

    cells: int
    slot_seconds: float
    driver_mb: float


def measure_overhead(cells: int, runs: Path) -> Overhead:
    """Run a sweep of cells of one step, each in a process of its own.

    Raises:
        RuntimeError: not every cell was done.
    """
    runs.mkdir(parents=True)
    command = [sys.executable, "-m", "slackoff", *_SWEEP, f"seed=range({cells})"]
    with (runs / "driver.txt").open("wb") as log:
        driver = subprocess.Popen(command, cwd=runs, stdout=log, stderr=log)
        most = _most_memory(driver, runs / "runs/cells", cells)
        driver.wait()
    made = [attempt for folder in (runs / "runs/cells").glob("*") for attempt in attempts(folder)]
    if driver.returncode or len(made) != cells:
        raise RuntimeError((runs / "driver.txt").read_text(encoding="utf-8")[-2000:])
    return Overhead(cells, _span(made) * SLOTS / cells, most)


def measure_import(together: int) -> list[float]:
    """Seconds of ``python -c 'import torch'``, so many at once."""
    started = time.perf_counter()
    processes = [subprocess.Popen([sys.executable, "-c", "import torch"]) for _ in range(together)]
    seconds = []
    for process in processes:
        process.wait()
        seconds.append(time.perf_counter() - started)
    return seconds


def _most_memory(driver: subprocess.Popen[bytes], folder: Path, cells: int) -> float:
    """The driver's largest resident set in MB until the last cell has ended; drawing the report comes after that."""
    process, most = psutil.Process(driver.pid), 0.0
    while driver.poll() is None:
        most = max(most, process.memory_info().rss / 1e6)
        ended = sum(attempt.outcome is not None for path in folder.glob("*") for attempt in attempts(path))
        if ended == cells:
            break
        time.sleep(_LOOK_S)
    return most


def _span(made: list[Attempt]) -> float:
    starts = [datetime.fromisoformat(attempt.claimed_at) for attempt in made]
    ends = [datetime.fromisoformat(attempt.ended_at) for attempt in made if attempt.ended_at]
    return (max(ends) - min(starts)).total_seconds()
