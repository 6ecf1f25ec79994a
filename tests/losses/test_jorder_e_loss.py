import numpy as np
import pytest
import torch

from slackoff.errors import SlackoffError
from slackoff.losses import JORDERELoss
from slackoff.networks import JORDERE, RESCAN
from slackoff.networks.jorder_e import JorderEstimates


class Given(JORDERE):
    """A JORDER-E whose estimates were fixed beforehand."""

    def __init__(self, first, last, mask, level):
        super().__init__(1, 1)
        tensors = [torch.from_numpy(array) for array in (first, last, mask, level)]
        self.given = JorderEstimates((tensors[0], tensors[1]), *tensors[2:])

    def estimates(self, rainy):
        return self.given


def batch(count, side, seed=4):
    """Rainy, background, both estimates, level: (count, 3, side, side) in [0, 1]; mask logits."""
    rng = np.random.default_rng(seed)
    images = rng.random((5, count, 3, side, side), dtype=np.float32)
    return (*images, rng.standard_normal((count, 2, side, side), dtype=np.float32))


def loss_of(loss, arrays):
    rainy, background, first, last, level, mask = arrays
    network = Given(first, last, mask, level)
    return loss(network, torch.from_numpy(rainy), torch.from_numpy(background)).item()


def by_hand(arrays, rain=False):
    """Errors on the 0..255 scale and the summed cross-entropy, as the release's training loop has them."""
    rainy, background, first, last, level, mask = (array.astype(np.float64) for array in arrays)
    difference = 255 * (background - rainy)
    images = np.abs(255 * (last - background)).mean() + np.abs(255 * (first - background)).mean()
    probability = np.exp(mask) / np.exp(mask).sum(axis=1, keepdims=True)
    marked = -difference[:, 0] > 0 if rain else difference[:, 0] > 0
    entropy = -np.log(np.where(marked, probability[:, 1], probability[:, 0])).sum()
    return images, entropy, np.abs(255 * level - difference).mean()


@pytest.mark.parametrize("rule", ["as_released", "rain"])
def test_it_is_the_release_for_a_batch_of_eight_patches_of_64_px(rule):
    arrays = batch(8, 64)
    images, entropy, level = by_hand(arrays, rule == "rain")
    assert loss_of(JORDERELoss(rule), arrays) == pytest.approx(images + 1e-3 * entropy + 1e-2 * level, rel=1e-5)


def test_the_share_of_the_mask_does_not_depend_on_the_batch():
    arrays = batch(2, 6)
    images, entropy, level = by_hand(arrays)
    expected = images + 32.768 * entropy / (2 * 6 * 6) + 1e-2 * level
    assert loss_of(JORDERELoss(), arrays) == pytest.approx(expected, rel=1e-5)


def test_each_weight_weighs_its_own_error():
    arrays = batch(2, 6)
    images, entropy, level = by_hand(arrays)
    assert loss_of(JORDERELoss(mask=0, level=0), arrays) == pytest.approx(images, rel=1e-5)
    assert loss_of(JORDERELoss(mask=3, level=0), arrays) == pytest.approx(images + 3 * entropy / 72, rel=1e-5)
    assert loss_of(JORDERELoss(mask=0, level=2), arrays) == pytest.approx(images + 2 * level, rel=1e-5)


def test_rain_that_adds_light_is_marked_by_the_rule_rain_alone():
    """A mask that is sure of class 1 everywhere costs nothing by the one rule and much by the other."""
    rainy, background, first, last, level, mask = batch(1, 6)
    background = 0.5 * rainy
    mask[:, 0], mask[:, 1] = -20, 20
    arrays = (rainy, background, first, last, level, mask)
    plain = loss_of(JORDERELoss(mask=0), arrays)
    assert loss_of(JORDERELoss("rain"), arrays) == pytest.approx(plain)
    assert loss_of(JORDERELoss("as_released"), arrays) == pytest.approx(plain + 32.768 * 40, rel=1e-5)


def test_other_networks_are_refused():
    images = torch.rand(1, 3, 8, 8)
    with pytest.raises(SlackoffError, match=r"JORDERELoss needs .* RESCAN does not: choose network=jorder_e or"):
        JORDERELoss()(RESCAN(2, 3, 2), images, images)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"mask_rule": "clean"}, r"task\.loss\.mask_rule=clean is not known: choose as_released or rain"),
        ({"mask": -1.0}, r"task\.loss\.mask=-1\.0 must be a finite weight of at least 0"),
        ({"level": float("nan")}, r"task\.loss\.level=nan must be a finite weight"),
    ],
)
def test_options_out_of_range_are_refused(options, sentence):
    with pytest.raises(SlackoffError, match=sentence):
        JORDERELoss(**options)
