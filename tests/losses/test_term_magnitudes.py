"""The sizes of MENET's terms on a photo of 224 x 224 px: why they cannot be added up as they are."""

import numpy as np
import pytest
import torch
from skimage.data import astronaut

from slackoff.losses import EdgeAware, PixelMSE, Texture

SIDE, DRAWS = 224, 31
PATCHES = (SIDE // 4) ** 2


@pytest.fixture(scope="module")
def photo():
    """float64, (3, 224, 224), grey levels."""
    return np.moveaxis(astronaut()[288:, 144 : 144 + SIDE], -1, 0).astype(np.float64)


def value(term, output, photo):
    """Of one image; both in grey levels."""
    return term(*(torch.from_numpy(image[None] / 255).float() for image in (output, photo))).item()


def patch_sums(image):
    return image.reshape(3, SIDE // 4, 4, SIDE // 4, 4).sum(axis=(0, 2, 4))


def coded(output, photo):
    return ((patch_sums(output) ** 2 - patch_sums(photo) ** 2).sum() / 2304) ** 2


@pytest.mark.parametrize(
    ("sigma", "expected"),
    [(1, (1, 12, 1e6, 2e11)), (5, (25, 300, 4e7, 6e12)), (12, (144, 1720, 7e8, 4e13))],
)
def test_noise(photo, sigma, expected):
    """Pixel, edge, texture as coded and as written; the last two were seen on another photo, hence the margin."""
    rng = np.random.default_rng(sigma)
    outputs = [photo + sigma * rng.standard_normal(photo.shape) for _ in range(DRAWS)]
    terms = (PixelMSE(), EdgeAware(), Texture(), Texture("gram_frobenius"))
    found = np.array([[value(term, output, photo) for output in outputs] for term in terms])
    # The sum of the squared kernel is 2 x 6 = 12; in the mirrored border differences vanish and [1, 2, 1] is [2, 2].
    sobel = 2 * (SIDE - 2) / SIDE * (6 * (SIDE - 2) + 8 * 2) / SIDE
    np.testing.assert_allclose(np.mean(found[:2], axis=1), [sigma**2, sobel * sigma**2], rtol=2e-3)
    np.testing.assert_allclose(found[2], [coded(output, photo) for output in outputs], rtol=1e-2, atol=1e-4 * sigma**2)
    # What the formula leads to expect of white noise.
    written = 2 * 49 * sigma**2 * np.sum(photo**2) + 48 * PATCHES * (PATCHES + 49) * sigma**4
    assert np.mean(found[3]) == pytest.approx(written, rel=0.15)
    medians = np.median(found, axis=1)  # the coded form is the square of a number that may be near 0
    assert medians[:2] == pytest.approx(expected[:2], rel=0.02)
    assert ((medians[2:] / expected[2:] > 0.2) & (medians[2:] / expected[2:] < 5)).all()


def test_a_bias_of_three_grey_levels(photo):
    output = photo + 3
    assert value(PixelMSE(), output, photo) == pytest.approx(9, rel=1e-4)
    assert value(EdgeAware(), output, photo) < 1e-6
    found = value(Texture(), output, photo)
    assert found == pytest.approx(coded(output, photo), rel=1e-4)
    assert 4.5e12 / 2 < found < 2 * 4.5e12
