"""Multi-scale structural complexity against the overlap formula in NumPy, and where its value is known."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from slackoff.errors import SlackoffError
from slackoff.metrics.complexity import full_depth, scale_complexities, standardise, structural_complexity


def reference(image: NDArray[np.float64], depth: int, block: int) -> list[float]:
    """C_k of one image (C, H, W) as Bagrov et al. write it: full-size averages, overlaps, no telescoping."""
    height, width = image.shape[1:]

    def averaged(k: int) -> NDArray[np.float64]:
        side = block**k
        result = np.empty_like(image)
        for top in range(0, height, side):
            for left in range(0, width, side):
                window = np.s_[:, top : top + side, left : left + side]
                result[window] = image[window].mean(axis=(1, 2), keepdims=True)
        return result

    def overlap(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
        return float((first * second).sum() / (height * width))

    found = []
    for k in range(depth):
        fine, coarse = averaged(k), averaged(k + 1)
        found.append(abs(overlap(coarse, fine) - (overlap(fine, fine) + overlap(coarse, coarse)) / 2))
    return found


@pytest.mark.parametrize(
    ("shape", "depth", "block"),
    [((3, 32, 32), 5, 2), ((1, 16, 48), 4, 2), ((3, 27, 27), 3, 3), ((2, 64, 16), 2, 4), ((3, 32, 32), 2, 2)],
)
def test_equals_the_overlap_formula(shape: tuple[int, int, int], depth: int, block: int) -> None:
    rng = np.random.default_rng(3)
    # A random walk has contrast at every scale, white noise hardly any at the coarse ones.
    images = np.cumsum(np.cumsum(rng.normal(size=(2, *shape)), axis=2), axis=3) / 100 + rng.uniform(size=(2, *shape))
    measured = scale_complexities(torch.from_numpy(images), depth, block)
    assert measured.shape == (2, depth)
    for image, scales in zip(images, measured, strict=True):
        np.testing.assert_allclose(scales, reference(image, depth, block), rtol=1e-9)


def test_the_sum_telescopes_to_variances() -> None:
    image = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def variance(k: int) -> torch.Tensor:
        """Of block means over 2^k pixels, summed over channels."""
        return torch.nn.functional.avg_pool2d(image, 2**k).var((2, 3), correction=0).sum(1)

    for k0 in range(6):
        torch.testing.assert_close(structural_complexity(image, 6, k0=k0), variance(k0) / 2)
        torch.testing.assert_close(structural_complexity(image, 6, k0=0), image.var((2, 3), correction=0).sum(1) / 2)
    torch.testing.assert_close(structural_complexity(image, 4, k0=1), (variance(1) - variance(4)) / 2)


def test_white_noise_loses_three_quarters_of_its_variance_at_each_scale() -> None:
    noise = torch.rand(8, 1, 256, 256, generator=torch.Generator().manual_seed(1))
    measured = scale_complexities(noise, 3).mean(0)
    expected = [3 / 8 * (1 / 12) * 4.0**-k for k in range(3)]
    np.testing.assert_allclose(measured, expected, rtol=0.02)


@pytest.mark.parametrize("cell", [1, 4, 16])
def test_a_checkerboard_has_all_its_contrast_at_the_scale_of_its_cells(cell: int) -> None:
    rows, columns = torch.meshgrid(torch.arange(64) // cell, torch.arange(64) // cell, indexing="ij")
    board = ((rows + columns) % 2).float()[None, None]
    expected = torch.zeros(1, 6, dtype=torch.float64)
    expected[0, int(np.log2(cell))] = 1 / 8
    torch.testing.assert_close(scale_complexities(board, 6), expected)


def test_grows_with_the_square_of_the_range_and_ignores_brightness() -> None:
    image = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    torch.testing.assert_close(scale_complexities(255 * image + 7, 5), 255**2 * scale_complexities(image, 5))


def test_channels_add_up() -> None:
    grey = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(scale_complexities(grey.expand(-1, 3, -1, -1), 5), 3 * scale_complexities(grey, 5))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.uint8])
def test_takes_any_dtype_without_losing_precision(dtype: torch.dtype) -> None:
    image = torch.randint(0, 200, (2, 3, 16, 16), generator=torch.Generator().manual_seed(5)).to(dtype)
    assert image.dtype == dtype
    measured = scale_complexities(image, 4)
    assert measured.dtype == torch.float64
    np.testing.assert_allclose(measured[0], reference(image[0].double().numpy(), 4, 2), rtol=1e-9)


def test_is_finite_and_zero_for_a_flat_image_and_empty_for_no_image() -> None:
    assert scale_complexities(torch.full((2, 3, 8, 8), 0.7), 3).abs().max() < 1e-15
    assert scale_complexities(torch.zeros(0, 3, 8, 8), 3).shape == (0, 3)


@pytest.mark.parametrize(
    ("shape", "depth", "block", "words"),
    [
        ((1, 3, 100, 128), 3, 2, "multiples of 8 px or lower the depth to 2"),
        ((1, 3, 128, 100), 7, 2, "multiples of 128 px or lower the depth to 2"),
        ((1, 3, 15, 15), 1, 2, "crop both sides to multiples of 2 px."),
        ((1, 3, 16, 16), 0, 2, "use 1 or more"),
        ((1, 3, 16, 16), 2, 1, "use 2 or more"),
    ],
)
def test_refuses_what_cannot_be_averaged_with_the_cure(
    shape: tuple[int, ...], depth: int, block: int, words: str
) -> None:
    with pytest.raises(SlackoffError, match=words):
        scale_complexities(torch.zeros(shape), depth, block)


@pytest.mark.parametrize("k0", [-1, 3])
def test_refuses_a_first_scale_that_is_none(k0: int) -> None:
    with pytest.raises(SlackoffError, match=rf"k0={k0} is none of the scales 0 ... 2"):
        structural_complexity(torch.zeros(1, 1, 8, 8), 3, k0=k0)


@pytest.mark.parametrize(
    ("height", "width", "block", "depth"),
    [(128, 128, 2, 7), (96, 128, 2, 5), (81, 27, 3, 3), (7, 7, 2, 0), (0, 8, 2, 0)],
)
def test_full_depth(height: int, width: int, block: int, depth: int) -> None:
    assert full_depth(height, width, block) == depth


def test_standardised_patches_differ_only_in_how_contrast_is_spread() -> None:
    image = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(6)).cumsum(2) / 30 + 0.2
    shown = standardise(image)
    torch.testing.assert_close(shown.mean((2, 3)), torch.zeros(4, 3, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(shown.var((2, 3), correction=0).sum(1), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(structural_complexity(shown, 5), torch.full((4,), 0.5, dtype=torch.float64))
    share = scale_complexities(image, 5) / image.double().var((2, 3), correction=0).sum(1, keepdim=True)
    torch.testing.assert_close(scale_complexities(shown, 5), share)


def test_standardising_is_not_defined_without_contrast() -> None:
    flat = torch.full((1, 3, 12, 12), 0.1, dtype=torch.float64)  # its mean is off by a rounding
    assert (flat != flat.mean((2, 3), keepdim=True)).any()
    textured = torch.rand(1, 3, 12, 12, dtype=torch.float64) * 1e-3 + 0.5
    shown = standardise(torch.cat([flat, torch.zeros_like(flat), textured]))
    assert shown[:2].isnan().all()
    assert shown[2].isfinite().all()
