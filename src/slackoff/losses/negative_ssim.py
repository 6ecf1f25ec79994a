"""Negative structural similarity, the loss of PReNet."""

from collections.abc import Sequence
from math import exp, isfinite

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slackoff.errors import SlackoffError
from slackoff.networks.precision import full_precision
from slackoff.networks.stages import StagedNetwork

RADIUS_PX = 5
SIGMA_PX = 1.5
_BELL = [exp(-(place**2) / (2 * SIGMA_PX**2)) for place in range(-RADIUS_PX, RADIUS_PX + 1)]
BELL = [tap / sum(_BELL) for tap in _BELL]
C1, C2 = 0.01**2, 0.03**2


class NegativeSSIM(nn.Module):
    """-SSIM of a network's output (Ren et al., PReNet, CVPR 2019, as in the authors' code).

    SSIM of Wang et al. 2004 for a data range of 1: 11x11 Gaussian window of sigma 1.5, mean over channels and all
    pixels. At the border the images go on as zeros, which the measure ``slackoff.metrics.fidelity.ssim`` does not do:
    the two differ a little. From -1, a perfect output, to 1.

    Args:
        weights: one a stage, the result's last, for a weighted sum over the stages; None, the authors' choice, takes
            the result alone, and every network will do.

    Raises:
        SlackoffError: a weight is negative or not finite, or none is positive.
    """

    def __init__(self, weights: Sequence[float] | None = None) -> None:
        super().__init__()
        if weights is not None and (not any(weights) or not all(isfinite(w) and w >= 0 for w in weights)):
            raise SlackoffError(
                f"task.loss.weights={list(weights)} must be at least 0, finite, and one of them above 0"
            )
        self.weights = None if weights is None else tuple(weights)

    def forward(self, network: nn.Module, rainy: Tensor, background: Tensor) -> Tensor:
        """A scalar of float32; ``rainy`` and ``background``: float, (N, 3, H, W), in [0, 1].

        Raises:
            SlackoffError: weights are given, and the network has no stages or another number of them.
        """
        if self.weights is None:
            return -zero_padded_ssim(network(rainy), background)
        if not isinstance(network, StagedNetwork):
            raise SlackoffError(
                f"task.loss.weights need a network with stages, which {type(network).__name__} has not: leave them out "
                "or choose network=prenet"
            )
        backgrounds = network.stages(rainy).backgrounds
        if len(backgrounds) != len(self.weights):
            raise SlackoffError(
                f"task.loss.weights has {len(self.weights)} weights, but {type(network).__name__} has "
                f"{len(backgrounds)} stages: give one weight a stage"
            )
        values = [zero_padded_ssim(estimate, background) for estimate in backgrounds]
        return -torch.stack([weight * value for weight, value in zip(self.weights, values, strict=True)]).sum()


def zero_padded_ssim(first: Tensor, second: Tensor) -> Tensor:
    """Mean SSIM of images (N, C, H, W) in [0, 1] that go on as zeros beyond their border: a scalar of float32."""
    with full_precision(first):
        x, y = first.float(), second.float()
        moments = _blurred(torch.stack([x, y, x * x, y * y, x * y]))
    mean_x, mean_y, square_x, square_y, product = moments
    covariance = product - mean_x * mean_y
    variances = square_x - mean_x.square() + square_y - mean_y.square()
    likeness = (2 * mean_x * mean_y + C1) * (2 * covariance + C2)
    return (likeness / ((mean_x.square() + mean_y.square() + C1) * (variances + C2))).mean()


def _blurred(images: Tensor) -> Tensor:
    """Gaussian mean around each pixel, any shape that ends in (H, W).

    By slices and not by a convolution, which may run in TensorFloat-32, also backwards: SSIM takes the small difference
    of mean(x^2) and mean(x)^2, and on a bright sky inputs of 10 bits turn its gradient into noise.
    """
    for dim in (-2, -1):
        size = images.shape[dim]
        beside = [0, 0, RADIUS_PX, RADIUS_PX] if dim == -2 else [RADIUS_PX, RADIUS_PX]
        padded = F.pad(images, beside)
        parts = (tap * padded.narrow(dim, place, size) for place, tap in enumerate(BELL))
        images = sum(parts, images.new_zeros(()))
    return images
