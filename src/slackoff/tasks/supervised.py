"""Supervised training on (background + rain, background) pairs."""

from torch import Tensor, nn

from slackoff.data import RainyBatch
from slackoff.tasks.decay import Cosine, Steps
from slackoff.tasks.optimizer import SGD
from slackoff.tasks.task import Task


class SupervisedTask(Task):
    """One network, one loss, Adam: by default the recipe of "Networks are Slacking Off" (l1, one cosine period).

    Args:
        loss: of (network, rainy, background); a scalar. See ``slackoff.losses``.
        network, steps, learning_rate, betas, decay, optimizer: see ``Task``.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        steps: int,
        learning_rate: float = 2e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        decay: Cosine | Steps | None = None,
        optimizer: SGD | None = None,
    ) -> None:
        super().__init__(network, steps, learning_rate, betas, decay, optimizer)
        self.loss = loss

    def losses(self, batch: RainyBatch, step: int) -> dict[str, Tensor]:
        """``loss`` of a batch; the step does not matter."""
        return {"loss": self.loss(self.network, batch.rainy, batch.background)}
