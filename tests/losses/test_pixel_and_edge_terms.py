import cv2
import kornia
import numpy as np
import pytest
import torch

from slackoff.errors import SlackoffError
from slackoff.losses import EdgeAware, PixelL1, PixelMSE
from slackoff.losses.terms import edge_error, sobel


@pytest.fixture
def pair():
    rng = np.random.default_rng(8)
    return rng.random((2, 3, 7, 6), dtype=np.float32), rng.random((2, 3, 7, 6), dtype=np.float32)


def value(term, output, background):
    return term(torch.from_numpy(output), torch.from_numpy(background)).item()


def cv2_sobel(images):
    """Both directions of each channel: (2, N, C, H, W), down the image and across."""
    flat = images.astype(np.float64).reshape(-1, *images.shape[-2:])
    directions = [
        [cv2.Sobel(channel, cv2.CV_64F, dx, 1 - dx, ksize=3, borderType=cv2.BORDER_REFLECT_101) for channel in flat]
        for dx in (0, 1)
    ]
    return np.array(directions).reshape(2, *images.shape)


def test_pixel_errors_are_means_in_grey_levels(pair):
    difference = 255.0 * pair[0].astype(np.float64) - 255.0 * pair[1]
    assert value(PixelMSE(), *pair) == pytest.approx(np.mean(difference**2), rel=1e-5)
    assert value(PixelL1(), *pair) == pytest.approx(np.mean(np.abs(difference)), rel=1e-5)


def test_sobel_features_are_those_of_opencv_up_to_the_border(pair):
    found = sobel(torch.from_numpy(pair[0])).numpy()
    np.testing.assert_allclose(found, cv2_sobel(pair[0]), atol=1e-5)


def test_sobel_features_are_those_of_kornia_inside(pair):
    """Kornia repeats the border instead of mirroring it, and has the direction across first."""
    images = torch.from_numpy(pair[0])
    across, down = kornia.filters.spatial_gradient(images, "sobel", normalized=False).unbind(2)
    torch.testing.assert_close(sobel(images)[..., 1:-1, 1:-1], torch.stack((down, across))[..., 1:-1, 1:-1])


def test_sobel_signs_are_those_of_a_correlation():
    """A ramp of 1 a pixel has slope 8 under kernels that are not divided by 8."""
    down = torch.arange(5.0).view(1, 1, 5, 1).expand(1, 1, 5, 5)
    features = sobel(down)[..., 1:-1, 1:-1]
    assert (features[0] == 8).all()
    assert (features[1] == 0).all()


def test_edge_error_is_the_mean_over_both_directions(pair):
    output, background = (255.0 * images for images in pair)
    expected = np.mean((cv2_sobel(output) - cv2_sobel(background)) ** 2)
    assert value(EdgeAware(), *pair) == pytest.approx(expected, rel=1e-5)


def test_the_paper_divides_by_chw_alone(pair):
    output, background = (255.0 * images for images in pair)
    per_image = np.sum((cv2_sobel(output) - cv2_sobel(background)) ** 2, axis=(0, 2, 3, 4)) / (3 * 7 * 6)
    assert value(EdgeAware("chw"), *pair) == pytest.approx(per_image.mean(), rel=1e-5)
    assert value(EdgeAware("chw"), *pair) == 2 * value(EdgeAware(), *pair)


def test_a_constant_offset_has_no_edges(pair):
    assert value(EdgeAware(), pair[0], pair[0] + np.float32(0.25)) < 1e-7


def test_edge_gradients_are_right():
    images = torch.rand(2, 1, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    output = images[0].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: edge_error(x, images[1]), (output,))


def test_an_unknown_normaliser_is_refused():
    with pytest.raises(SlackoffError, match=r"EdgeAware: normaliser=sum is not known: choose mean or chw"):
        EdgeAware("sum")
