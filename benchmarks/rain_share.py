"""What share of a training step goes into rendering rain, for every network preset and size."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import torch
from omegaconf import DictConfig
from torch import Generator

from benchmarks.bare_loop import BareLoop
from benchmarks.cell_config import batch_shape, plan_cell
from slackoff.config import build
from slackoff.rain import RainRange, render_streaks

RANGES = ("small", "medium", "large")
_RENDERINGS = 5  # after each step, of each range


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
    batch: str
    step_s: float
    render_s: dict[str, float]

    def shares(self) -> dict[str, float]:
        """Rendering / whole step, for each range; the step was timed with the range that is dearest to render."""
        rest = self.step_s - self.render_s[RANGES[-1]]
        return {name: render / (rest + render) for name, render in self.render_s.items()}


def measure_rain_share(case: RainCase, runs: Path) -> RainShare:
    """Time steps of the bare loop and renderings of the same batches in turns, on one thread as in a sweep."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        config = plan_cell([f"network={case.network}", f"size={case.size}", f"rain={RANGES[-1]}"], runs).config
        loop = BareLoop(config)
        render = {name: _renderer(config, name, runs) for name in RANGES}
        if case.warm:
            loop.step(case.steps)
        step_s: list[float] = []
        render_s: dict[str, list[float]] = {name: [] for name in RANGES}
        for number in range(case.steps):
            step_s.append(_seconds(partial(loop.step, number)))
            for name in RANGES:
                render_s[name] += [_seconds(render[name]) for _ in range(_RENDERINGS)]
    finally:
        torch.set_num_threads(threads)
    medians = {name: median(seconds) for name, seconds in render_s.items()}
    return RainShare(case, batch_shape(config), median(step_s), medians)


def _renderer(config: DictConfig, name: str, runs: Path) -> Callable[[], object]:
    rain_range: RainRange = build.build(plan_cell([f"rain={name}"], runs).config.rain, "rain")
    side, generator = config.background.patch_size_px, Generator().manual_seed(0)
    render = partial(render_streaks, rain_range, config.schedule.batch_size, side, side, generator)
    render()  # makes the blur tables, which happens once a process
    return render


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
