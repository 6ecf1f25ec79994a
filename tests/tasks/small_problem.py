"""A training run of a second: a smooth bank from formulas, narrow rain, a tiny network, and what it went through."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, Trainer
from torch import Tensor, nn

from slackoff.data import BatchStream, RainyBatch, RainyData
from slackoff.data.streams import derive_seed
from slackoff.losses import L1, GradientBalancing
from slackoff.networks import Syn2Real, UNet
from slackoff.rain import RainRange
from slackoff.tasks import (
    MultitaskTask,
    SemiSupervisedTask,
    SIRRTask,
    Steps,
    StepSeed,
    SupervisedTask,
    Syn2RealTask,
    Task,
)

SIZE, BATCH, SEED = 32, 4, 5
RANGE = RainRange([200, 300], [3, 5], [10, 20], [-30, 30])


def smooth_bank(count: int = 6) -> np.ndarray:
    """uint8, (N, P, P, 3): coloured waves."""
    n, i, j, c = np.indices((count, SIZE, SIZE, 3))
    return np.uint8(110 + 60 * np.sin(0.11 * (n + 1) * i + c) + 50 * np.cos(0.07 * (n + 2) * j - c * n))


def data() -> RainyData:
    return RainyData(smooth_bank(), RANGE, BATCH, SEED, channels_last=False)


class WithUnlabelled(RainyData):
    """Beside each batch, rainy images from another stream, of which nothing else is given."""

    def __init__(self, count: int) -> None:
        super().__init__(smooth_bank(), RANGE, BATCH, SEED, channels_last=False)
        bank = torch.from_numpy(smooth_bank(9)[6:]).permute(0, 3, 1, 2).contiguous()
        self.other = BatchStream(bank, RainRange([200, 300], [7], [30, 40], [20, 60]), count, SEED, channels_last=False)

    def on_after_batch_transfer(self, batch: int, dataloader_idx: int) -> RainyBatch:
        return super().on_after_batch_transfer(batch, dataloader_idx)._replace(unlabelled=self.other.batch(batch).rainy)


def network(seed: int = 1) -> nn.Module:
    torch.manual_seed(seed)
    return UNet(width=4, levels=2)


class Witness(Callback):
    """Keeps the loss and the learning rate of every step."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.rates: list[float] = []
        self.numbers: list[int] = []

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        self.numbers.append(trainer.global_step)

    def on_train_batch_end(self, trainer: Trainer, task: Task, outputs: dict[str, Tensor], *_: Any) -> None:
        self.losses.append(float(outputs["loss"]))


class Outputs(Callback):
    """Keeps what the training step returned."""

    def __init__(self) -> None:
        self.seen: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: Trainer, task: Task, outputs: dict[str, Tensor], *_: Any) -> None:
        self.seen.append({name: float(value) for name, value in outputs.items()})


class Gated(nn.Module):
    """A network with all that makes a resume hard: running statistics, and randomness of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.head, self.norm, self.tail = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Conv2d(6, 3, 1)

    def forward(self, rainy: Tensor) -> Tensor:
        return rainy - self.tail(nn.functional.dropout(self.norm(self.head(rainy)), 0.3, self.training))


class SaveAt(Callback):
    """Saves a checkpoint at the end of a step, as a cell does, and goes on."""

    def __init__(self, path: Path, step: int) -> None:
        self.path, self.step = path, step

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


class InDouble(nn.Module):
    """A network with weights and arithmetic in float64: its losses differ little between machines."""

    def __init__(self, single: nn.Module) -> None:
        super().__init__()
        self.inner = single.double()

    def forward(self, rainy: Tensor) -> Tensor:
        return self.inner(rainy.double())


class Pixel(nn.Module):
    """Mean squared error; ``levels`` is what the value 1 of an image counts."""

    def __init__(self, levels: float = 255.0) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, output: Tensor, background: Tensor) -> Tensor:
        return (self.levels * (output - background)).square().mean()


class Slope(Pixel):
    """Mean squared error of differences between neighbours in a row."""

    def forward(self, output: Tensor, background: Tensor) -> Tensor:
        return (self.levels * (output - background)).diff(dim=-1).square().mean()


class Brightness(Pixel):
    """Squared error of the sum of all squares: by far larger than the others, as MENET's texture term is."""

    def forward(self, output: Tensor, background: Tensor) -> Tensor:
        energy = [(self.levels * images).square().sum(dim=(1, 2, 3)) / 48 for images in (output, background)]
        return (energy[0] - energy[1]).square().mean()


