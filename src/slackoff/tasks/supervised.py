"""Supervised training on (background + rain, background) pairs."""

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from slackoff.data import RainyBatch
from slackoff.tasks.decay import Cosine, Steps


class SupervisedTask(LightningModule):
    """One network, one loss, Adam: by default the recipe of "Networks are Slacking Off" (l1, one cosine period).

    Args:
        network: rainy image to background, both (N, 3, H, W) in [0, 1].
        loss: of (network, rainy, background); a scalar. See ``slackoff.losses``.
        steps: of the whole run, over which the learning rate falls.
        learning_rate: at the first step.
        betas: of Adam.
        decay: how the learning rate falls; None is one cosine period (to 1e-7, as in BasicSR's option files; the paper
            names no end).
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        steps: int,
        learning_rate: float = 2e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        decay: Cosine | Steps | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.steps = steps
        self.learning_rate = learning_rate
        self.betas = betas
        self.decay = decay or Cosine()

    def forward(self, rainy: Tensor) -> Tensor:
        """Restore rainy images: float, (N, 3, H, W), in [0, 1], to the same."""
        return self.network(rainy)

    def training_step(self, batch: RainyBatch, batch_idx: int) -> dict[str, Tensor]:
        """Return ``loss``, which is minimised; every scalar returned here is logged as ``train/<name>``."""
        return {"loss": self.loss(self.network, batch.rainy, batch.background)}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = torch.optim.Adam(
            self.network.parameters(), self.learning_rate, betas=(self.betas[0], self.betas[1])
        )
        schedule = self.decay.schedule(optimizer, self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
