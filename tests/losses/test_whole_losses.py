"""Losses of whole networks against NumPy, written as the releases' training loops have them."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import nn

from slackoff.errors import SlackoffError
from slackoff.losses import L1, MSE, DRDNetLoss, JORDERELoss, NegativeSSIM, RCDNetLoss, RESCANLoss, SPDNetLoss
from slackoff.losses.losses import zero_padded_ssim
from slackoff.networks import JORDERE, RESCAN, ResNet
from slackoff.networks.interfaces import StagedNetwork, Stages
from slackoff.networks.jorder_e import JorderEstimates


def ssim_by_scikit_image(first: np.ndarray, second: np.ndarray) -> float:
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


@pytest.mark.parametrize(("height", "width"), [(17, 14), (4, 3)])
def test_it_is_that_of_scikit_image_with_zeros_beyond_the_border(pair, height, width):
    """Also for images that are smaller than the window."""
    images = [image[..., :height, :width] for image in pair]
    found = zero_padded_ssim(*map(torch.from_numpy, images))
    assert found.item() == pytest.approx(ssim_by_scikit_image(*images), abs=1e-6)
    assert found.item() < 0.95


class GivenEstimates(JORDERE):
    """A JORDER-E whose estimates were fixed beforehand."""

    def __init__(self, first, last, mask, level):
        super().__init__(1, 1)
        tensors = [torch.from_numpy(array) for array in (first, last, mask, level)]
        self.given = JorderEstimates((tensors[0], tensors[1]), *tensors[2:])

    def estimates(self, rainy):
        return self.given


def jorder_batch(count, side, seed=4):
    """Rainy, background, both estimates, level: (count, 3, side, side) in [0, 1]; mask logits."""
    rng = np.random.default_rng(seed)
    images = rng.random((5, count, 3, side, side), dtype=np.float32)
    return (*images, rng.standard_normal((count, 2, side, side), dtype=np.float32))


def jorder_loss(loss, arrays):
    rainy, background, first, last, level, mask = arrays
    network = GivenEstimates(first, last, mask, level)
    return loss(network, torch.from_numpy(rainy), torch.from_numpy(background)).item()


def jorder_by_hand(arrays, rain=False):
    """Errors on the 0..255 scale and the summed cross-entropy, as the release's training loop has them."""
    rainy, background, first, last, level, mask = (array.astype(np.float64) for array in arrays)
    difference = 255 * (background - rainy)
    images = np.abs(255 * (last - background)).mean() + np.abs(255 * (first - background)).mean()
    probability = np.exp(mask) / np.exp(mask).sum(axis=1, keepdims=True)
    marked = -difference[:, 0] > 0 if rain else difference[:, 0] > 0
    entropy = -np.log(np.where(marked, probability[:, 1], probability[:, 0])).sum()
    return images, entropy, np.abs(255 * level - difference).mean()


@pytest.mark.parametrize("rule", ["as_released", "rain"])
def test_jorder_e_loss_is_the_release_for_eight_patches_of_64_px(rule):
    arrays = jorder_batch(8, 64)
    images, entropy, level = jorder_by_hand(arrays, rule == "rain")
    assert jorder_loss(JORDERELoss(rule), arrays) == pytest.approx(images + 1e-3 * entropy + 1e-2 * level, rel=1e-5)


def test_each_weight_of_jorder_e_weighs_its_own_error():
    arrays = jorder_batch(2, 6)
    images, entropy, level = jorder_by_hand(arrays)
    whole = images + 32.768 * entropy / 72 + 1e-2 * level  # the share of the mask does not depend on the batch
    assert jorder_loss(JORDERELoss(), arrays) == pytest.approx(whole, rel=1e-5)
    assert jorder_loss(JORDERELoss(mask=0, level=0), arrays) == pytest.approx(images, rel=1e-5)
    assert jorder_loss(JORDERELoss(mask=3, level=0), arrays) == pytest.approx(images + 3 * entropy / 72, rel=1e-5)
    assert jorder_loss(JORDERELoss(mask=0, level=2), arrays) == pytest.approx(images + 2 * level, rel=1e-5)


def test_rain_that_adds_light_is_marked_by_the_rule_rain_alone():
    """A mask that is sure of class 1 everywhere costs nothing by the one rule and much by the other."""
    rainy, background, first, last, level, mask = jorder_batch(1, 6)
    background = 0.5 * rainy
    mask[:, 0], mask[:, 1] = -20, 20
    arrays = (rainy, background, first, last, level, mask)
    plain = jorder_loss(JORDERELoss(mask=0), arrays)
    assert jorder_loss(JORDERELoss("rain"), arrays) == pytest.approx(plain)
    assert jorder_loss(JORDERELoss("as_released"), arrays) == pytest.approx(plain + 32.768 * 40, rel=1e-5)


