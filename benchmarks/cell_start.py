"""Seconds from the start of a cell's process to the end of its first training step."""

import time
from pathlib import Path

from benchmarks.cell_config import plan_cell, write_cell_folder
from slackoff.config.checks import Checks
from slackoff.sweep.local import CellProcess, LocalBackend, make_slots
from slackoff.sweep.plan import Cell

_PATIENCE_S = 120.0


def measure_starts(together: int, runs: Path) -> list[float]:
    """Start so many cells at the same moment, as a sweep with that many slots does; seconds of each.

    The processes are the sweep's own (``python -m slackoff.cell.process``) at the laptop preset, with W&B offline; they
    are stopped once their first step is done.

    Raises:
        RuntimeError: a cell ended before its first step.
    """
    cells = [plan_cell([f"seed={seed}", "background.seed=0"], runs) for seed in range(together)]
    Checks().check(cells[0].config)  # a sweep does this before any cell starts; it leaves the patch bank behind
    for cell in cells:
        write_cell_folder(cell)
    backend = LocalBackend()
    processes = [
        backend.start(cell, slot, 0) for cell, slot in zip(cells, make_slots(together, threads=1), strict=True)
    ]
    try:
        return [_first_step(process) for process in processes]
    finally:
        for process in processes:
            process.kill()


def _first_step(process: CellProcess) -> float:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        seconds = process.cell.status().seconds_to_first_step
        if seconds is not None:
            return seconds
        if process.ended():
            break
        time.sleep(0.05)
    raise RuntimeError(f"{process.cell.id} took no step:\n{_last_words(process.cell)}")


def _last_words(cell: Cell) -> str:
    return (cell.folder / "log.txt").read_text(encoding="utf-8")[-2000:]
