"""The line kernel of one streak: a rotated diagonal, blurred to a width, exactly as OpenCV draws it.

The public generator calls OpenCV for each image; here a whole batch is drawn at once with the same arithmetic:
warpAffine's coordinates in 1/32 px, getGaussianKernel's fixed tables, reflect-101 borders.
"""

from functools import lru_cache

import torch
from torch import Tensor

from slackoff.rain.ranges import MAX_LENGTH, RainParameters

# OpenCV's getGaussianKernel(w, sigma=0): fixed tables for these sizes, not samples of a Gaussian.
_GAUSSIAN_TAPS = {
    1: (1.0,),
    3: (0.25, 0.5, 0.25),
    5: (0.0625, 0.25, 0.375, 0.25, 0.0625),
    7: (0.03125, 0.109375, 0.21875, 0.28125, 0.21875, 0.109375, 0.03125),
    9: tuple(tap / 256 for tap in (4, 13, 30, 51, 60, 51, 30, 13, 4)),
}
_COORDINATE_SCALE = 1024  # warpAffine keeps coordinates as integers in 1/1024 px ...
_SUBPIXELS = 32  # ... and interpolates at 1/32 px


def line_kernels(parameters: RainParameters, legacy_scale: bool = True, side: int = MAX_LENGTH) -> Tensor:
    """Draw one line kernel an image.

    The L x L identity is rotated by ``angle_deg`` - 45 about (L/2, L/2) with scale 1 - L/100, then blurred with a
    w x w window. Quirks of the public generator that are kept: a streak is about min(L, sqrt(2) L (1 - L/100)) px
    long, so L = 60 gives no longer streaks than L = 40; and odd L gives a softer line two pixels wide.

    Args:
        parameters: (N,) each; only width, length and angle are used.
        legacy_scale: keep the scale 1 - L/100; False leaves it out (the follow-up's correction).
        side: side S of the square that holds each kernel, px; even, and at least the longest length.

    Returns:
        float32, (N, S, S): each kernel at rows and columns S/2 - L//2 onwards, so that index (S/2, S/2) is every
        kernel's anchor; zero elsewhere.
    """
    lines = _rotated_diagonals(parameters.length, parameters.angle_deg, legacy_scale, side)
    blur = _blur_matrices(side, lines.device)[parameters.width // 2, parameters.length]
    return blur @ lines @ blur.transpose(1, 2)


def _rotated_diagonals(length: Tensor, angle_deg: Tensor, legacy_scale: bool, side: int) -> Tensor:
    """warpAffine(eye(L), getRotationMatrix2D((L/2, L/2), angle - 45, scale), (L, L)), anchored at S/2."""
    centre = length.double() / 2.0
    scale = 1.0 - length.double() / 100.0 if legacy_scale else torch.ones_like(centre)
    radians = torch.deg2rad(angle_deg.double() - 45.0)
    # The inverse map (output to source): rotation back by the angle, divided by the scale.
    cosine, sine = radians.cos() / scale, radians.sin() / scale
    offset_x = centre - cosine * centre + sine * centre
    offset_y = centre - sine * centre - cosine * centre

    grid = torch.arange(side, device=length.device)
    index = grid[None] - (side // 2 - length // 2)[:, None]  # (N, S), 0..L-1 inside the kernel
    position = index.double()
    source_x = _fixed_point(cosine, -sine, offset_x, position)
    source_y = _fixed_point(sine, cosine, offset_y, position)
    inside = (index >= 0) & (index < length[:, None])
    return _sample_identity(source_x, source_y, length) * (inside[:, :, None] & inside[:, None, :])


def _fixed_point(along_x: Tensor, along_y: Tensor, offset: Tensor, position: Tensor) -> Tensor:
    """Source coordinate of every output pixel in 1/32 px, rounded where warpAffine rounds; int32, (N, S, S)."""
    half = _COORDINATE_SCALE // _SUBPIXELS // 2
    column = (along_x[:, None] * position * _COORDINATE_SCALE).round().int()
    row = ((along_y[:, None] * position + offset[:, None]) * _COORDINATE_SCALE).round().int() + half
    return (row[:, :, None] + column[:, None, :]) >> 5


def _sample_identity(source_x: Tensor, source_y: Tensor, length: Tensor) -> Tensor:
    """Bilinear value of an L x L identity matrix at a position in 1/32 px, zero outside; float32."""
    x, y = source_x >> 5, source_y >> 5
    fraction_x, fraction_y = (source_x & 31).float() / 32.0, (source_y & 31).float() / 32.0
    last = length[:, None, None].int() - 1
    step = x - y
    on_diagonal = (1 - fraction_x) * (1 - fraction_y) * ((x >= 0) & (x <= last))
    next_on_diagonal = fraction_x * fraction_y * ((x >= -1) & (x < last))
    below = (1 - fraction_x) * fraction_y * ((x >= 0) & (x <= last))
    right = fraction_x * (1 - fraction_y) * ((y >= 0) & (y <= last))
    return (on_diagonal + next_on_diagonal) * (step == 0) + below * (step == 1) + right * (step == -1)


@lru_cache(maxsize=8)
def _blur_matrices(side: int, device: torch.device) -> Tensor:
    """One-dimensional blur with reflect-101 borders as a matrix; float32, (width // 2, length, S, S)."""
    table = torch.zeros(5, side + 1, side, side)
    for width, taps in _GAUSSIAN_TAPS.items():
        radius = width // 2
        for length in range(radius + 1, side + 1):
            start = side // 2 - length // 2
            row = torch.arange(length)
            for shift, tap in zip(range(-radius, radius + 1), taps, strict=True):
                column = (row + shift).abs()
                column = torch.where(column > length - 1, 2 * (length - 1) - column, column)
                entry = (row + start, column + start)
                table[radius, length].index_put_(entry, torch.tensor(tap), accumulate=True)
    return table.to(device)
