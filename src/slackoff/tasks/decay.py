"""How the learning rate falls over a run."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR

from slackoff.errors import SlackoffError


@dataclass(frozen=True)
class Cosine:
    """One cosine period over the run, without warm-up.

    Args:
        minimum_learning_rate: at the last step.
    """

    minimum_learning_rate: float = 1e-7

    def schedule(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        return CosineAnnealingLR(optimizer, steps, eta_min=self.minimum_learning_rate)


@dataclass(frozen=True)
class Steps:
    """The rate is multiplied by a factor at given parts of the run.

    Args:
        at: parts of the run, between 0 and 1: 0.25 is a quarter of its steps.
        factor: what the rate is multiplied by at each of them.

    Raises:
        SlackoffError: a part that is not between 0 and 1.
    """

    at: Sequence[float]
    factor: float

    def __post_init__(self) -> None:
        for part in self.at:
            if not 0 < part < 1:
                raise SlackoffError(f"task.decay.at={list(self.at)} must hold parts of the run, between 0 and 1")

    def schedule(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        return MultiStepLR(optimizer, [round(part * steps) for part in self.at], self.factor)
