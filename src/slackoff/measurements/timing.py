"""How long networks take for an image, and cells for a training step, on this machine.

Images are timed in rounds that go through all networks in turn. A machine drifts: it heats up, other programs come and
go. In rounds that hits all networks alike, and the ratio of two of them within a round travels to other machines better
than seconds do.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from slackoff.config import build
from slackoff.data import RainyBatch
from slackoff.errors import one_line
from slackoff.networks.layers import true_float32
from slackoff.record.environment import device_kind

Pass = Callable[[int], None]
"""One pass over an image of so many pixels a side; it has ended when the call returns."""

_SETTLED_S = 0.5
"""A turn of a network that is faster than this begins with an untimed pass: the network before emptied the caches."""

_SMALLEST_PX = 32
_GPU_WARM_UP, _GPU_STEPS = 3, 10
_AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@dataclass(frozen=True)
class Rounds:
    """How often networks are timed.

    Args:
        most: rounds, and timed passes of a network that is fast enough.
        budget_s: about so long is each network timed; a slow one takes part in fewer rounds, one at least.
        warm_up: passes before the first round, as far as they fit into the budget.
    """

    most: int
    budget_s: float
    warm_up: int


@dataclass
class Timings:
    """``seconds``: network -> round -> seconds of its timed pass. ``failures``: network -> what went wrong in it.

    A network that failed has no seconds.
    """

    seconds: dict[str, dict[int, float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


class StepTime(NamedTuple):
    """Seconds of a step at the cell's own batch and patch size, and on what that was measured."""

    seconds: float
    how: str


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Within the context torch computes with so many threads; None for as many as it takes."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def network_pass(network: nn.Module, device: torch.device) -> Pass:
    """Passes of a network in evaluation mode over a noise image (1, 3, side, side) in [0, 1], true float32, batch 1."""
    network = network.float().eval().to(device)
    images: dict[int, Tensor] = {}

    def run(side_px: int) -> None:
        if side_px not in images:
            noise = torch.rand(1, 3, side_px, side_px, generator=torch.Generator().manual_seed(0))
            images[side_px] = noise.to(device)
        with true_float32(device):
            network(images[side_px])
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run


@torch.no_grad()
def time_in_rounds(
    passes: Mapping[str, Pass], side_px: int, rounds: Rounds, clock: Callable[[], float] = time.perf_counter
) -> Timings:
    """Time networks; one that fails is left out from then on, and the others are timed as if it were not there.

    A slow network's rounds are spread evenly over all rounds. Every other round goes backwards, so that no network
    always follows the same one.

    Args:
        passes: network -> its passes.
        side_px: side of the image whose passes are timed.
        rounds: how often.
        clock: seconds.
    """
    timings = Timings({name: {} for name in passes})
    going = {name: _turns(run, side_px, rounds, clock) for name, run in passes.items()}
    for number in range(-1, rounds.most):  # -1: warming up
        names = list(going)
        for name in names[::-1] if number > 0 and number % 2 else names:
            try:
                seconds = next(going[name])
            except Exception as error:  # whatever a network raises must not take down the others
                timings.failures[name] = one_line(error)
                del timings.seconds[name], going[name]
            else:
                if seconds is not None:
                    timings.seconds[name][number] = seconds
    return timings


def measure_step(config: DictConfig, threads: int, budget_s: float) -> StepTime:
    """Train a few steps on random patches.

    On a GPU at the cell's batch and patch size. On a CPU first on one small patch, then on larger and more of them as
    long as the budget lasts; if that ends below the cell's size, the time is scaled by the number of pixels.

    Args:
        config: a cell's resolved config.
        threads: CPU threads to use.
        budget_s: about how long to measure on a CPU; two steps on one patch of 32 x 32 are taken in any case.

    Raises:
        SlackoffError: the network, the task or the rain cannot be built.
        RuntimeError: torch cannot take the step, for example for want of memory.
    """
    if build.nothing_to_train(config):
        return StepTime(0.0, "nothing to train")
    with cpu_threads(threads):
        trainer = _Trainer(config)
        return _step_on_gpu(trainer) if trainer.device.type == "cuda" else _step_on_cpu(trainer, budget_s)


