"""What all training regimes have in common: a network, an optimiser, and losses that depend on batch and step alone."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from slackoff.data import RainyBatch
from slackoff.tasks.decay import Cosine, Steps
from slackoff.tasks.optimizer import SGD


class Task(LightningModule):
    """A network and how it is trained.

    Args:
        network: rainy image to background, both (N, 3, H, W) in [0, 1].
        steps: of the whole run, over which the learning rate falls.
        learning_rate: at the first step.
        betas: of Adam.
        decay: how the learning rate falls; None is one cosine period (to 1e-7, as in BasicSR's option files; the paper
            names no end).
        optimizer: in the place of Adam; None is Adam.
    """

    uses_unlabelled: ClassVar[bool] = False
    """Whether the regime can learn from ``RainyBatch.unlabelled``."""

    def __init__(
        self,
        network: nn.Module,
        steps: int,
        learning_rate: float = 2e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        decay: Cosine | Steps | None = None,
        optimizer: SGD | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.steps = steps
        self.learning_rate = learning_rate
        self.betas = betas
        self.decay = decay or Cosine()
        self.optimizer = optimizer

    @abstractmethod
    def losses(self, batch: RainyBatch, step: int) -> dict[str, Tensor]:
        """The scalars of a step: ``loss``, which is minimised, and others to look at."""

    def trained_parameters(self) -> Iterator[nn.Parameter]:
        """What the optimiser moves."""
        return self.network.parameters()

    @property
    def teachers(self) -> dict[str, nn.Module]:
        """Further networks to measure at the present step, by name."""
        return {}

    def forward(self, rainy: Tensor) -> Tensor:
        """Restore rainy images: float, (N, 3, H, W), in [0, 1], to the same."""
        return self.network(rainy)

    def training_step(self, batch: RainyBatch, batch_idx: int) -> dict[str, Tensor]:
        """Return ``loss``, which is minimised; every scalar returned here is logged as ``train/<name>``."""
        return self.losses(batch, self.global_step)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        if not any(True for _ in self.trained_parameters()):
            return None  # a method that is only measured
        optimizer = self._optimizer()
        schedule = self.decay.schedule(optimizer, self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _optimizer(self) -> torch.optim.Optimizer:
        parameters = self.trained_parameters()
        if self.optimizer is not None:
            return self.optimizer.optimizer(parameters, self.learning_rate)
        return torch.optim.Adam(parameters, self.learning_rate, betas=(self.betas[0], self.betas[1]), fused=True)
