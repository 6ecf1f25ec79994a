"""Multi-scale structural complexity (Bagrov et al., PNAS 117(48), 2020), as pure functions of tensors.

An image A_0 is averaged over blocks of F x F pixels (F the filter size), the result again over blocks of F x F, and so
on; A_k, written back at full size, is constant on blocks of F^k x F^k pixels. With the overlaps
O_ij = mean over pixels of A_i . A_j (the dot product of the channels), what scale k holds is

    C_k = |O_{k+1,k} - (O_{k,k} + O_{k+1,k+1}) / 2|,        C = sum of C_k over k = k0 ... K - 1.

Because the means are nested, C_k = mean |A_k - A_{k+1}|^2 / 2 (the form that is computed here: nothing cancels), and
the sum telescopes to (Var A_{k0} - Var A_K) / 2, where Var adds up the variances of the channels. With k0 = 0 and as
many scales as the image has, C is half the variance of its pixels and says nothing of structure: k0 decides what C
means. C grows with the square of the value range.
"""

import torch
from torch import Tensor

from slackoff.errors import SlackoffError
from slackoff.metrics.functional import precise_dtype


def scale_complexities(image: Tensor, depth: int, filter_size: int = 2) -> Tensor:
    """C_k of each image for k = 0 ... depth - 1.

    Args:
        image: (N, C, H, W) of any dtype; values in [0, 1] unless C is meant for another range.
        depth: number of scales K.
        filter_size: side F of the block that one step averages over, in pixels of the step before.

    Returns:
        (N, depth), float64 (float32 on devices without it). A grey image repeated in three channels has three times
        the value of its single channel.

    Raises:
        SlackoffError: the filter is smaller than 2, or both sides are not divisible by F^depth.
    """
    _check(image, depth, filter_size)
    current = image.to(precise_dtype(image.device))
    scales = []
    for _ in range(depth):
        count, channels, height, width = current.shape
        rows, columns = height // filter_size, width // filter_size
        blocks = current.reshape(count, channels, rows, filter_size, columns, filter_size)
        means = blocks.mean((3, 5), keepdim=True)
        scales.append((blocks - means).square().mean((2, 3, 4, 5)).sum(1) / 2)
        current = means.reshape(count, channels, rows, columns)
    return torch.stack(scales, dim=1)


def structural_complexity(image: Tensor, depth: int, filter_size: int = 2, k0: int = 0) -> Tensor:
    """C of each image, the sum of `scale_complexities` over k = k0 ... depth - 1: (N,).

    Raises:
        SlackoffError: as `scale_complexities`, or k0 is not one of the scales.
    """
    if not 0 <= k0 < depth:
        raise SlackoffError(f"k0={k0} is none of the scales 0 ... {depth - 1}: choose one of them, or a larger depth.")
    return scale_complexities(image, depth, filter_size)[:, k0:].sum(1)


def full_depth(height: int, width: int, filter_size: int = 2) -> int:
    """The largest depth that `scale_complexities` takes: 7 for 128 x 128 pixels and a filter of 2."""
    if filter_size < 2 or min(height, width) < 1:
        return 0
    depth = 0
    while height % filter_size ** (depth + 1) == 0 and width % filter_size ** (depth + 1) == 0:
        depth += 1
    return depth


def standardise(image: Tensor) -> Tensor:
    """Each image with mean 0 in every channel and variances that add up to 1 over the channels.

    (N, C, H, W) to the same shape in float64 (float32 on devices without it). So C with k0 = 0 and full depth becomes
    1/2 for every image, and what is left is how its contrast is spread over the scales. NaN for an image without any
    contrast, for which that is not defined.
    """
    precise = image.to(precise_dtype(image.device))
    centred = precise - precise.mean((2, 3), keepdim=True)
    variance = centred.square().mean((2, 3), keepdim=True).sum(1, keepdim=True)
    # A flat image in float64 keeps a variance of rounding errors, about 1e-32 for values up to 1.
    flat = variance <= 1e-12 * precise.square().mean((1, 2, 3), keepdim=True)
    return torch.where(flat, torch.nan, centred / variance.sqrt())


def _check(image: Tensor, depth: int, filter_size: int) -> None:
    if image.ndim != 4:
        raise ValueError(f"images are (N, C, H, W), got {tuple(image.shape)}")
    if filter_size < 2:
        raise SlackoffError(f"A filter of {filter_size} x {filter_size} pixels averages nothing: use 2 or more.")
    if depth < 1:
        raise SlackoffError(f"A depth of {depth} leaves no scale to measure: use 1 or more.")
    height, width = image.shape[-2:]
    deepest = full_depth(height, width, filter_size)
    if depth > deepest:
        lower = f" or lower the depth to {deepest}" if deepest else ""
        raise SlackoffError(
            f"Images of {height} x {width} px cannot be averaged {depth} times over {filter_size} x {filter_size} "
            f"blocks: crop both sides to multiples of {filter_size**depth} px{lower}."
        )