def three_terms(levels: float = 255.0) -> dict[str, nn.Module]:
    return {"pixel": Pixel(levels), "slope": Slope(levels), "brightness": Brightness(levels)}


def train(
    task: Task,
    steps: int,
    unlabelled: int = 0,
    save: SaveAt | None = None,
    callbacks: tuple[Callback, ...] = (),
    options: dict[str, Any] | None = None,
    **fit: Any,
) -> tuple[Witness, Trainer]:
    """Train on the CPU up to a step, with nothing logged or saved; ``unlabelled`` images a step.

    ``options`` are the trainer's, ``fit`` those of its method ``fit``.
    """
    witness = Witness()
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=steps,
        logger=False,
        callbacks=[witness, StepSeed(SEED), *([save] if save else []), *callbacks],
        **{"precision": "32-true", **(options or {})},
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, WithUnlabelled(unlabelled) if unlabelled else data(), **fit)
    return witness, trainer


def bare_loop(
    net: nn.Module,
    steps: int,
    loss_of: Callable[[int, RainyBatch, Tensor | None], Tensor],
    unlabelled: int = 0,
    rate: Callable[[int], float] = lambda step: 2e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    after: Callable[[int], None] = lambda step: None,
) -> list[float]:
    """The losses of a training by Adam without Lightning, task or scheduler.

    ``loss_of`` is told the step, its batch, and rainy images of which nothing else is known.
    """
    given = WithUnlabelled(unlabelled) if unlabelled else data()
    stream = BatchStream(torch.from_numpy(given.bank).permute(0, 3, 1, 2), **given.options)
    optimizer, losses = torch.optim.Adam(net.parameters(), betas=betas), []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate(step)
        torch.manual_seed(derive_seed(SEED, "step", step, 0))
        loss = loss_of(step, stream.batch(step), given.other.batch(step).rainy if unlabelled else None)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        after(step)
    return losses


CONSTANT = Steps([], 1.0)


def semi_supervised(net: nn.Module | None = None, **options: Any) -> SemiSupervisedTask:
    options = {"learning_rate": 2e-3, "decay": CONSTANT, "teacher_decay": 0.8, "supervised": "4steps", **options}
    return SemiSupervisedTask(net or network(), 8, **options)


def sirr(net: nn.Module | None = None, steps: int = 8, **options: Any) -> SIRRTask:
    return SIRRTask(net or network(), steps, **{"decay": CONSTANT, **options})


def syn2real(net: nn.Module | None = None, steps: int = 8, **options: Any) -> Syn2RealTask:
    options = {"neighbours": 3, "bank_size": 6, "gp_weight": 0.1, "decay": CONSTANT, **options}
    torch.manual_seed(1)
    return Syn2RealTask(net or Syn2Real(8, 1), steps, **options)


GOLDEN: dict[str, tuple[Callable[[int], Task], int]] = {
    "supervised": (lambda steps: SupervisedTask(InDouble(network()), L1(), steps, learning_rate=2e-3), 0),
    "semi_supervised": (
        lambda steps: SemiSupervisedTask(InDouble(network()), steps, "50%", teacher_decay=0.9, learning_rate=2e-3),
        3,
    ),
    "multitask": (
        lambda steps: MultitaskTask(
            InDouble(network()), three_terms(), GradientBalancing(), steps, 2e-3, shared_layer="inner.head"
        ),
        0,
    ),
}
"""Runs in float64 whose losses are recorded: how the task of so many steps is made, and unlabelled images a step."""


def golden_losses(name: str, steps: int = 50) -> list[float]:
    make, unlabelled = GOLDEN[name]
    return train(make(steps), steps, unlabelled)[0].losses


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("\n".join(f"{loss:.10f}" for loss in golden_losses(sys.argv[1])))
