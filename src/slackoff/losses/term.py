"""What the terms of multi-task training have in common."""

from abc import ABC, abstractmethod
from math import isfinite
from typing import ClassVar

from torch import Tensor, nn

from slackoff.errors import SlackoffError
from slackoff.networks.precision import full_precision


class Term(nn.Module, ABC):
    """One error of a network's output, called as ``term(output, background)``.

    Images are brought to the range [0, scale] and compared in float32 whatever the precision of training.

    Args:
        scale: what the images are multiplied by. 255, grey levels, is the unit of MENET (Fan, Chen, Li, arXiv
            2003.09689); weights that depend on the errors, such as LB's and GB's, depend on it.

    Raises:
        SlackoffError: the scale is not finite or not above 0.
    """

    least_side: ClassVar[int] = 1
    """Height and width that images need at least, in pixels."""

    def __init__(self, scale: float = 255.0) -> None:
        super().__init__()
        if not isfinite(scale) or scale <= 0:
            raise SlackoffError(f"{type(self).__name__}: scale={scale} must be a finite number above 0")
        self.scale = scale

    @abstractmethod
    def error(self, output: Tensor, background: Tensor) -> Tensor:
        """The error as a scalar of float32; both images: float32, (N, 3, H, W), in [0, scale]."""

    def forward(self, output: Tensor, background: Tensor) -> Tensor:
        """A scalar of float32; ``output`` and ``background``: float, (N, 3, H, W), RGB in [0, 1].

        Raises:
            SlackoffError: these are no RGB images of one shape, or they are too small.
        """
        self._check(output, background)
        with full_precision(output):
            return self.error(self.scale * output.float(), self.scale * background.float())

    def _check(self, output: Tensor, background: Tensor) -> None:
        fit = output.shape == background.shape and output.ndim == 4 and output.shape[1] == 3 and len(output)
        if not fit or not (output.is_floating_point() and background.is_floating_point()):
            raise SlackoffError(
                f"{type(self).__name__} compares RGB images of one shape, float (N, 3, H, W), but the output is "
                f"{_described(output)} and the background {_described(background)}: choose a network that gives an "
                "image of the size that it takes"
            )
        height, width = output.shape[-2:]
        if min(height, width) < self.least_side:
            raise SlackoffError(
                f"{type(self).__name__} needs images of at least {self.least_side} x {self.least_side} px, not "
                f"{height} x {width}: raise background.patch_size_px"
            )


def _described(images: Tensor) -> str:
    return f"{str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}"
