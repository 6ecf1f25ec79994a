"""Optimisers other than the default, Adam."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from slackoff.errors import SlackoffError


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum, without weight decay.

    Args:
        momentum: share of the last step's direction that is kept, from 0 to below 1.

    Raises:
        SlackoffError: the momentum is out of its range.
    """

    momentum: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise SlackoffError(f"task.optimizer.momentum={self.momentum} must be at least 0 and below 1")

    def optimizer(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, learning_rate, self.momentum)
