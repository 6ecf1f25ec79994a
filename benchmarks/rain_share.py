"""What share of a training step goes into rendering rain, for every network preset and size."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Generator

from benchmarks.bare_loop import BareLoop
from benchmarks.cell_config import plan_cell, schedule
from slackoff import build
from slackoff.rain import RainRange, render_streaks

RANGES = ("small", "medium", "large")


@dataclass(frozen=True)
class RainCase:
    """A network preset at a size, and how many steps to time (after one that is not timed, where ``warm``)."""

    network: str
    size: str
    steps: int
    warm: bool = True


@dataclass(frozen=True)
class RainShare:
    """Median seconds of a whole training step, and of rendering its rain for each range."""

    case: RainCase
    schedule: str
    step_s: float
    render_s: dict[str, float]

    def shares(self) -> dict[str, float]:
        """Rendering / whole step, for each range; the step was timed with the range that is dearest to render."""
        rest = self.step_s - self.render_s[RANGES[-1]]
        return {name: render / (rest + render) for name, render in self.render_s.items()}


def measure_rain_share(case: RainCase, runs: Path, renderings: int = 20) -> RainShare:
    """Time steps of the bare loop and renderings of the same batches, on one thread as in a sweep."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        config = plan_cell([f"network={case.network}", f"size={case.size}", f"rain={RANGES[-1]}"], runs).config
        loop = BareLoop(config)
        numbers = iter(range(case.steps + 1))
        if case.warm:
            loop.step(next(numbers))
        count, side = config.schedule.batch_size, config.background.patch_size_px
        render_s = {name: _render_seconds(_range(name, runs), count, side, renderings) for name in RANGES}
        steps = [_seconds(lambda: loop.step(next(numbers))) for _ in range(case.steps)]
    finally:
        torch.set_num_threads(threads)
    return RainShare(case, schedule(config), median(steps), render_s)


def _range(name: str, runs: Path) -> RainRange:
    return build.build(plan_cell([f"rain={name}"], runs).config.rain, "rain")


def _render_seconds(rain_range: RainRange, count: int, side: int, repeats: int) -> float:
    generator = Generator()
    generator.manual_seed(0)
    render_streaks(rain_range, count, side, side, generator)  # makes the blur tables, once a process
    return median(_seconds(lambda: render_streaks(rain_range, count, side, side, generator)) for _ in range(repeats))


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
