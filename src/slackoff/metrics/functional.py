"""What is measured of a derained image, as pure functions of tensors: rain removal, background error, PSNR, SSIM.

Images are float (N, 3, H, W) and rain layers (N, 1, H, W), both in [0, 1]; masks are bool (N, 1, H, W), True
in the rain. Results are one number per image, float32 (N,), NaN where the pixels they are taken over do not exist, in
grey levels of 0..255 unless said otherwise. E_R, E_B and the removal share are those of Gu et al., NeurIPS 2023.

The functions named `..._sums` return the two sums whose quotient a figure is taken from, so that both "per image, then
mean" and "pooled over all images" can be formed.
"""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from kornia.metrics import ssim as ssim_map
from torch import Tensor

from slackoff.metrics.columns import Channel

GREY_LEVELS = 255.0

Window = Literal["gaussian", "uniform"]

SSIM_WINDOW: dict[Window, int] = {"gaussian": 11, "uniform": 7}
"""Pixels; the Gaussian of sigma 1.5 is cut to this window (Wang et al. 2004)."""

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


class Sums(NamedTuple):
    """Two sums of each image, float64 (N,), float32 on devices without it: a figure is taken from their quotient.

    `weight` counts what `total` adds up (pixels, or squared rain); 0 marks an image on which the figure is not defined.
    """

    total: Tensor
    weight: Tensor


def masked_sums(values: Tensor, mask: Tensor) -> Sums:
    """Sum of `values` (N, 1, H, W) over the mask, and the number of its pixels."""
    if mask.shape != values.shape or mask.dtype != torch.bool:
        raise ValueError(f"expected a bool mask {tuple(values.shape)}, got {mask.dtype} {tuple(mask.shape)}")
    pixels = (1, 2, 3)
    return Sums(torch.where(mask, values, 0).sum(pixels), mask.sum(pixels).to(values.dtype))


def whole_sums(values: Tensor) -> Sums:
    """Sum of `values` (N, 1, H, W) over each whole image, and the number of its pixels."""
    total = values.sum((1, 2, 3))
    return Sums(total, torch.full_like(total, values.shape[1:].numel()))


def root_mean(sums: Sums) -> Tensor:
    """sqrt(total / weight); NaN where the weight is 0."""
    return mean(sums).sqrt()


def mean(sums: Sums) -> Tensor:
    """total / weight; NaN where the weight is 0."""
    return sums.total / sums.weight


def error_sums(image: Tensor, reference: Tensor, mask: Tensor) -> Sums:
    """Sum of squared errors over the mask (channels averaged), and its number of pixels.

    `root_mean(error_sums(...))` is the RMS per image; add both up over images first for the pooled RMS.
    """
    return masked_sums(squared_error(image, reference), mask)


def rain_error(output: Tensor, rainy: Tensor, mask: Tensor) -> Tensor:
    """E_R: RMS change that the network made to its *input* inside the rain; 0 for an untouched image.

    Higher means more rain removed, or a picture spoilt: read it beside its oracle, the E_R of the background as output
    (the RMS of the visible, clipped rain O - B), and beside `removal_share`.
    """
    return root_mean(error_sums(output, rainy, mask)).float()


def background_error(output: Tensor, background: Tensor, mask: Tensor) -> Tensor:
    """E_B: RMS error against the background where there is no rain. Lower is better."""
    return root_mean(error_sums(output, background, ~mask)).float()


def residual_rms(output: Tensor, background: Tensor, mask: Tensor) -> Tensor:
    """RMS error against the background inside the rain: rain left over and damage together."""
    return root_mean(error_sums(output, background, mask)).float()


class RemovalSums(NamedTuple):
    """Sums over the rain pixels and the channels of each image; D = O - output - c, on the 0..255 scale.

    `share`: of D R, and of R^2, so that their quotient is the removal share; `leftover`: of (D - share R)^2, and the
    number of samples, pixels times channels.
    """

    share: Sums
    leftover: Sums


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
    along_rain, rain_energy, leftover, samples = (
        torch.where(measurable, x, 0) for x in (along_rain, rain_energy, leftover, samples)
    )
    return RemovalSums(Sums(along_rain, rain_energy), Sums(leftover, samples))


