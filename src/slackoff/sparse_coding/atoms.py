"""Which atoms of a dictionary are rain: those with streaks in the direction of the image's rain."""

import math

import torch
from torch import Tensor

_BINS = 36
_STEEPEST = math.pi / 4
"""Rain falls: its streaks lie no further than this from the vertical, so their gradients from the horizontal."""


def gradients(images: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences to the right and downwards, of all inner pixels: (..., H - 2, W - 2) each."""
    right = (images[..., 1:-1, 2:] - images[..., 1:-1, :-2]) / 2
    down = (images[..., 2:, 1:-1] - images[..., :-2, 1:-1]) / 2
    return right, down


def across_streaks(detail: Tensor) -> float:
    """The direction across the streaks of an image: an angle from the horizontal, in [-pi / 4, pi / 4].

    The highest bin of a histogram of gradient directions, weighted by the gradients' energy. Two circular passes of a
    (1, 2, 1) kernel make it smooth.

    Args:
        detail: (H, W), what of an image may be rain, at least 3 px a side.
    """
    right, down = gradients(detail)
    angle = torch.atan2(down, right) % math.pi
    energy = right.square() + down.square()
    bins = (angle / math.pi * _BINS).long() % _BINS
    histogram = torch.bincount(bins.flatten().cpu(), energy.flatten().double().cpu(), _BINS)
    for _ in range(2):
        histogram = (histogram.roll(1) + 2 * histogram + histogram.roll(-1)) / 4
    centres = (torch.arange(_BINS) + 0.5) * math.pi / _BINS
    centres = torch.where(centres > math.pi / 2, centres - math.pi, centres)
    allowed = histogram.where(centres.abs() <= _STEEPEST, -1.0)
    return float(centres[allowed.argmax()])


def rain_scores(dictionary: Tensor, side: int, across: float) -> Tensor:
    """How much atoms look like rain: the share of gradient energy across the streaks, times the contrast.

    Contrast is the root of the mean gradient energy, relative to that of the strongest atom.

    Args:
        dictionary: atoms of unit norm, (K, side * side).
        side: of a patch, at least 3.
        across: see `across_streaks`.

    Returns:
        (K,), in [0, 1].
    """
    right, down = gradients(dictionary.unflatten(1, (side, side)))
    energy = (right.square() + down.square()).mean((1, 2))
    along_angle = (right * math.cos(across) + down * math.sin(across)).square().mean((1, 2))
    tiny = torch.finfo(dictionary.dtype).tiny
    contrast = (energy / energy.max().clamp(min=tiny)).sqrt()
    return along_angle / energy.clamp(min=tiny) * contrast


def split_atoms(dictionary: Tensor, side: int, across: float, rain_atoms: int) -> tuple[Tensor, Tensor]:
    """The atoms of the background and the `rain_atoms` of the rain, no atom in both."""
    order = rain_scores(dictionary, side, across).argsort(descending=True, stable=True)
    rain = torch.zeros(len(dictionary), dtype=torch.bool, device=dictionary.device)
    rain[order[:rain_atoms]] = True
    return dictionary[~rain], dictionary[rain]
