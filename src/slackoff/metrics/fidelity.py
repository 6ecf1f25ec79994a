"""PSNR and SSIM per image, each on RGB or on luma. The two channels give different numbers: never mix them.

Images are float (N, 3, H, W) in [0, 1]; results are float32 (N,). No border is cropped.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from kornia.metrics import ssim as ssim_map
from torch import Tensor

from slackoff.metrics.columns import Channel
from slackoff.metrics.functional import GREY_LEVELS, masked_sums, squared_error

Window = Literal["gaussian", "uniform"]

SSIM_WINDOW: dict[Window, int] = {"gaussian": 11, "uniform": 7}
"""Pixels; the Gaussian of sigma 1.5 is cut to this window (Wang et al. 2004)."""


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


def psnr_sums(image: Tensor, reference: Tensor, channel: Channel = "rgb") -> tuple[Tensor, Tensor]:
    """Sum of squared errors in squared grey levels (channels averaged) and number of pixels: float64 (N,)."""
    error = squared_error(select_channel(image, channel), select_channel(reference, channel))
    return masked_sums(error, torch.ones_like(error, dtype=torch.bool))


def decibel(sum_of_squares: Tensor, count: Tensor) -> Tensor:
    """PSNR in dB for a peak of 255, in the precision given: infinite for no error, NaN where `count` is 0."""
    return 10 * torch.log10(GREY_LEVELS**2 * count / sum_of_squares)


def psnr(image: Tensor, reference: Tensor, channel: Channel = "rgb") -> Tensor:
    """PSNR per image in dB, peak 255 for both channels, float32 (N,); infinite for identical images.

    An average over images counts an infinite value as 100 dB (`columns.PSNR_CAP_DB`). The mean of per-image
    PSNRs is not the PSNR of the pooled error; tables here always show the former unless they say "pooled".
    """
    return decibel(*psnr_sums(image, reference, channel)).float()


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
        values = _uniform_ssim(first, second) if window == "uniform" else _gaussian_ssim(first, second)
    return values.mean(dim=(1, 2, 3)).float()


def _gaussian_ssim(first: Tensor, second: Tensor) -> Tensor:
    return ssim_map(first, second, SSIM_WINDOW["gaussian"], max_val=1.0, eps=0.0, padding="valid")


def _uniform_ssim(first: Tensor, second: Tensor) -> Tensor:
    side = SSIM_WINDOW["uniform"]
    mean1, mean2 = F.avg_pool2d(first, side, 1), F.avg_pool2d(second, side, 1)
    unbiased = side**2 / (side**2 - 1)
    variance1 = unbiased * (F.avg_pool2d(first.square(), side, 1) - mean1.square())
    variance2 = unbiased * (F.avg_pool2d(second.square(), side, 1) - mean2.square())
    covariance = unbiased * (F.avg_pool2d(first * second, side, 1) - mean1 * mean2)
    c1, c2 = 0.01**2, 0.03**2
    alike = (2 * mean1 * mean2 + c1) * (2 * covariance + c2)
    return alike / ((mean1.square() + mean2.square() + c1) * (variance1 + variance2 + c2))
