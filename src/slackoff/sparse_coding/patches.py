"""Overlapping patches of an image, taken apart in bands of rows, and averaged back."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

BAND_PATCHES = 2048
"""About how many patches are held at once."""


def patch_rows(image: Tensor, side: int, step: int) -> Tensor:
    """All patches of an image as a view: (rows, columns, side, side).

    Args:
        image: (H, W), at least `side` a side.
        side: of a patch, in pixels.
        step: between neighbouring patches, in pixels.
    """
    return image.unfold(0, side, step).unfold(1, side, step)


def sample_patches(image: Tensor, side: int, step: int, count: int, generator: torch.Generator) -> Tensor:
    """Patches from random places, each at most once: (at most `count`, side * side).

    Args:
        image, side, step: as for `patch_rows`.
        count: how many; all if there are fewer.
        generator: on the CPU.
    """
    rows = patch_rows(image, side, step)
    columns = rows.shape[1]
    places = torch.randperm(rows.shape[0] * columns, generator=generator)[:count].to(image.device)
    return rows[places // columns, places % columns].flatten(1)


def count_patches(size: Sequence[int], side: int, step: int) -> int:
    """How many patches an image of (H, W) has."""
    return ((size[0] - side) // step + 1) * ((size[1] - side) // step + 1)


def average_patches(
    image: Tensor,
    side: int,
    step: int,
    coder: Callable[[Tensor], Tensor],
    advance: Callable[[int], object] = lambda patches: None,
) -> Tensor:
    """Replace every patch of an image by what a function makes of it; a pixel is the mean of all patches that hold it.

    With the identity as the function, the image itself. Patches are held in bands of `BAND_PATCHES` or one row of
    them, so memory grows with the width of the image and not with its height.

    Args:
        image: (H, W); `step` divides H - side and W - side, so that every pixel lies in a patch.
        side, step: as for `patch_rows`; `step` is at most `side`.
        coder: (P, side * side) to the same.
        advance: told how many patches have been done since it was last told.
    """
    rows = patch_rows(image, side, step)
    total = torch.zeros_like(image)
    band = max(1, BAND_PATCHES // rows.shape[1])
    for first in range(0, rows.shape[0], band):
        chunk = rows[first : first + band]
        coded = coder(chunk.reshape(-1, side * side))
        height = (chunk.shape[0] - 1) * step + side
        top = first * step
        total[top : top + height] += F.fold(coded.T[None], (height, image.shape[1]), side, stride=step)[0, 0]
        advance(len(coded))
    holders = [_holders(size, side, step).to(image) for size in image.shape]
    return total / holders[0][:, None] / holders[1]


def _holders(size: int, side: int, step: int) -> Tensor:
    """How many patches along an axis hold each of its pixels."""
    pixels = torch.arange(size)
    first = ((pixels - side + step).clamp(min=0)).div(step, rounding_mode="floor")
    last = pixels.clamp(max=size - side).div(step, rounding_mode="floor")
    return last - first + 1
