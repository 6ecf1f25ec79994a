"""A training run of a second: a smooth bank from formulas, narrow rain, a tiny network, and what it went through."""

from typing import Any

import numpy as np
import torch
from lightning import Callback, Trainer
from torch import Tensor, nn

from slackoff.data import RainyData
from slackoff.losses import L1
from slackoff.networks import UNet
from slackoff.rain import RainRange
from slackoff.tasks import SupervisedTask

SIZE, BATCH, SEED = 32, 4, 5
RANGE = RainRange([200, 300], [3, 5], [10, 20], [-30, 30])


def smooth_bank(count: int = 6) -> np.ndarray:
    """uint8, (N, P, P, 3): coloured waves."""
    n, i, j, c = np.indices((count, SIZE, SIZE, 3))
    return np.uint8(110 + 60 * np.sin(0.11 * (n + 1) * i + c) + 50 * np.cos(0.07 * (n + 2) * j - c * n))


def data() -> RainyData:
    return RainyData(smooth_bank(), RANGE, BATCH, SEED, channels_last=False)


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

    def on_train_batch_end(self, trainer: Trainer, task: SupervisedTask, outputs: dict[str, Tensor], *_: Any) -> None:
        self.losses.append(float(outputs["loss"]))


class InDouble(nn.Module):
    """A network with weights and arithmetic in float64: its losses differ little between machines."""

    def __init__(self, single: nn.Module) -> None:
        super().__init__()
        self.inner = single.double()

    def forward(self, rainy: Tensor) -> Tensor:
        return self.inner(rainy.double())


def train(task: SupervisedTask, steps: int, **fit: Any) -> tuple[Witness, Trainer]:
    """Train on the CPU up to a step, with nothing logged or saved."""
    witness = Witness()
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        precision="32-true",
        max_steps=steps,
        logger=False,
        callbacks=[witness],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, data(), **fit)
    return witness, trainer


def golden_losses(steps: int = 50) -> list[float]:
    """Losses of a run in float64."""
    return train(SupervisedTask(InDouble(network()), L1(), steps, learning_rate=2e-3), steps)[0].losses


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("\n".join(f"{loss:.10f}" for loss in golden_losses()))
