"""Whole losses, called as ``loss(network, rainy, background)``: the plain ones, and those of the networks' papers."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import exp, isfinite
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slackoff.errors import SlackoffError, check_choices
from slackoff.losses.terms import check_weights
from slackoff.networks.interfaces import StagedNetwork, Stages
from slackoff.networks.jorder_e import JORDERE
from slackoff.networks.layers import GREY_LEVELS, full_precision


class Loss(nn.Module, ABC):
    """What a network is trained to minimise."""

    @abstractmethod
    def forward(self, network: nn.Module, rainy: Tensor, background: Tensor) -> Tensor:
        """A scalar; ``rainy`` and ``background``: float, (N, 3, H, W), RGB in [0, 1].

        Raises:
            SlackoffError: the network does not give what the loss compares, such as stages, or not as many of them as
                there are weights.
        """


class L1(Loss):
    """Mean absolute error of a network's output, in units of the images (1 is 255 grey levels)."""

    def forward(self, network: nn.Module, rainy: Tensor, background: Tensor) -> Tensor:
        return F.l1_loss(network(rainy), background)


class MSE(Loss):
    """Mean squared error of a network's output, in squared units of images in [0, 1]."""

    def forward(self, network: nn.Module, rainy: Tensor, background: Tensor) -> Tensor:
        return F.mse_loss(network(rainy), background)


def _stage_weights(weights: Sequence[float]) -> tuple[float, ...]:
    if not any(weights) or not all(isfinite(weight) and weight >= 0 for weight in weights):
        raise SlackoffError(f"task.loss.weights={list(weights)} must be at least 0, finite, and one of them above 0")
    return tuple(weights)


def _over_stages(
    network: nn.Module,
    rainy: Tensor,
    weights: Sequence[float],
    value: Callable[[Tensor], Tensor],
    who: str,
    cure: str,
) -> Tensor:
    """The weighted sum of a value of each stage's background; ``who`` needs stages, and what to do without."""
    if not isinstance(network, StagedNetwork):
        raise _misfit(who, network, "a network with stages", cure)
    backgrounds = network.stages(rainy).backgrounds
    if len(backgrounds) != len(weights):
        raise SlackoffError(
            f"task.loss.weights has {len(weights)} weights, but {type(network).__name__} has {len(backgrounds)} "
            "stages: give one weight a stage"
        )
    return torch.stack([w * value(estimate) for w, estimate in zip(weights, backgrounds, strict=True)]).sum()


def _misfit(who: str, network: nn.Module, needed: str, cure: str) -> SlackoffError:
    return SlackoffError(f"{who} needs {needed}, which {type(network).__name__} is not: {cure}")


class StagesMSE(Loss):
    """Weighted sum of the mean squared errors of a network's backgrounds.

    Args:
        weights: one a stage, the result's last.

    Raises:
        SlackoffError: a weight is negative or not finite, or none is positive.
    """

    preset: ClassVar[str]
    """Network that the loss was made for, for messages."""

    scale: ClassVar[float] = 1.0
    """What the value 1 of an image counts as; the errors have its square."""

    def __init__(self, weights: Sequence[float]) -> None:
        super().__init__()
        self.weights = _stage_weights(weights)

    def forward(self, network: nn.Module, rainy: Tensor, background: Tensor) -> Tensor:
        who, cure = f"task.loss {type(self).__name__}", f"choose network={self.preset} or task=supervised"
        return self.scale**2 * _over_stages(
            network, rainy, self.weights, lambda image: F.mse_loss(image, background), who, cure
        )


class DRDNetLoss(StagesMSE):
    """Weighted sum of the mean squared errors of both backgrounds, in squared units of images in [0, 1].

    Args:
        weights: of the background before the detail is repaired, and of the result; those of the authors' code.
    """

    preset = "drd_net"

    def __init__(self, weights: Sequence[float] = (0.1, 1.0)) -> None:
        super().__init__(weights)


class SPDNetLoss(StagesMSE):
    """Weighted sum of the mean squared errors of a network's stages, in squared grey levels (0..255).

    Args:
        weights: one a stage, the result's last; the paper's are all 1.
    """

    preset = "spdnet"
    scale = GREY_LEVELS

    def __init__(self, weights: Sequence[float] = (1.0, 1.0, 1.0)) -> None:
        super().__init__(weights)


def _stages_with_rain(network: nn.Module, rainy: Tensor, loss: str, preset: str) -> Stages:
    stages = network.stages(rainy) if isinstance(network, StagedNetwork) else Stages(())
    if not stages.rains:
        needed, cure = "a network that gives a rain layer a stage", f"choose network={preset} or task=supervised"
        raise _misfit(f"task.loss {loss}", network, needed, cure)
    return stages


class RESCANLoss(Loss):
    """Sum over the stages of the mean squared error of their rain layers, in squared units of the images (1 is white).

    The true rain layer is rainy image less background, clipping included. Reckoned in float32.
    """

    def forward(self, network: nn.Module, rainy: Tensor, background: Tensor) -> Tensor:
        rains = _stages_with_rain(network, rainy, "RESCANLoss", "rescan").rains
        truth = (rainy - background).float()
        return sum((F.mse_loss(rain.float(), truth) for rain in rains), truth.new_zeros(()))


RADIUS_PX = 5
SIGMA_PX = 1.5
_BELL = [exp(-(place**2) / (2 * SIGMA_PX**2)) for place in range(-RADIUS_PX, RADIUS_PX + 1)]
BELL = [tap / sum(_BELL) for tap in _BELL]
C1, C2 = 0.01**2, 0.03**2


