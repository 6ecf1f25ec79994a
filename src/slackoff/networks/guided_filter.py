"""The guided filter (He, Sun, Tang, ECCV 2010) of an image by itself: smooths, and keeps strong edges."""

import torch.nn.functional as F
from torch import Tensor


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
