"""The training rain against figures that were measured on the public OpenCV generator before this one was written."""

import numpy as np
import pytest
import torch
from rain_measures import coverage, rms

from slackoff.rain import RainRange, render_streaks

# Share of pixels with R > 0, 5, 10, 20, 50; mean R; RMS R; RMS of R where R > 20 (grey levels).
REFERENCE = {
    128: {
        "small": (0.77, 0.73, 0.65, 0.57, 0.31, 37.8, 53.8, 70.7),
        "medium": (0.86, 0.80, 0.75, 0.66, 0.39, 45.9, 60.9, 74.4),
        "large": (0.72, 0.65, 0.60, 0.54, 0.33, 38.3, 55.0, 75.9),
    },
    512: {
        "small": (0.80, 0.74, 0.65, 0.57, 0.25, 32.6, 45.3, 59.6),
        "medium": (0.84, 0.77, 0.71, 0.61, 0.28, 35.8, 48.1, 61.0),
        "large": (0.63, 0.56, 0.52, 0.45, 0.21, 26.7, 40.3, 61.2),
    },
}


def measure(rain_range: RainRange, count: int, size: int) -> np.ndarray:
    """One row a layer, columns as in ``REFERENCE``."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for _ in range(count // 25):
        for layer in (render_streaks(rain_range, 25, size, size, generator)[:, 0] * 255).numpy():
            rows.append([*coverage(layer), layer.mean(), rms(layer), rms(layer[layer > 20])])
    return np.array(rows)


def test_statistics_of_patches(range_name, rain_range):
    """Of 600 draws: the spread between draws is then small beside the 10 %, which also cover the reference's 150."""
    found = measure(rain_range, 600, 128).mean(0)
    np.testing.assert_allclose(found, REFERENCE[128][range_name], rtol=0.10)


@pytest.mark.slow
def test_statistics_of_large_images(range_name, rain_range):
    """The reference has only 40 draws here, so its own standard error comes on top of the 10 %."""
    rows = measure(rain_range, 200, 512)
    standard_error = rows.std(0) / np.sqrt(40)
    reference = np.array(REFERENCE[512][range_name])
    assert (np.abs(rows.mean(0) - reference) < 0.10 * reference + standard_error).all()
