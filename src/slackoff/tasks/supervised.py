"""Supervised training on (background + rain, background) pairs."""

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from slackoff.data import RainyBatch


class SupervisedTask(LightningModule):
    """The recipe of "Networks are Slacking Off": l1 loss, Adam, one cosine period without warm-up.

    Args:
        network: rainy image to background, both (N, 3, H, W) in [0, 1].
        loss: of (output, background); a scalar.
        steps: length of the cosine period, in optimiser steps.
        learning_rate: at the first step.
        minimum_learning_rate: at the last step (BasicSR's option files use 1e-7; the paper names none).
        betas: of Adam.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        steps: int,
        learning_rate: float = 2e-4,
        minimum_learning_rate: float = 1e-7,
        betas: tuple[float, float] = (0.9, 0.99),
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.steps = steps
        self.learning_rate = learning_rate
        self.minimum_learning_rate = minimum_learning_rate
        self.betas = betas

    def forward(self, rainy: Tensor) -> Tensor:
        """Restore rainy images: float, (N, 3, H, W), in [0, 1], to the same."""
        return self.network(rainy)

    def training_step(self, batch: RainyBatch, batch_idx: int) -> dict[str, Tensor]:
        """Return ``loss``, which is minimised; every scalar returned here is logged as ``train/<name>``."""
        return {"loss": self.loss(self(batch.rainy), batch.background)}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = torch.optim.Adam(
            self.network.parameters(), self.learning_rate, betas=(self.betas[0], self.betas[1])
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps, eta_min=self.minimum_learning_rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
