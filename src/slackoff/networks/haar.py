"""The orthonormal Haar wavelet transform of feature maps and its inverse, in the channel orders that SPDNet uses."""

import torch
import torch.nn.functional as F
from torch import Tensor


def haar(x: Tensor) -> Tensor:
    """One level of the transform: (N, C, H, W) to (N, 4 C, ceil(H / 2), ceil(W / 2)).

    A cell [[a, b], [c, d]] becomes, over 2, the bands a+b-c-d, a-b+c-d and a-b-c+d and the mean a+b+c+d. The channels
    are four blocks of C: all of the first band, of the second, of the third, then the means. An odd height or width
    is first extended by one row or column of zeros at the end.
    """
    height, width = x.shape[-2:]
    x = F.pad(x, (0, width % 2, 0, height % 2))
    top, bottom = x[..., ::2, :], x[..., 1::2, :]
    total, step = top + bottom, top - bottom
    total_left, total_right = total[..., ::2], total[..., 1::2]
    step_left, step_right = step[..., ::2], step[..., 1::2]
    bands = [step_left + step_right, total_left - total_right, step_left - step_right, total_left + total_right]
    return torch.cat(bands, dim=1) / 2


def inverse_haar(bands: Tensor) -> Tensor:
    """Cells from their bands: (N, 4 C, H, W) to (N, C, 2 H, 2 W).

    The channels are C groups of four, each (mean, first, second, third band of ``haar``): another order than that of
    ``haar``, as in the original.
    """
    mean, first, second, third = bands.unflatten(1, (-1, 4)).unbind(2)
    top, bottom = mean + first, mean - first
    right, turn = second + third, second - third
    cells = torch.stack([top + right, top - right, bottom + turn, bottom - turn], dim=2)
    return F.pixel_shuffle(cells.flatten(1, 2), 2) / 2