def removal_share(output: Tensor, rainy: Tensor, rain: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """How much of the rain was taken out, an overall shift of the picture discounted: (share, leftover_rms).

    c, per channel, is the mean change O - output over the rain-free pixels: what the network does where there
    is nothing to remove. share = sum_M (O - output - c) R / sum_M R^2 over rain pixels and channels: 1 = rain
    removed, 0 = untouched or merely shifted. leftover_rms, in grey levels, is the RMS over M of what share *
    R leaves of (O - output - c). Both float32 (N,), NaN without a rain pixel or without a rain-free one.
    """
    sums = removal_sums(output, rainy, rain, mask)
    return mean(sums.share).float(), root_mean(sums.leftover).float()


def luma(image: Tensor) -> Tensor:
    """Y of ITU-R BT.601 in studio range, as MATLAB's rgb2ycbcr gives it for float images: (N, 1, H, W).

    Y = (16 + 65.481 R + 128.553 G + 24.966 B) / 255, from 16 / 255 (black) to 235 / 255 (white), not rounded
    to 8 bit: the scripts of PReNet and RCDNet (im2double, then rgb2ycbcr) and BasicSR do not round it either.
    """
    red, green, blue = image.unbind(dim=1)
    return ((16 + 65.481 * red + 128.553 * green + 24.966 * blue) / GREY_LEVELS).unsqueeze(1)


def select_channel(image: Tensor, channel: Channel) -> Tensor:
    """The image itself for 'rgb', its luma (N, 1, H, W) for 'y'; ValueError for anything else."""
    if channel == "rgb":
        return image
    if channel == "y":
        return luma(image)
    raise ValueError(f"channel is 'rgb' or 'y', not {channel!r}")


def psnr_sums(image: Tensor, reference: Tensor, channel: Channel = "rgb") -> Sums:
    """Sum of squared errors in squared grey levels (channels averaged), and the number of pixels."""
    return whole_sums(squared_error(select_channel(image, channel), select_channel(reference, channel)))


def decibel(sums: Sums) -> Tensor:
    """PSNR in dB for a peak of 255, from squared grey levels: infinite for no error, NaN where the weight is 0."""
    return 10 * torch.log10(GREY_LEVELS**2 * sums.weight / sums.total)


def psnr(image: Tensor, reference: Tensor, channel: Channel = "rgb") -> Tensor:
    """PSNR per image in dB, peak 255 for both channels, no border cropped; infinite for identical images.

    RGB and luma give different numbers: never mix them. An average over images counts an infinite value as 100 dB
    (`columns.PSNR_CAP_DB`). The mean of per-image PSNRs is not the PSNR of the pooled error; tables here always show
    the former unless they say "pooled".
    """
    return decibel(psnr_sums(image, reference, channel)).float()


def ssim(image: Tensor, reference: Tensor, channel: Channel = "rgb", window: Window = "gaussian") -> Tensor:
    """SSIM per image (Wang et al. 2004), mean over channels and all positions where the window fits: (N,).

    `window`: "gaussian" is 11x11, sigma 1.5, population covariance, data range 1, K = (0.01, 0.03): the same as
    scikit-image with `gaussian_weights=True, sigma=1.5, use_sample_covariance=False`. "uniform" is 7x7, sample
    covariance: the same as scikit-image's own choice. NaN for images smaller than the window.
    """
    if min(image.shape[-2:]) < SSIM_WINDOW[window]:
        return torch.full((image.shape[0],), torch.nan, device=image.device)
    # Variances are small differences of large numbers: TF32, CUDA's default for convolutions, and bf16
    # autocast would spoil them.
    dtype = torch.float64 if image.device.type == "cuda" or window == "uniform" else torch.float32
    with torch.autocast(image.device.type, enabled=False):
        first, second = (select_channel(x.to(dtype), channel) for x in (image, reference))
        if window == "uniform":
            values = _uniform_ssim(first, second)
        else:
            values = ssim_map(first, second, SSIM_WINDOW[window], max_val=1.0, eps=0.0, padding="valid")
    return values.mean(dim=(1, 2, 3)).float()


def _uniform_ssim(first: Tensor, second: Tensor) -> Tensor:
    side = SSIM_WINDOW["uniform"]
    mean1, mean2 = F.avg_pool2d(first, side, 1), F.avg_pool2d(second, side, 1)
    unbiased = side**2 / (side**2 - 1)
    variances = F.avg_pool2d(first.square() + second.square(), side, 1) - mean1.square() - mean2.square()
    covariance = F.avg_pool2d(first * second, side, 1) - mean1 * mean2
    c1, c2 = 0.01**2, 0.03**2
    alike = (2 * mean1 * mean2 + c1) * (2 * unbiased * covariance + c2)
    return alike / ((mean1.square() + mean2.square() + c1) * (unbiased * variances + c2))
