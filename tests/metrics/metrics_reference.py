"""The measures once more, image by image in NumPy float64 on 0..255, written from the formulas alone.

Images are uint8-valued float arrays (H, W, 3), rain layers (H, W).
"""

import math

import numpy as np


def rms(values):
    values = np.asarray(values, dtype=np.float64).ravel()
    return math.sqrt(np.mean(values**2)) if values.size else math.nan


def mask_of(rain, threshold):
    return np.asarray(rain) > threshold


def rain_error(output, rainy, mask):
    return rms((output - rainy)[mask])


def background_error(output, background, mask):
    return rms((output - background)[~mask])


def residual_rms(output, background, mask):
    return rms((output - background)[mask])


def removal_share(output, rainy, rain, mask):
    if not mask.any() or mask.all():
        return math.nan, math.nan
    numerator = denominator = 0.0
    centred = []
    for channel in range(3):
        change = rainy[..., channel] - output[..., channel]
        shift = change[~mask].mean()
        centred.append(change[mask] - shift)
        numerator += float(np.dot(centred[-1], rain[mask]))
        denominator += float(np.dot(rain[mask], rain[mask]))
    share = numerator / denominator
    return share, rms([values - share * rain[mask] for values in centred])


def luma(image):
    """BT.601 from its definition: luma 0.299, 0.587, 0.114 squeezed from 0..255 into 16..235."""
    return 16 + 219 * (image @ np.array([0.299, 0.587, 0.114])) / 255


def psnr(image, reference):
    mse = np.mean((image - reference) ** 2)
    return math.inf if mse == 0 else 10 * math.log10(255**2 / mse)