class Given(StagedNetwork):
    """Stages that were fixed beforehand."""

    def __init__(self, backgrounds, rains):
        super().__init__()
        self.backgrounds, self.rains = (nn.Parameter(torch.from_numpy(images)) for images in (backgrounds, rains))

    def stages(self, rainy):
        return Stages(tuple(self.backgrounds), tuple(self.rains))


GREY = 255.0**2


def mean_squares(estimates, truth):
    return [np.mean((estimate.astype(np.float64) - truth) ** 2) for estimate in estimates]


def errors(rainy, truth, backgrounds, rains):
    """Mean squared errors of the backgrounds and of the rain layers, as lists."""
    rainy, truth = rainy.astype(np.float64), truth.astype(np.float64)
    return mean_squares(backgrounds, truth), mean_squares(rains, rainy - truth)


def ssims(rainy, truth, backgrounds, rains):
    return [ssim_by_scikit_image(estimate, truth) for estimate in backgrounds]


def weighed(**weights):
    """RCDNet's five weights of which all others are 0, and what the loss is then."""
    nothing = dict.fromkeys(["result", "stage_backgrounds", "first_background", "stage_rains", "last_rain"], 0.0)
    return RCDNetLoss(**{**nothing, **weights})


CASES = {
    "l1": (L1(), 1, 0, lambda rainy, truth, b, r: np.abs(b[-1].astype(np.float64) - truth).mean()),
    "mse": (MSE(), 3, 0, lambda *images: errors(*images)[0][-1]),
    "drd_net": (DRDNetLoss(), 2, 0, lambda *images: np.dot([0.1, 1], errors(*images)[0])),
    "spdnet": (SPDNetLoss(), 3, 0, lambda *images: GREY * sum(errors(*images)[0])),
    "spdnet_weights": (SPDNetLoss([0.0, 0.5, 2.0]), 3, 0, lambda *i: GREY * np.dot([0, 0.5, 2], errors(*i)[0])),
    "rescan": (RESCANLoss(), 4, 4, lambda *images: sum(errors(*images)[1])),
    "rescan_1": (RESCANLoss(), 1, 1, lambda *images: errors(*images)[1][0]),
    "ssim": (NegativeSSIM(), 3, 0, lambda *images: -ssims(*images)[-1]),
    "ssim_weights": (NegativeSSIM([0.5, 0.0, 1.5]), 3, 0, lambda *images: -np.dot([0.5, 0, 1.5], ssims(*images))),
    "rcdnet": (RCDNetLoss(), 19, 17, lambda *images: GREY * (
        0.1 * sum(errors(*images)[0][:-1]) + errors(*images)[0][-1]
        + 0.1 * sum(errors(*images)[1]) + 0.9 * errors(*images)[1][-1])),
    "rcdnet_result": (weighed(result=2.5), 5, 3, lambda *images: 2.5 * GREY * errors(*images)[0][-1]),
    "rcdnet_stages": (weighed(stage_backgrounds=2.5), 5, 3, lambda *i: 2.5 * GREY * sum(errors(*i)[0][1:-1])),
    "rcdnet_first": (weighed(first_background=2.5), 5, 3, lambda *images: 2.5 * GREY * errors(*images)[0][0]),
    "rcdnet_rains": (weighed(stage_rains=2.5), 5, 3, lambda *images: 2.5 * GREY * sum(errors(*images)[1])),
    "rcdnet_last": (weighed(last_rain=2.5), 5, 3, lambda *images: 2.5 * GREY * errors(*images)[1][-1]),
}  # fmt: skip
"""Name to loss, number of backgrounds and of rain layers of the network, and the loss of given images in NumPy."""


