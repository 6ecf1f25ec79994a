import numpy as np
import pytest
import torch
from opencv_rain import Setting, as_parameters, line_kernel

from slackoff.rain.render import line_kernels


def every_setting(angles: range, lengths: range = range(1, 61)) -> list[Setting]:
    fitting = ((width, length) for length in lengths for width in (1, 3, 5, 7, 9) if length > width // 2)
    return [Setting(250, width, length, angle) for width, length in fitting for angle in angles]


def placed(kernel: np.ndarray, side: int) -> np.ndarray:
    """The kernel in a square of zeros, its anchor L//2 at side/2."""
    start = side // 2 - len(kernel) // 2
    square = np.zeros((side, side))
    square[start : start + len(kernel), start : start + len(kernel)] = kernel
    return square


@pytest.mark.parametrize("legacy_scale", [True, False])
def test_kernels_equal_opencv(legacy_scale):
    settings = every_setting(range(-90, 91, 15))
    drawn = line_kernels(as_parameters(settings), legacy_scale).numpy()
    assert drawn.shape == (len(settings), 60, 60)
    for setting, kernel in zip(settings, drawn, strict=True):
        expected = placed(line_kernel(setting, legacy_scale), 60)
        np.testing.assert_allclose(kernel, expected, rtol=0, atol=1e-6, err_msg=str(setting))


def test_every_degree_equals_opencv():
    settings = every_setting(range(-90, 91), range(30, 32))[::3]
    drawn = line_kernels(as_parameters(settings)).numpy()
    for setting, kernel in zip(settings, drawn, strict=True):
        np.testing.assert_allclose(kernel, placed(line_kernel(setting), 60), rtol=0, atol=1e-6, err_msg=str(setting))


@pytest.mark.parametrize("side", [40, 50])
def test_a_smaller_square_holds_the_same_kernels(side):
    parameters = as_parameters(every_setting(range(-70, 71, 35), range(5, 41)))
    cut = (60 - side) // 2
    whole = line_kernels(parameters)
    assert torch.equal(line_kernels(parameters, side=side), whole[:, cut : 60 - cut, cut : 60 - cut])


@pytest.mark.parametrize("length", [20, 30, 40, 50, 60])
def test_even_lengths_give_a_crisp_line(length):
    kernel = line_kernels(as_parameters([Setting(250, 1, length, 0)]))[0]
    assert kernel.max() == 1
    assert (kernel.amax(0) > 0.1).sum() == 1


@pytest.mark.parametrize("length", [5, 21, 31, 41, 55])
def test_odd_lengths_give_a_softer_line_two_pixels_wide(length):
    kernel = line_kernels(as_parameters([Setting(250, 1, length, 0)]))[0]
    assert kernel.max() < 0.4
    columns = kernel.amax(0)
    assert (columns > 0.8 * kernel.max()).sum() == 2
