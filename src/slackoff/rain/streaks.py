"""The training rain: seeds, plus-shaped blur, line kernel, stretch to 8 bit, for a whole batch at once.

Re-implementation of the generator that the paper's lab uses (a public Photoshop-recipe script, PromptGIP's copy);
a per-image OpenCV reference in the tests holds it to one grey level.
"""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from slackoff.rain.kernels import line_kernels
from slackoff.rain.ranges import MAX_LENGTH, RainParameters, RainRange


def render_streaks(
    rain_range: RainRange,
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
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 2
