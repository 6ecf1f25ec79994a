import cv2
import numpy as np
import pytest
import torch
from formula_weights import formula_input

from slackoff.networks.layers import box_mean, guided_smooth


def reference(image: np.ndarray, radius: int, eps: float) -> np.ndarray:
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
    expected = [[reference(channel, radius, eps) for channel in image] for image in images]
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=2e-6)


def test_recorded_figures_of_base_and_detail():
    image = formula_input()
    base = guided_smooth(image, 15, 1.0)
    figures = [base.mean(), base.std(correction=0), base[0, 0, 0, 0], base[0, 1, 20, 30], base[0, 2, 39, 55]]
    recorded = [0.499134, 0.019039, 0.509664, 0.513121, 0.479568]
    assert [value.item() for value in figures] == pytest.approx(recorded, rel=1e-4)
    detail = image - base
    assert [detail[0, 0, 0, 0].item(), detail[0, 1, 20, 30].item(), detail[0, 2, 39, 55].item()] == pytest.approx(
        [0.140336, 0.181816, -0.398842], rel=1e-4
    )


def test_box_means_lose_no_digits_far_into_a_large_image():
    """A cumulative sum in float32 would be some 2e6 here, with steps of 0.125."""
    image = torch.full((1, 1, 2000, 2000), 0.3) + torch.eye(2000)
    assert box_mean(image, 15)[0, 0, 1990, 1000].item() == pytest.approx(0.3, rel=1e-5)
    assert box_mean(image, 15)[0, 0, 1950, 1950].item() == pytest.approx(0.3 + 1 / 31, rel=1e-5)


def test_gradients_agree_with_finite_differences():
    image = torch.rand(1, 1, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: guided_smooth(x, 2, 0.1), image)