class NegativeSSIM(Loss):
    """-SSIM of a network's output (Ren et al., PReNet, CVPR 2019, as in the authors' code).

    SSIM of Wang et al. 2004 for a data range of 1: 11x11 Gaussian window of sigma 1.5, mean over channels and all
    pixels. At the border the images go on as zeros, which the measure ``slackoff.metrics.functional.ssim`` does not do:
    the two differ a little. From -1, a perfect output, to 1. Reckoned in float32.

    Args:
        weights: one a stage, the result's last, for a weighted sum over the stages; None, the authors' choice, takes
            the result alone, and every network will do.

    Raises:
        SlackoffError: a weight is negative or not finite, or none is positive.
    """

    def __init__(self, weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.weights = None if weights is None else _stage_weights(weights)

    def forward(self, network: nn.Module, rainy: Tensor, background: Tensor) -> Tensor:
        if self.weights is None:
            return -zero_padded_ssim(network(rainy), background)
        cure = "leave the weights out or choose network=prenet"
        return -_over_stages(
            network, rainy, self.weights, lambda image: zero_padded_ssim(image, background), "task.loss.weights", cure
        )


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


class RCDNetLoss(Loss):
    """Squared errors of every stage, in grey levels (Wang et al., CVPR 2020, as in their release since 2022-09-19).

    A weighted sum of mean squared errors on the 0..255 scale, hence hundreds at the start: of the backgrounds
    against the true one, of the rain layers against rainy image less true background. The last rain layer counts
    among the stages and once more by itself, with a weight of 1 in all. Releases of before that date applied the
    factor of the stages to the running sum, which gave later stages geometrically larger weights. Reckoned in float32.

    Args:
        result: weight of the last background.
        stage_backgrounds: weight of each stage's background.
        first_background: weight of the background before the first stage.
        stage_rains: weight of each stage's rain layer.
        last_rain: weight of the last rain layer, beside the one that it has as a stage's.

    Raises:
        SlackoffError: a weight is negative or not finite, or none is positive.
    """

    def __init__(
        self,
        result: float = 1.0,
        stage_backgrounds: float = 0.1,
        first_background: float = 0.1,
        stage_rains: float = 0.1,
        last_rain: float = 0.9,
    ) -> None:
        super().__init__()
        weights = {
            "result": result,
            "stage_backgrounds": stage_backgrounds,
            "first_background": first_background,
            "stage_rains": stage_rains,
            "last_rain": last_rain,
        }
        check_weights("task.loss", **weights)
        if not any(weights.values()):
            raise SlackoffError(f"task.loss: one of {', '.join(weights)} must be above 0")
        self.result = result
        self.stage_backgrounds = stage_backgrounds
        self.first_background = first_background
        self.stage_rains = stage_rains
        self.last_rain = last_rain

    def forward(self, network: nn.Module, rainy: Tensor, background: Tensor) -> Tensor:
        stages = _stages_with_rain(network, rainy, "RCDNetLoss", "rcdnet")
        first, *middle, result = (_squared_error(estimate, background) for estimate in stages.backgrounds)
        rains = [_squared_error(estimate, rainy - background) for estimate in stages.rains]
        return (
            self.result * result
            + self.stage_backgrounds * sum(middle)
            + self.first_background * first
            + self.stage_rains * sum(rains)
            + self.last_rain * rains[-1]
        )


def _squared_error(estimate: Tensor, truth: Tensor) -> Tensor:
    return F.mse_loss(estimate.float(), truth.float()) * GREY_LEVELS**2


RELEASED_PIXELS = 8 * 64 * 64  # of a batch of the release, eight patches of 64 px: its mask error is a sum over them


class JORDERELoss(Loss):
    """l1 of both backgrounds and of the rain level in grey levels (0..255), and the cross-entropy of the rain mask.

    In the release the mask's error is a sum over the pixels of a batch, times 1e-3. Here it is their mean, times what
    makes the two equal for a batch of the release (eight patches of 64 px): so it has the same share in the loss for
    any patch, batch and number of ranks. Reckoned in float32.

    Args:
        mask_rule: which pixels the mask shall mark. "as_released": those whose red is brighter in the background than
            in the rainy image, as coded, which is the opposite of rain; where rain only adds light there are none, and
            the mask learns a constant. "rain": those whose red is brighter in the rainy image.
        mask: weight of the mask's mean cross-entropy (natural logarithm).
        level: weight of the l1 of the level against background less rainy image.

    Raises:
        SlackoffError: a weight that is negative or not finite.
    """

    def __init__(
        self,
        mask_rule: Literal["as_released", "rain"] = "as_released",
        mask: float = 1e-3 * RELEASED_PIXELS,
        level: float = 1e-2,
    ) -> None:
        super().__init__()
        check_choices(JORDERELoss, mask_rule=mask_rule)
        check_weights("task.loss", mask=mask, level=level)
        self.sign = -1.0 if mask_rule == "rain" else 1.0
        self.mask = mask
        self.level = level

    def forward(self, network: nn.Module, rainy: Tensor, background: Tensor) -> Tensor:
        if not isinstance(network, JORDERE):
            needed = "a network that estimates mask and level of the rain"
            raise _misfit("task.loss JORDERELoss", network, needed, "choose network=jorder_e or task=supervised")
        found = network.estimates(rainy)
        removed = background - rainy
        marked = (self.sign * removed[:, 0] > 0).long()
        images = torch.stack([_l1(estimate, background) for estimate in found.backgrounds]).sum()
        mask = F.cross_entropy(found.mask.float(), marked)
        return images + self.level * _l1(found.level, removed) + self.mask * mask


def _l1(estimate: Tensor, truth: Tensor) -> Tensor:
    return GREY_LEVELS * F.l1_loss(estimate.float(), truth.float())
