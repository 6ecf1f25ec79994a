"""Layers and image operations that several networks share: mirror padding, guided filter, dilated convolution."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slackoff.networks.devices import full_precision


def mirror_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Continue images to the right and below by reflection until both sides are multiples of a number.

    The same values as reflect padding (the border pixel itself is not repeated). Unlike that, it may be wider than the
    image: a pad wider than the image goes back and forth through it, and a side of one pixel is repeated.

    Args:
        images: (..., H, W), H and W at least 1.
        multiple: of which the sides become multiples.
    """
    for axis in (-2, -1):
        size = images.shape[axis]
        missing = -size % multiple
        # An exported graph is for every size: none of them may be decided on while it is drawn.
        if torch.compiler.is_exporting() or missing:
            period = torch.full((), max(2 * size - 2, 1), device=images.device)
            position = torch.arange(size + missing, device=images.device) % period
            images = images.index_select(axis, torch.minimum(position, period - position))
    return images


def box_mean(images: Tensor, radius: int) -> Tensor:
    """The mean over a square window of 2 * radius + 1 pixels around each pixel, as far as it lies in the image.

    Sums of the pixels themselves: differences of cumulative sums would lose digits on large images.

    Args:
        images: float, (N, C, H, W), H and W at least 1.
        radius: in pixels, at least 0.
    """
    side = 2 * radius + 1
    rows = F.avg_pool2d(images, (side, 1), 1, (radius, 0), count_include_pad=False)
    return F.avg_pool2d(rows, (1, side), 1, (0, radius), count_include_pad=False)


def guided_smooth(images: Tensor, radius: int, eps: float) -> Tensor:
    """Filter each channel with itself as its guide; differentiable.

    With mean m and variance v of a window, each window fits the line a * x + m - a * m, a = v / (v + eps); a pixel gets
    the mean of the lines of all windows that hold it. Where the variance is far below eps, that is nearly two box
    means in a row; where it is far above, the pixel itself.

    Args:
        images: float, (N, C, H, W), H and W at least 1.
        radius: of the windows, in pixels, at least 0.
        eps: in squared units of the images, above 0.

    Returns:
        (N, C, H, W), in the unit of the images.
    """
    mean = box_mean(images, radius)
    variance = box_mean(images * images, radius) - mean * mean
    slope = variance / (variance + eps)
    return box_mean(slope, radius) * images + box_mean(mean - slope * mean, radius)


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
