"""The loss of DRD-Net (Deng et al., CVPR 2020)."""

from collections.abc import Sequence
from typing import ClassVar

from slackoff.losses.stages import StagesMSE


class DRDNetLoss(StagesMSE):
    """Weighted sum of the mean squared errors of both backgrounds, in squared units of images in [0, 1].

    Args:
        weights: of the background before the detail is repaired, and of the result; those of the authors' code.

    Raises:
        SlackoffError: a weight is negative or not finite, or none is positive.
    """

    preset: ClassVar[str] = "drd_net"

    def __init__(self, weights: Sequence[float] = (0.1, 1.0)) -> None:
        super().__init__(weights)
