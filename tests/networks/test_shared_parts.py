"""Parts that several networks share: padding, Haar bands, the guided filter, dilated convolutions; and the formulas."""

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from slackoff.networks import JORDERE, RESCAN, DRDNet
from slackoff.networks.layers import DilatedConv2d, box_mean, guided_smooth, mirror_to_multiple
from slackoff.networks.spdnet import haar, inverse_haar


@pytest.mark.parametrize(("height", "width", "multiple"), [(8, 16, 8), (5, 7, 8), (1, 3, 7), (2, 1, 8), (30, 41, 16)])
def test_it_is_numpys_reflection_however_wide_the_pad(height, width, multiple):
    images = torch.rand(2, 3, height, width)
    pads = (0, -height % multiple), (0, -width % multiple)
    expected = np.pad(images.numpy(), ((0, 0), (0, 0), *pads), mode="reflect")
    padded = mirror_to_multiple(images, multiple)
    assert padded.shape[-2] % multiple == 0
    assert padded.shape[-1] % multiple == 0
    np.testing.assert_array_equal(padded.numpy(), expected)


def test_gradients_come_back_from_the_mirrored_part():
    row = torch.rand(1, 3, requires_grad=True)
    mirror_to_multiple(row, 5).sum().backward()  # columns 0 1 2 1 0, five rows of each
    assert row.grad is not None
    assert row.grad.tolist() == [[10.0, 10.0, 5.0]]


def test_what_fits_is_handed_back_as_it_is():
    images = torch.rand(1, 3, 16, 8)
    assert mirror_to_multiple(images, 8) is images


@pytest.mark.parametrize(("height", "width", "multiple"), [(5, 7, 8), (1, 3, 7), (16, 8, 8)])
def test_an_exported_graph_pads_as_pytorch_does(height, width, multiple, monkeypatch):
    images = torch.rand(2, 3, height, width)
    expected = mirror_to_multiple(images, multiple)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    assert torch.equal(mirror_to_multiple(images, multiple), expected)


def in_order_of_inverse(bands):
    """From four blocks of C channels, the mean last, to C groups of four, the mean first."""
    return bands.unflatten(1, (4, -1)).roll(1, dims=1).transpose(1, 2).flatten(1, 2)


def one_dimensional(size):
    """Orthonormal Haar matrix: rows of sums, then rows of differences, of neighbours."""
    pairs = np.eye(size // 2)
    return np.concatenate([np.kron(pairs, [1, 1]), np.kron(pairs, [1, -1])]) / np.sqrt(2)


def test_bands_are_those_of_a_haar_matrix():
    """Rows and columns times the matrix give the four bands as quadrants."""
    picture = np.random.default_rng(0).normal(size=(6, 10))
    quadrants = one_dimensional(6) @ picture @ one_dimensional(10).T
    mean, across, down, both = quadrants[:3, :5], quadrants[:3, 5:], quadrants[3:, :5], quadrants[3:, 5:]
    found = haar(torch.from_numpy(picture)[None, None])[0].numpy()
    np.testing.assert_allclose(found, [down, across, both, mean], atol=1e-12)


def test_the_inverse_is_the_transposed_transform_in_the_order_of_the_original():
    basis = torch.eye(2 * 4 * 4, dtype=torch.float64).view(-1, 2, 4, 4)
    forward = in_order_of_inverse(haar(basis)).flatten(1)
    backward = inverse_haar(torch.eye(32, dtype=torch.float64).view(-1, 8, 2, 2)).flatten(1)
    np.testing.assert_allclose(backward.numpy(), forward.T.numpy(), atol=1e-12)


def test_odd_sizes_get_a_row_or_column_of_zeros_at_the_end():
    x = torch.rand(1, 2, 5, 7)
    extended = torch.zeros(1, 2, 6, 8)
    extended[..., :5, :7] = x
    assert haar(x).shape == (1, 8, 3, 4)
    torch.testing.assert_close(haar(x), haar(extended))


def filtered_by_opencv(image: np.ndarray, radius: int, eps: float) -> np.ndarray:
    """The formulas on one channel in float64, with OpenCV's box sums over zeros beyond the border."""

    def box_sum(x: np.ndarray) -> np.ndarray:
        return cv2.boxFilter(x, -1, (2 * radius + 1,) * 2, normalize=False, borderType=cv2.BORDER_CONSTANT)

    count = box_sum(np.ones_like(image))
    mean = box_sum(image) / count
    variance = box_sum(image * image) / count - mean**2
    a = variance / (variance + eps)
    return (box_sum(a) * image + box_sum(mean - a * mean)) / count


@pytest.mark.parametrize(("height", "width"), [(40, 56), (9, 50), (1, 7)])
@pytest.mark.parametrize(("radius", "eps"), [(15, 1.0), (2, 0.01)])
def test_it_equals_a_build_with_opencv(height, width, radius, eps):
    images = np.random.default_rng(0).random((2, 3, height, width))
    found = guided_smooth(torch.from_numpy(images).float(), radius, eps)
    expected = [[filtered_by_opencv(channel, radius, eps) for channel in image] for image in images]
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=2e-6)


def test_box_means_lose_no_digits_far_into_a_large_image():
    """A cumulative sum in float32 would be some 2e6 here, with steps of 0.125."""
    image = torch.full((1, 1, 2000, 2000), 0.3) + torch.eye(2000)
    assert box_mean(image, 15)[0, 0, 1990, 1000].item() == pytest.approx(0.3, rel=1e-5)
    assert box_mean(image, 15)[0, 0, 1950, 1950].item() == pytest.approx(0.3 + 1 / 31, rel=1e-5)


def test_gradients_agree_with_finite_differences():
    image = torch.rand(1, 1, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: guided_smooth(x, 2, 0.1), image)


@pytest.mark.parametrize(("channels", "dilation", "float32"), [(24, 2, True), (24, 1, False), (32, 2, False)])
def test_only_what_onednn_gets_wrong_runs_in_float32(channels, dilation, float32):
    convolution = DilatedConv2d(channels, 4, dilation).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        found = convolution(torch.rand(1, channels, 32, 32).bfloat16())
    assert found.dtype == (torch.float32 if float32 else torch.bfloat16)
    found.float().square().sum().backward()
    assert convolution.weight.grad.isfinite().all()


@torch.no_grad()
def test_it_is_the_plain_convolution():
    convolution = DilatedConv2d(5, 4, 3).double()
    x = torch.rand(1, 5, 7, 9, dtype=torch.float64)
    expected = nn.functional.conv2d(x, convolution.weight, convolution.bias, padding=3, dilation=3)
    assert torch.equal(convolution(x), expected)


@pytest.mark.parametrize("build", [RESCAN, JORDERE, DRDNet])
def test_every_dilated_convolution_of_a_network_is_one(build):
    with torch.device("meta"):
        modules = [module for module in build().modules() if isinstance(module, nn.Conv2d)]
    dilated = [module for module in modules if module.dilation != (1, 1)]
    assert dilated
    assert all(isinstance(module, DilatedConv2d) for module in dilated)
