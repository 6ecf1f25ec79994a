"""Errors pixel by pixel, as terms."""

import torch.nn.functional as F
from torch import Tensor

from slackoff.losses.term import Term


class PixelMSE(Term):
    """Mean squared error over images, channels and pixels: L_p of MENET, in squared grey levels if ``scale`` is 255."""

    def error(self, output: Tensor, background: Tensor) -> Tensor:
        return F.mse_loss(output, background)


class PixelL1(Term):
    """Mean absolute error over images, channels and pixels, in grey levels if ``scale`` is 255."""

    def error(self, output: Tensor, background: Tensor) -> Tensor:
        return F.l1_loss(output, background)
