import numpy as np
import pytest
import torch

from slackoff.networks.rcdnet import STREAKS, rain_kernels


def test_kernels_are_the_tables_gaussians():
    """Each value from the formula, pixel by pixel, in NumPy; offsets beyond the flat centre count."""
    kernels = rain_kernels()
    assert (kernels.shape, kernels.dtype) == ((3, 32, 9, 9), torch.float32)
    for n, streak in enumerate(STREAKS, start=1):
        assert streak.stretch == (2.5 if n <= 16 else 2.0) + 0.25 * n
        expected = np.zeros((9, 9))
        for y, x in np.ndindex(9, 9):
            down, across = (max(abs(v - 4) - streak.flat, 0) for v in (y, x))
            expected[y, x] = np.exp(-(across**2 + (down / streak.stretch) ** 2) / (2 * streak.deviation**2))
        expected *= streak.total / expected.sum()
        for colour in kernels[:, n - 1].numpy():
            np.testing.assert_allclose(colour, expected, rtol=1e-5, atol=1e-30)


def test_the_sums_of_kernels_are_the_tables():
    sums = rain_kernels().double().sum(dim=(2, 3))
    assert sums[0, [0, 6, 18, 31]].tolist() == pytest.approx([0.403410, 0.996521, 0.950308, 0.538112], rel=1e-6)
    assert sums[1].sum().item() == pytest.approx(14.461709, abs=5e-6)


def test_no_figure_of_the_table_is_mistyped():
    """Sums of its columns, plain and weighted by the row's number, added up from its text and not from the code."""
    columns = np.array(STREAKS)
    rows = np.arange(1, 33)
    np.testing.assert_allclose(columns.sum(axis=0), [18.0, 11.785436, 204.0, 14.461709], atol=1e-6)
    np.testing.assert_allclose(rows @ columns, [364.0, 228.002519, 3984.0, 230.246], atol=1e-6)


def test_streaks_are_vertical():
    kernels = rain_kernels()[0]
    assert (kernels[:, 0, 4] >= kernels[:, 4, 0]).all()
    assert kernels[15, 0, 4] > 1e-4
    assert kernels[15, 4, 1] < 1e-20


def test_fewer_maps_take_kernels_from_the_whole_table():
    every = rain_kernels()
    assert torch.equal(rain_kernels(2), every[:, [0, 31]])
    assert torch.equal(rain_kernels(1), every[:, :1])
    assert len({tuple(kernel.flatten().tolist()) for kernel in rain_kernels(16)[0]}) == 16
