"""The loss of SPDNet (Yi et al., ICCV 2021)."""

from collections.abc import Sequence
from typing import ClassVar

from slackoff.losses.stages import StagesMSE

GREY_LEVELS = 255.0


class SPDNetLoss(StagesMSE):
    """Weighted sum of the mean squared errors of a network's stages, in squared grey levels (0..255).

    Args:
        weights: one a stage, the result's last; the paper's are all 1.

    Raises:
        SlackoffError: a weight is negative or not finite, or none is positive.
    """

    preset: ClassVar[str] = "spdnet"

    def __init__(self, weights: Sequence[float] = (1.0, 1.0, 1.0)) -> None:
        super().__init__(weights, GREY_LEVELS)
