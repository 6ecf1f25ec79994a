"""The dilated convolution of RESCAN, JORDER-E and DRD-Net."""

import torch
from torch import Tensor, nn

from slackoff.networks.precision import full_precision

_BLOCK = 16


class DilatedConv2d(nn.Conv2d):
    """3x3 with biases, keeping the size, whose weight's gradient is right on a CPU in bf16 too.

    oneDNN 3.12 reads beyond its buffers there (AVX-512, channels last, dilated, channels that are not a multiple of
    16): the gradient is NaN or the process dies. Such convolutions run in float32.

    Args:
        channels_in, channels_out: of input and output.
        dilation: in pixels.
    """

    def __init__(self, channels_in: int, channels_out: int, dilation: int) -> None:
        super().__init__(channels_in, channels_out, 3, padding=dilation, dilation=dilation)
        self.unsafe_in_half = dilation > 1 and channels_in % _BLOCK != 0

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same size."""
        if self.unsafe_in_half and x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            with full_precision(x):
                return super().forward(x.to(self.weight.dtype))
        return super().forward(x)
