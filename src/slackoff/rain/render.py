"""Rendering of rain layers: seeds, plus-shaped blur, line kernels, stretch to 8 bit, for a whole batch at once.

Re-implementation of the generator that the paper's lab uses (a public Photoshop-recipe script, PromptGIP's copy),
which calls OpenCV for each image. Here a whole batch is drawn with the same arithmetic (warpAffine's coordinates in
1/32 px, getGaussianKernel's fixed tables, reflect-101 borders); a per-image OpenCV reference in the tests holds it to
one grey level.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from slackoff.rain.ranges import MAX_LENGTH, OwnRain, RainParameters, RainRange, ThinRain

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
    return blur @ lines @ blur.mT


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


def render_streaks(
    rain_range: RainRange | OwnRain,
    count: int,
    height: int,
    width: int,
    generator: Generator,
    part: slice = slice(None),
    device: torch.device | None = None,
) -> Tensor:
    """Draw ``count`` independent rain layers from a range.

    The brightness of a layer depends on its size, because each is stretched to [0, 255] by itself: compare layers
    of equal size only.

    Args:
        rain_range: where the parameters are drawn from.
        count: how many layers.
        height, width: size in px, each more than half the longest length.
        generator: the same state gives the same rain; one on the CPU gives it on every device.
        part: render only these of the layers (one rank's share); the draws are those of all ``count``.
        device: to render on; the generator's if None.

    Returns:
        R, float32, (count or fewer, 1, height, width), in [0, 1] in steps of 1/255.
    """
    if not isinstance(rain_range, RainRange):
        own = rain_range.draw(count, height, width, generator)[part]
        return own if device is None else to_device(own, device)
    parameters = rain_range.sample(count, generator)
    noise = torch.rand(count, height, width, generator=generator, device=generator.device)[part] * 256.0
    drawn = torch.stack(parameters)[:, part]
    if device is not None:
        noise, drawn = to_device(noise, device), to_device(drawn, device)
    share = RainParameters(*drawn.unbind())
    return streaks_from_noise(noise, share, rain_range.legacy_scale, rain_range.kernel_side)


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Move what was drawn; a GPU is not waited for, which takes memory that it can read by itself."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def streaks_from_noise(
    noise: Tensor, parameters: RainParameters, legacy_scale: bool = True, kernel_side: int = MAX_LENGTH
) -> Tensor:
    """The generator without its randomness.

    Args:
        noise: uniform in [0, 256), float32, (N, H, W).
        parameters: (N,) each.
        legacy_scale, kernel_side: see ``line_kernels``; a smaller side is quicker and changes nothing else.

    Returns:
        R, float32, (N, 1, H, W), in [0, 1] in steps of 1/255.
    """
    threshold = 256.0 - 0.01 * parameters.quantity.to(noise.dtype)
    seeds = noise * (noise >= threshold[:, None, None])
    streaks = _correlate(_plus_blur(seeds), line_kernels(parameters, legacy_scale, kernel_side))
    low, high = streaks.amin((1, 2), keepdim=True), streaks.amax((1, 2), keepdim=True)
    stretched = (streaks - low) / (high - low).clamp_min(1e-12) * 255.0
    return (stretched.floor() / 255.0).unsqueeze(1)


def _plus_blur(seeds: Tensor) -> Tensor:
    """Correlate with the 3x3 plus: centre 8, four neighbours 0.1, corners 0; reflect-101 border."""
    padded = F.pad(seeds, (1, 1, 1, 1), mode="reflect")
    neighbours = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
    return 8.0 * seeds + 0.1 * neighbours


def _correlate(images: Tensor, kernels: Tensor) -> Tensor:
    """Correlate each image with its own S x S kernel (anchor S/2), reflect-101 border, through the FFT."""
    height, width = images.shape[-2:]
    before = kernels.shape[-1] // 2
    padded = F.pad(images, (before, before - 1, before, before - 1), mode="reflect")
    size = (_fast_length(padded.shape[-2]), _fast_length(padded.shape[-1]))
    spectrum = torch.fft.rfft2(padded, s=size) * torch.fft.rfft2(kernels, s=size).conj()
    return torch.fft.irfft2(spectrum, s=size)[:, :height, :width]


def _fast_length(length: int) -> int:
    """The next even length whose only prime factors are 2, 3 and 5: FFTs of such lengths are quick."""
    length += length % 2
    while 60 ** length.bit_length() % length:
        length += 2
    return length


def render_layer(rain: RainRange | ThinRain | OwnRain, height: int, width: int, generator: Generator) -> Tensor:
    """Draw one layer.

    Args:
        rain: a training range, thin rain, or rain of one's own.
        height, width: size in px.
        generator: a CPU generator; the same state gives the same rain.

    Returns:
        R, float32, (1, 1, height, width), in [0, 1] in steps of 1/255.
    """
    if isinstance(rain, ThinRain):
        return rain.render(height, width, generator)
    return render_streaks(rain, 1, height, width, generator)


def add_rain(background: Tensor, rain: Tensor) -> Tensor:
    """The image model O = clip(B + R) of "Networks are Slacking Off", section 3.

    Args:
        background: B, float, (N, 3, H, W), in [0, 1].
        rain: R, float, (N, 1, H, W), in [0, 1]; achromatic, added to each channel alike.

    Returns:
        O, float, (N, 3, H, W), in [0, 1].
    """
    return (background + rain).clamp(0.0, 1.0)