def _turns(run: Pass, side_px: int, rounds: Rounds, clock: Callable[[], float]) -> Iterator[float | None]:
    """Warms a network up, which gives None; then for each round the seconds of a pass, or None where it takes no part.

    Warming up begins with a small image, so that the slowest networks are not run for nothing; the very first pass of a
    network takes far longer than others and foretells nothing.
    """

    def timed(side: int) -> float:
        start = clock()
        run(side)
        return clock() - start

    small_px = min(side_px, max(_SMALLEST_PX, side_px // 4))
    run(small_px)
    cost = timed(small_px) * (side_px / small_px) ** 2
    spent = 0.0
    for _ in range(rounds.warm_up):
        if spent + cost > rounds.budget_s:
            break
        cost = timed(side_px)
        spent += cost
    yield None
    fast, most = cost < _SETTLED_S, rounds.most
    turn = 2 * cost if fast else cost
    count = most if turn * most <= rounds.budget_s else max(1, int(rounds.budget_s / turn))
    for number in range(most):
        if (number + 1) * count // most == number * count // most:
            yield None
        else:
            if fast:
                run(side_px)
            yield timed(side_px)


class _Trainer:
    """Network, task and optimiser of a cell without Lightning around them."""

    def __init__(self, config: DictConfig) -> None:
        self.config, self.device = config, torch.device(device_kind(config.trainer.accelerator))
        self.side, self.count = config.background.patch_size_px, config.schedule.batch_size
        channels_last = config.trainer.channels_last
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        network = build.build_network(config).to(memory_format=self.memory_format)
        self.task = build.build_task(config, network).to(self.device)
        optimisers = self.task.configure_optimizers()
        assert isinstance(optimisers, dict)
        self.optimiser = optimisers["optimizer"]
        torch.backends.cudnn.allow_tf32 = config.trainer.tf32
        self.autocast = _AUTOCAST.get(config.trainer.precision)

    def step(self, batch: RainyBatch) -> None:
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            loss: Tensor = self.task.losses(batch, self.task.steps - 1)["loss"]
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def own_batches(self) -> Callable[[int], RainyBatch]:
        """The cell's batches by step, rain included, from random backgrounds; noise where it is trained on pairs."""
        if self.config.get("labelled"):
            return lambda step: self.random_batch(self.count, self.side)
        side = self.side
        bank = np.random.default_rng(0).integers(0, 256, (min(64, self.count), side, side, 3), dtype=np.uint8)
        stream = build.build_data(self.config, bank).open_stream(self.device)
        return lambda step: stream.batch(step)._replace(unlabelled=self._unlabelled(self.count, side))

    def random_batch(self, count: int, side: int) -> RainyBatch:
        """Noise for all images: what is in them does not change the time."""
        rainy, background = (self._noise(count, side) for _ in range(2))
        return RainyBatch(background, rainy[:, :1], rainy, self._unlabelled(count, side))

    def _unlabelled(self, count: int, side: int) -> Tensor | None:
        """Noise for the unlabelled images that go with so many labelled ones; None where the cell has none."""
        node = self.config.get("unlabelled")
        return self._noise(max(1, round(count * node.batch_size / self.count)), side) if node else None

    def _noise(self, count: int, side: int) -> Tensor:
        return torch.rand(count, 3, side, side, device=self.device).to(memory_format=self.memory_format)


def _step_on_gpu(trainer: _Trainer) -> StepTime:
    batch = trainer.own_batches()
    for number in range(_GPU_WARM_UP):
        trainer.step(batch(number))
    started = time.perf_counter()
    for number in range(_GPU_STEPS):
        trainer.step(batch(number))
    return StepTime((time.perf_counter() - started) / _GPU_STEPS, "measured")


def _step_on_cpu(trainer: _Trainer, budget_s: float) -> StepTime:
    started, count, side = time.perf_counter(), 1, min(_SMALLEST_PX, trainer.side)
    while True:
        seconds = min(_timed_step(trainer, count, side) for _ in range(2))  # the first one is slow
        share = count * side**2 / (trainer.count * trainer.side**2)
        larger = (1, min(2 * side, trainer.side)) if side < trainer.side else (min(2 * count, trainer.count), side)
        growth = larger[0] * larger[1] ** 2 / (count * side**2)
        spent = time.perf_counter() - started
        if share == 1:
            return StepTime(seconds, "measured")
        if spent + 2 * growth * seconds > budget_s:
            return StepTime(seconds / share, f"measured on {count} of {side}x{side} px, scaled by pixels")
        count, side = larger


def _timed_step(trainer: _Trainer, count: int, side: int) -> float:
    """Seconds of a step, making the batch included."""
    own = (count, side) == (trainer.count, trainer.side)
    batch = trainer.own_batches() if own else lambda _: trainer.random_batch(count, side)
    started = time.perf_counter()
    trainer.step(batch(0))
    return time.perf_counter() - started
