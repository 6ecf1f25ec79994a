"""The measures once more, image by image in NumPy float64 on 0..255, written from the formulas alone.

Images are uint8-valued float arrays (H, W, 3), rain layers (H, W); scenes are (output, background, rain, rainy). The
`..._sums` give the two sums whose quotient a measure is taken from, (0, 0) where it is not defined.
"""

import math

import numpy as np


def rms(values):
    values = np.asarray(values, dtype=np.float64).ravel()
    return math.sqrt(np.mean(values**2)) if values.size else math.nan


def squares(values):
    return float((values**2).mean(axis=-1).sum()), len(values)


def rain_sums(output, background, rain, rainy, threshold):
    return squares((output - rainy)[rain > threshold])


def free_sums(output, background, rain, rainy, threshold):
    return squares((output - background)[rain <= threshold])


def residual_sums(output, background, rain, rainy, threshold):
    return squares((output - background)[rain > threshold])


def share_sums(output, background, rain, rainy, threshold):
    mask, change = rain > threshold, rainy - output
    if not mask.any() or mask.all():
        return 0.0, 0.0
    centred = change - change[~mask].mean(axis=0)
    return float((centred[mask] * rain[mask][:, None]).sum()), 3 * float((rain[mask] ** 2).sum())


def leftover(output, background, rain, rainy, threshold):
    mask, change = rain > threshold, rainy - output
    centred, share = (
        change - change[~mask].mean(axis=0),
        np.divide(*share_sums(output, background, rain, rainy, threshold)),
    )
    return rms(centred[mask] - share * rain[mask][:, None])


def figures(scene, threshold):
    """E_R, E_B, residual, share and leftover of one scene."""
    roots = {"e_r": rain_sums, "e_b": free_sums, "residual_rms": residual_sums}
    found = {name: math.sqrt(np.divide(*sums(*scene, threshold))) for name, sums in roots.items()}
    return found | {
        "removal_share": np.divide(*share_sums(*scene, threshold)),
        "leftover_rms": leftover(*scene, threshold),
    }


def luma(image):
    """BT.601 from its definition: luma 0.299, 0.587, 0.114 squeezed from 0..255 into 16..235."""
    return 16 + 219 * (image @ np.array([0.299, 0.587, 0.114])) / 255


def psnr(image, reference):
    mse = np.mean((image - reference) ** 2)
    return math.inf if mse == 0 else 10 * math.log10(255**2 / mse)
