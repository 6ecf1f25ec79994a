"""How the learning rate falls over a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, MultiStepLR

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
        factor: what the rate is multiplied by at each of them; or a list with a factor for each.

    Raises:
        SlackoffError: a part that is not between 0 and 1, or another number of factors than of parts.
    """

    at: Sequence[float]
    factor: float | Sequence[float]

    def __post_init__(self) -> None:
        for part in self.at:
            if not 0 < part < 1:
                raise SlackoffError(f"task.decay.at={list(self.at)} must hold parts of the run, between 0 and 1")
        if isinstance(self.factor, Sequence) and len(self.factor) != len(self.at):
            raise SlackoffError(
                f"task.decay.factor has {len(self.factor)} factors for the {len(self.at)} parts of task.decay.at: give "
                "one a part, or one number for all"
            )

    def schedule(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        starts = [round(part * steps) for part in self.at]
        if not isinstance(self.factor, Sequence):
            return MultiStepLR(optimizer, starts, self.factor)
        pairs = list(zip(starts, self.factor, strict=True))
        return LambdaLR(optimizer, lambda step: prod(factor for start, factor in pairs if step >= start))