@pytest.mark.parametrize("name", CASES)
class TestEveryLossOfGivenEstimates:
    def images(self, name):
        """Rainy images, their backgrounds, the estimates of both: float32 arrays."""
        _, backgrounds, rains, _ = CASES[name]
        rng = np.random.default_rng(5)
        return [rng.random((*count, 2, 3, 12, 13), dtype=np.float32) for count in [(), (), (backgrounds,), (rains,)]]

    def loss(self, name, images):
        rainy, truth, backgrounds, rains = images
        network = Given(backgrounds, rains)
        return CASES[name][0](network, torch.from_numpy(rainy), torch.from_numpy(truth)), network

    def test_it_is_its_formula_a_scalar_that_trains_its_estimates_and_no_others(self, name):
        images = self.images(name)
        found, network = self.loss(name, images)
        assert found.shape == ()
        expected = CASES[name][3](*images)
        assert found.item() == pytest.approx(expected, rel=1e-5, abs=1e-6)
        found.backward()
        for kind, estimates in ((2, network.backgrounds), (3, network.rains)):
            for number in range(len(estimates)):
                moved = [image.copy() for image in images]
                moved[kind][number] = 0.5
                counts = abs(CASES[name][3](*moved) - expected) > 1e-9
                assert counts == (estimates.grad is not None and bool(estimates.grad[number].abs().sum() > 0))

    def test_the_truth_costs_the_least(self, name):
        rainy, truth, backgrounds, rains = self.images(name)
        perfect = rainy, truth, np.stack([truth] * len(backgrounds)), np.array([rainy - truth] * len(rains))
        least = -1 * sum(CASES[name][0].weights or [1]) if "ssim" in name else 0
        assert self.loss(name, perfect)[0].item() == pytest.approx(least, abs=1e-5)

    def test_half_precision_images_are_compared_in_float32(self, name):
        """255^2 times a sum of such errors is beyond float16."""
        if name in ("rcdnet", "rescan", "ssim"):
            images = self.images(name)
            found = self.loss(name, [image.astype(np.float16) for image in images])[0]
            assert found.dtype == torch.float32
            assert found.item() == pytest.approx(self.loss(name, images)[0].item(), rel=2e-3)


def three_stages():
    return Given(np.zeros((3, 1, 3, 8, 8), np.float32), np.zeros((0, 1, 3, 8, 8), np.float32))


@pytest.mark.parametrize(
    ("loss", "network", "sentence"),
    [
        (DRDNetLoss(), ResNet(2, 1), r"task\.loss DRDNetLoss needs .* ResNet is not: choose network=drd_net"),
        (DRDNetLoss(), three_stages(), r"task\.loss\.weights has 2 weights, but Given has 3 stages"),
        (SPDNetLoss(), ResNet(2, 1), r"task\.loss SPDNetLoss needs .* ResNet is not"),
        (SPDNetLoss((1.0, 1.0)), three_stages(), r"task\.loss\.weights has 2 weights, but Given has 3 stages"),
        (NegativeSSIM([1.0]), ResNet(2, 1), r"task\.loss\.weights needs a network with stages, which ResNet is not"),
        (NegativeSSIM([1.0]), three_stages(), r"task\.loss\.weights has 1 weights, but Given has 3 stages"),
        (RCDNetLoss(), ResNet(2, 1), r"task\.loss RCDNetLoss needs .* ResNet is not: choose network=rcdnet"),
        (RCDNetLoss(), three_stages(), r"task\.loss RCDNetLoss needs .* Given is not"),
        (RESCANLoss(), ResNet(2, 1), r"RESCANLoss needs .* ResNet is not: choose network=rescan or"),
        (RESCANLoss(), JORDERE(2, 1), r"RESCANLoss needs .* JORDERE is not: choose network=rescan or"),
        (JORDERELoss(), RESCAN(2, 3, 2), r"JORDERELoss needs .* RESCAN is not: choose network=jorder_e or"),
    ],
)
def test_a_network_without_the_estimates_that_a_loss_compares_is_refused(loss, network, sentence):
    with pytest.raises(SlackoffError, match=sentence):
        loss(network, *torch.rand(2, 1, 3, 8, 8))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        *((lambda w=weights, kind=kind: kind(w), r"task\.loss\.weights=") for kind in (NegativeSSIM, SPDNetLoss)
          for weights in ((1.0, -1.0), (0.0, 0.0), (), (1.0, math.nan), (math.inf, 1.0))),
        *((lambda w=weight: RCDNetLoss(stage_rains=w), r"task\.loss\.stage_rains=")
          for weight in (-0.1, math.nan, math.inf)),
        (lambda: RCDNetLoss(0, 0, 0, 0, 0), r"task\.loss: one of result, .* must be above 0"),
        (lambda: JORDERELoss(mask=-1.0), r"task\.loss\.mask=-1\.0 must be a finite weight of at least 0"),
        (lambda: JORDERELoss(level=math.nan), r"task\.loss\.level=nan must be a finite weight"),
    ],
)  # fmt: skip
def test_weights_that_train_nothing_or_push_away_are_refused(make, sentence):
    with pytest.raises(SlackoffError, match=sentence):
        make()
