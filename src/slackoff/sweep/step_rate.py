"""Seconds of one training step on this machine, measured on the cell's own network and task."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from slackoff.config import build
from slackoff.data import BatchStream, RainyBatch
from slackoff.hardware import device_kind
from slackoff.tasks import Task

_FIRST_SIDE_PX = 32
_GPU_WARM_UP, _GPU_STEPS = 3, 10
_AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


class StepTime(NamedTuple):
    """Seconds of a step at the cell's own batch and patch size, and on what that was measured."""

    seconds: float
    how: str


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
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        trainer = _Trainer(config)
        return _on_gpu(trainer) if trainer.device.type == "cuda" else _on_cpu(trainer, budget_s)
    finally:
        torch.set_num_threads(before)


class _Trainer:
    """Network, task and optimiser of a cell without Lightning around them."""

    def __init__(self, config: DictConfig) -> None:
        self.config, self.device = config, torch.device(device_kind(config.trainer.accelerator))
        self.side, self.count = config.background.patch_size_px, config.schedule.batch_size
        channels_last = config.trainer.channels_last
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        network = build.build_network(config).to(memory_format=self.memory_format)
        self.task: Task = build.build_task(config, network).to(self.device)
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
        options = build.build_data(self.config, bank).options
        stream = BatchStream(torch.from_numpy(bank).permute(0, 3, 1, 2).contiguous().to(self.device), **options)
        return lambda step: stream.batch(step)._replace(unlabelled=self.unlabelled(self.count, side))

    def random_batch(self, count: int, side: int) -> RainyBatch:
        """Noise for all images: what is in them does not change the time."""
        rainy, background = (self._noise(count, side) for _ in range(2))
        return RainyBatch(background, rainy[:, :1], rainy, self.unlabelled(count, side))

    def unlabelled(self, count: int, side: int) -> Tensor | None:
        """Noise for the unlabelled images that go with so many labelled ones; None where the cell has none."""
        node = self.config.get("unlabelled")
        return self._noise(max(1, round(count * node.batch_size / self.count)), side) if node else None

    def _noise(self, count: int, side: int) -> Tensor:
        return torch.rand(count, 3, side, side, device=self.device).to(memory_format=self.memory_format)


def _on_gpu(trainer: _Trainer) -> StepTime:
    batch = trainer.own_batches()
    for number in range(_GPU_WARM_UP):
        trainer.step(batch(number))
    started = time.perf_counter()
    for number in range(_GPU_STEPS):
        trainer.step(batch(number))
    return StepTime((time.perf_counter() - started) / _GPU_STEPS, "measured")


def _on_cpu(trainer: _Trainer, budget_s: float) -> StepTime:
    started, count, side = time.perf_counter(), 1, min(_FIRST_SIDE_PX, trainer.side)
    while True:
        seconds = min(_timed(trainer, count, side) for _ in range(2))  # the first one is slow
        share = count * side**2 / (trainer.count * trainer.side**2)
        larger = (1, min(2 * side, trainer.side)) if side < trainer.side else (min(2 * count, trainer.count), side)
        growth = larger[0] * larger[1] ** 2 / (count * side**2)
        spent = time.perf_counter() - started
        if share == 1:
            return StepTime(seconds, "measured")
        if spent + 2 * growth * seconds > budget_s:
            return StepTime(seconds / share, f"measured on {count} of {side}x{side} px, scaled by pixels")
        count, side = larger


def _timed(trainer: _Trainer, count: int, side: int) -> float:
    whole = (count, side) == (trainer.count, trainer.side)
    batch = trainer.own_batches() if whole else None
    started = time.perf_counter()
    trainer.step(batch(0) if batch else trainer.random_batch(count, side))
    return time.perf_counter() - started
