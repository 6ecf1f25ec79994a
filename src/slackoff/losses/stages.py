"""What losses on the stages of a network have in common."""

from collections.abc import Sequence
from math import isfinite
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slackoff.errors import SlackoffError
from slackoff.networks.stages import StagedNetwork


class StagesMSE(nn.Module):
    """Weighted sum of the mean squared errors of a network's backgrounds.

    Args:
        weights: one a stage, the result's last.
        scale: what the value 1 of an image counts as; the errors have its square.

    Raises:
        SlackoffError: a weight is negative or not finite, or none is positive.
    """

    preset: ClassVar[str]
    """Network that the loss was made for, for messages."""

    def __init__(self, weights: Sequence[float], scale: float = 1.0) -> None:
        super().__init__()
        if not any(weights) or not all(isfinite(weight) and weight >= 0 for weight in weights):
            raise SlackoffError(
                f"task.loss.weights={list(weights)} must be at least 0, finite, and one of them above 0"
            )
        self.weights = tuple(weights)
        self.scale = scale

    def forward(self, network: nn.Module, rainy: Tensor, background: Tensor) -> Tensor:
        """A scalar; ``rainy`` and ``background``: float, (N, 3, H, W), in [0, 1].

        Raises:
            SlackoffError: the network has no stages, or another number of them than there are weights.
        """
        if not isinstance(network, StagedNetwork):
            raise SlackoffError(
                f"task.loss {type(self).__name__} needs a network with stages, which {type(network).__name__} has not: "
                f"choose network={self.preset} or task=supervised"
            )
        backgrounds = network.stages(rainy).backgrounds
        if len(backgrounds) != len(self.weights):
            raise SlackoffError(
                f"task.loss.weights has {len(self.weights)} weights, but {type(network).__name__} has "
                f"{len(backgrounds)} stages: give one weight a stage"
            )
        errors = [F.mse_loss(estimate, background) for estimate in backgrounds]
        weighted = [weight * error for weight, error in zip(self.weights, errors, strict=True)]
        return self.scale**2 * torch.stack(weighted).sum()
