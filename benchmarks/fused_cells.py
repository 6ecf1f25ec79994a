"""Cells fused in one process against cells apart in slots: the same steps first, then their rates, in turns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import torch

from benchmarks.cell_config import batch_shape, plan_cell
from benchmarks.fused_worker import APART, FusedCase, Worker
from benchmarks.fusing import WAYS
from slackoff.sweep.local import make_slots

TOLERANCE = 0.02


@dataclass(frozen=True)
class Place:
    """How the machine is shared out: processes at once, threads of each."""

    processes: int
    threads: int

    def __str__(self) -> str:
        return f"{self.processes} x {self.threads} thread{'s' if self.threads > 1 else ''}"


@dataclass
class FusedRates:
    """Steps/s summed over all cells: ``by_way[way, place][round]``; ``apart``: those of a sweep's slots.

    ``difference``: how far fused weights ended from those of the cells apart, for each way; in float32 alone.
    """

    case: FusedCase
    cells: int
    batch: str
    apart: list[float] = field(default_factory=list)
    by_way: dict[str, list[float]] = field(default_factory=dict)
    difference: dict[str, float] = field(default_factory=dict)

    def ratios(self, way: str) -> list[float]:
        """How many times quicker than the slots, round by round."""
        return [rate / apart for rate, apart in zip(self.by_way[way], self.apart, strict=True)]

    def best(self, kind: str) -> list[float]:
        """The ratios of the quickest of the ways whose name begins so, in its best place; none if there is none."""
        return max((self.ratios(way) for way in self.by_way if way.startswith(kind)), key=median, default=[])


@dataclass(frozen=True)
class FusedPlan:
    """What is measured: cases, numbers of cells that are fused, turns of each way, seconds of a turn."""

    cases: Sequence[FusedCase]
    counts: Sequence[int]
    rounds: int
    turn_s: float


def measure_fused(plan: FusedPlan, runs: Path, say: Callable[[str], None]) -> list[FusedRates]:
    """Measure every case of a plan.

    Raises:
        RuntimeError: fused cells do not end where the cells apart do, or a process failed.
    """
    return [rates for case in plan.cases for rates in _run_case(case, plan, runs, say)]


def _run_case(case: FusedCase, plan: FusedPlan, runs: Path, say: Callable[[str], None]) -> list[FusedRates]:
    """Check every way, then time it in every place, in turns with the cells apart."""
    slots, places = _places()
    batch = batch_shape(plan_cell([f"size={case.size}"], runs).config)
    found = [FusedRates(case, count, batch) for count in plan.counts]
    workers = [Worker(case, runs) for _ in range(max(place.processes for place in places))]
    try:
        for rates in found:
            say(f"{case.network} at {case.size} size, {case.precision}: {rates.cells} cells fused")
            if case.precision == "32-true":  # bf16 rounds more coarsely than a mistake might be large
                rates.difference = {way: _check(workers[0], case, way, rates.cells) for way in WAYS}
            for _ in range(plan.rounds):
                rates.apart.append(_turn(workers[: slots.processes], slots, APART, 1, plan.turn_s))
                for place in places:
                    for way in WAYS if place == slots else (APART, *WAYS):
                        cells = 1 if way == APART else rates.cells
                        rate = _turn(workers[: place.processes], place, way, cells, plan.turn_s)
                        rates.by_way.setdefault(f"{way}, {place}", []).append(rate)
    finally:
        for worker in workers:
            worker.stop()
    return found


def _check(worker: Worker, case: FusedCase, way: str, cells: int) -> float:
    """How far a fused way ends from the cells apart.

    Raises:
        RuntimeError: too far.
    """
    difference: float = worker.ask("difference", way, cells)
    if not difference < TOLERANCE:
        raise RuntimeError(f"{case}: {cells} cells {way} end {difference:.2g} of their way off")
    return difference


def _places() -> tuple[Place, list[Place]]:
    """That of a sweep's slots, and all: on a CPU one process for all cores too, on a GPU two processes on it."""
    if torch.cuda.is_available():
        return Place(1, 1), [Place(1, 1), Place(2, 1)]
    cores = len(make_slots())
    return Place(cores, 1), list(dict.fromkeys([Place(cores, 1), Place(1, cores)]))


def _turn(workers: Sequence[Worker], place: Place, way: str, cells: int, turn_s: float) -> float:
    """Steps/s of all cells of all processes, which run for the same time."""
    for worker in workers:
        worker.connection.send(("get ready", way, cells, place.threads))
    for worker in workers:
        worker.answer()
    for worker in workers:
        worker.connection.send(("run", turn_s))
    return sum([worker.answer() for worker in workers])
