import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import nn

from slackoff.errors import SlackoffError
from slackoff.losses import NegativeSSIM
from slackoff.losses.losses import zero_padded_ssim
from slackoff.networks import ResNet
from slackoff.networks.interfaces import StagedNetwork, Stages


class Scaled(StagedNetwork):
    """Stages that are the rainy image times given factors."""

    def __init__(self, *factors):
        super().__init__()
        self.factors = nn.Parameter(torch.tensor(factors))

    def stages(self, rainy):
        return Stages(tuple(factor * rainy for factor in self.factors))


def reference(first: np.ndarray, second: np.ndarray) -> float:
    """scikit-image on images with a frame of zeros, of which its map's middle is kept."""
    frame = ((0, 0), (0, 0), (10, 10), (10, 10))
    first, second = np.pad(first.astype(np.float64), frame), np.pad(second.astype(np.float64), frame)
    maps = [
        structural_similarity(
            x,
            y,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            channel_axis=0,
            full=True,
        )[1]
        for x, y in zip(first, second, strict=True)
    ]
    return float(np.mean([found[:, 10:-10, 10:-10] for found in maps]))


@pytest.fixture
def pair():
    rng = np.random.default_rng(3)
    background = rng.random((2, 3, 17, 14), dtype=np.float32)
    return np.clip(background + 0.3 * rng.random((2, 1, 17, 14), dtype=np.float32), 0, 1), background


def test_it_is_that_of_scikit_image_with_zeros_beyond_the_border(pair):
    found = zero_padded_ssim(*map(torch.from_numpy, pair))
    assert found.item() == pytest.approx(reference(*pair), abs=1e-6)
    assert found.item() < 0.95


def test_images_smaller_than_the_window_have_one_too(pair):
    small = [image[..., :4, :3] for image in pair]
    found = zero_padded_ssim(*map(torch.from_numpy, small))
    assert found.item() == pytest.approx(reference(*small), abs=1e-6)


def test_the_loss_is_the_result_alone_unless_weights_are_given(pair):
    rainy, background = map(torch.from_numpy, pair)
    network, factors = Scaled(0.2, 0.7, 0.9), (0.2, 0.7, 0.9)
    each = [reference(np.float32(factor) * pair[0], pair[1]) for factor in factors]
    assert NegativeSSIM()(network, rainy, background).item() == pytest.approx(-each[2], abs=1e-6)
    weights = [0.5, 0.0, 1.5]
    found = NegativeSSIM(weights)(network, rainy, background)
    assert found.shape == ()
    assert found.item() == pytest.approx(-np.dot(weights, each), abs=1e-6)


def test_a_perfect_output_has_minus_one(pair):
    background = torch.from_numpy(pair[1])
    assert NegativeSSIM()(nn.Identity(), background, background).item() == pytest.approx(-1, abs=1e-6)


def test_under_autocast_it_is_computed_in_float32(pair):
    images = [torch.from_numpy(image) for image in pair]
    with torch.autocast("cpu", torch.bfloat16):
        found = zero_padded_ssim(*images)
    assert found.dtype == torch.float32
    assert found.item() == zero_padded_ssim(*images).item()


def test_gradients_agree_with_differences(pair):
    first, second = (torch.from_numpy(image[:1, :1, :6, :6]).double().requires_grad_() for image in pair)
    loss = zero_padded_ssim(first, second)
    (gradient,) = torch.autograd.grad(loss, first)
    step = 1e-2
    moved = [first.detach().clone() for _ in range(2)]
    moved[0][0, 0, 2, 3] += step
    moved[1][0, 0, 2, 3] -= step
    difference = (zero_padded_ssim(moved[0], second) - zero_padded_ssim(moved[1], second)) / (2 * step)
    assert gradient[0, 0, 2, 3].item() == pytest.approx(difference.item(), rel=1e-2)


def test_weights_need_a_network_with_so_many_stages():
    images = torch.rand(1, 3, 4, 4)
    with pytest.raises(SlackoffError, match=r"task\.loss\.weights need a network with stages, which ResNet has not"):
        NegativeSSIM([1.0])(ResNet(2, 1), images, images)
    with pytest.raises(SlackoffError, match=r"task\.loss\.weights has 3 weights, but Scaled has 2 stages"):
        NegativeSSIM([1.0, 1.0, 1.0])(Scaled(1.0, 1.0), images, images)


@pytest.mark.parametrize("weights", [(1.0, -1.0), (0.0, 0.0), (), (float("nan"),), (float("inf"), 1.0)])
def test_weights_that_train_nothing_or_push_away_are_refused(weights):
    with pytest.raises(SlackoffError, match=r"task\.loss\.weights="):
        NegativeSSIM(weights)
