"""Rain removal and background error, as pure functions of tensors (Gu et al., NeurIPS 2023).

Images are float (N, 3, H, W) and rain layers (N, 1, H, W), both in [0, 1]; masks are bool (N, 1, H, W), True
in the rain. Results are one number per image, float32 (N,), in grey levels of 0..255 unless said otherwise,
and NaN where the pixels they are taken over do not exist. The functions named `..._sums` return float64 sums
instead, from which both "per image, then mean" and "pooled over all images" can be formed (float32 on devices
without float64).
"""

from typing import NamedTuple

import torch
from torch import Tensor

GREY_LEVELS = 255.0

_THRESHOLD_TOLERANCE = 1e-3
"""Grey levels; 8-bit values in float32 are off by up to 3e-5, and 10 / 255 * 255 must not exceed 10."""


def quantise(image: Tensor, truncate: bool = False) -> Tensor:
    """Clamp to [0, 1] and round to the 256 values of an 8-bit file, any shape, float32 in [0, 1].

    `truncate` rounds down instead, as a bare cast to 8-bit integers does; 8-bit values stay as they are.
    """
    levels = image.float().clamp(0, 1).mul(GREY_LEVELS)
    return (levels.add(_THRESHOLD_TOLERANCE).floor() if truncate else levels.round()).div(GREY_LEVELS)


def rain_mask(rain: Tensor, threshold: float) -> Tensor:
    """Pixels with rain above `threshold` grey levels: M = 1 where 255 R > t, bool (N, 1, H, W).

    An 8-bit rain of exactly `threshold` is outside the mask whatever its rounding in float32.
    """
    if rain.ndim != 4 or rain.shape[1] != 1:
        raise ValueError(f"a rain layer is (N, 1, H, W), got {tuple(rain.shape)}")
    return rain.float() * GREY_LEVELS > threshold + _THRESHOLD_TOLERANCE


def rain_from_pair(rainy: Tensor, background: Tensor) -> Tensor:
    """Rain layer of a stored pair: the largest O - B of the three channels, at least 0: (N, 1, H, W).

    The largest, because a channel that clipped at white shows less than the true rain.
    """
    return (rainy - background).amax(dim=1, keepdim=True).clamp_min(0)


def precise_dtype(device: torch.device) -> torch.dtype:
    """float64 where the device has it, float32 on Apple's MPS."""
    return torch.float32 if device.type == "mps" else torch.float64


def squared_error(image: Tensor, reference: Tensor) -> Tensor:
    """Squared difference per pixel, averaged over channels: float64 (N, 1, H, W) in squared grey levels."""
    if image.shape != reference.shape:
        raise ValueError(f"images of different shape: {tuple(image.shape)} and {tuple(reference.shape)}")
    dtype = precise_dtype(image.device)
    return ((image.to(dtype) - reference.to(dtype)) * GREY_LEVELS).square().mean(dim=1, keepdim=True)


def masked_sums(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of `values` (N, 1, H, W) over the mask, and the number of its pixels: two float64 (N,)."""
    if mask.shape != values.shape or mask.dtype != torch.bool:
        raise ValueError(f"expected a bool mask {tuple(values.shape)}, got {mask.dtype} {tuple(mask.shape)}")
    pixels = (1, 2, 3)
    return torch.where(mask, values, 0).sum(pixels), mask.sum(pixels).to(values.dtype)


def root_mean(sum_of_squares: Tensor, count: Tensor) -> Tensor:
    """sqrt(sum / count) as float32; NaN where `count` is 0."""
    return (sum_of_squares / count).sqrt().float()


def error_sums(image: Tensor, reference: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of squared errors over the mask (channels averaged) and its number of pixels: two float64 (N,).

    `root_mean(*error_sums(...))` is the RMS per image; add both up over images first for the pooled RMS.
    """
    return masked_sums(squared_error(image, reference), mask)


def rain_error(output: Tensor, rainy: Tensor, mask: Tensor) -> Tensor:
    """E_R: RMS change that the network made to its *input* inside the rain; 0 for an untouched image.

    Higher means more rain removed, or a picture spoilt: read it beside its oracle and `removal_share`.
    """
    return root_mean(*error_sums(output, rainy, mask))


def oracle_rain_error(background: Tensor, rainy: Tensor, mask: Tensor) -> Tensor:
    """E_R of the perfect output: the RMS of the visible (clipped) rain O - B inside the mask."""
    return rain_error(background, rainy, mask)


def background_error(output: Tensor, background: Tensor, mask: Tensor) -> Tensor:
    """E_B: RMS error against the background where there is no rain. Lower is better."""
    return root_mean(*error_sums(output, background, ~mask))


def residual_rms(output: Tensor, background: Tensor, mask: Tensor) -> Tensor:
    """RMS error against the background inside the rain: rain left over and damage together."""
    return root_mean(*error_sums(output, background, mask))


class RemovalSums(NamedTuple):
    """Sums over the rain pixels and the channels of one image each, float64 (N,); D = O - output - c.

    `along_rain` = sum of D R and `rain_energy` = sum of R^2, so that their quotient is the removal share;
    `leftover` = sum of (D - share R)^2 and `samples` = pixels times channels, all on the 0..255 scale.
    """

    along_rain: Tensor
    rain_energy: Tensor
    leftover: Tensor
    samples: Tensor


def removal_sums(output: Tensor, rainy: Tensor, rain: Tensor, mask: Tensor) -> RemovalSums:
    """The sums behind `removal_share`; an image without rain pixels or without rain-free ones gives zeros."""
    dtype = precise_dtype(output.device)
    change = (rainy.to(dtype) - output.to(dtype)) * GREY_LEVELS
    layer = rain.to(dtype) * GREY_LEVELS
    free_pixels = (~mask).sum((2, 3), keepdim=True)
    shift = torch.where(mask, 0, change).sum((2, 3), keepdim=True) / free_pixels
    centred = change - shift

    every = (1, 2, 3)
    along_rain = torch.where(mask, centred * layer, 0).sum(every)
    rain_energy = torch.where(mask, layer.square(), 0).sum(every) * output.shape[1]
    share = (along_rain / rain_energy).view(-1, 1, 1, 1)
    leftover = torch.where(mask, (centred - share * layer).square(), 0).sum(every)
    samples = mask.sum(every).to(dtype) * output.shape[1]

    measurable = (free_pixels.flatten() > 0) & (rain_energy > 0)
    return RemovalSums(*(torch.where(measurable, x, 0) for x in (along_rain, rain_energy, leftover, samples)))


def removal_share(output: Tensor, rainy: Tensor, rain: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """How much of the rain was taken out, an overall shift of the picture discounted: (share, leftover_rms).

    c, per channel, is the mean change O - output over the rain-free pixels: what the network does where there
    is nothing to remove. share = sum_M (O - output - c) R / sum_M R^2 over rain pixels and channels: 1 = rain
    removed, 0 = untouched or merely shifted. leftover_rms, in grey levels, is the RMS over M of what share *
    R leaves of (O - output - c). Both float32 (N,), NaN without a rain pixel or without a rain-free one.
    """
    sums = removal_sums(output, rainy, rain, mask)
    share = (sums.along_rain / sums.rain_energy).float()
    return share, root_mean(sums.leftover, sums.samples)
