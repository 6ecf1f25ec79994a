import numpy as np
import pytest
import torch
from torch import nn

from slackoff.errors import SlackoffError
from slackoff.losses import RCDNetLoss
from slackoff.networks import ResNet
from slackoff.networks.interfaces import StagedNetwork, Stages

STAGES = 17


class Given(StagedNetwork):
    """Stages that were fixed beforehand."""

    def __init__(self, backgrounds, rains):
        super().__init__()
        self.backgrounds, self.rains = (nn.Parameter(torch.from_numpy(images)) for images in (backgrounds, rains))

    def stages(self, rainy):
        return Stages(tuple(self.backgrounds), tuple(self.rains))


@pytest.fixture
def images():
    """Rainy, true background, 17 + 2 backgrounds, 17 rain layers."""
    rng = np.random.default_rng(5)
    return tuple(rng.random((*count, 2, 3, 4, 5), dtype=np.float32) for count in [(), (), (STAGES + 2,), (STAGES,)])


def loss_of(loss, images):
    rainy, background, backgrounds, rains = images
    return loss(Given(backgrounds, rains), torch.from_numpy(rainy), torch.from_numpy(background))


def test_it_is_the_sum_of_the_release(images):
    """Written out over images on the 0..255 scale, as the release's training loop has it."""
    rainy, truth, backgrounds, rains = (255.0 * i.astype(np.float64) for i in images)
    total = 0.0
    for stage in range(STAGES):
        total += 0.1 * np.mean((backgrounds[stage + 1] - truth) ** 2)
        total += 0.1 * np.mean((rains[stage] - (rainy - truth)) ** 2)
    total += np.mean((backgrounds[-1] - truth) ** 2)
    total += 0.9 * np.mean((rains[-1] - (rainy - truth)) ** 2)
    total += 0.1 * np.mean((backgrounds[0] - truth) ** 2)
    found = loss_of(RCDNetLoss(), images)
    assert found.shape == ()
    assert found.item() == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("key", ["result", "stage_backgrounds", "first_background", "stage_rains", "last_rain"])
def test_each_weight_weighs_its_own_estimates(images, key):
    rainy, truth, backgrounds, rains = (255.0 * i.astype(np.float64) for i in images)
    background_errors = [np.mean((estimate - truth) ** 2) for estimate in backgrounds]
    rain_errors = [np.mean((estimate - (rainy - truth)) ** 2) for estimate in rains]
    expected = {
        "result": background_errors[-1],
        "stage_backgrounds": sum(background_errors[1:-1]),
        "first_background": background_errors[0],
        "stage_rains": sum(rain_errors),
        "last_rain": rain_errors[-1],
    }
    nothing = dict.fromkeys(expected, 0.0)
    assert loss_of(RCDNetLoss(**{**nothing, key: 2.5}), images).item() == pytest.approx(2.5 * expected[key], rel=1e-5)


def test_the_truth_costs_nothing(images):
    rainy, truth, *_ = images
    perfect = (rainy, truth, np.stack([truth] * (STAGES + 2)), np.stack([rainy - truth] * STAGES))
    assert loss_of(RCDNetLoss(), perfect).item() == 0


def test_every_estimate_is_trained(images):
    rainy, background, backgrounds, rains = images
    network = Given(backgrounds, rains)
    RCDNetLoss()(network, torch.from_numpy(rainy), torch.from_numpy(background)).backward()
    for estimates in (network.backgrounds, network.rains):
        assert (estimates.grad.abs().sum(dim=(1, 2, 3, 4)) > 0).all()


def test_half_precision_images_are_compared_in_float32(images):
    """255^2 times a sum of such errors is beyond float16."""
    halves = tuple(i.astype(np.float16) for i in images)
    found = loss_of(RCDNetLoss(), halves)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(loss_of(RCDNetLoss(), images).item(), rel=1e-3)


def test_networks_without_stages_or_without_rain_layers_are_refused(images):
    rainy, background, backgrounds, _ = images
    pair = torch.from_numpy(rainy), torch.from_numpy(background)
    with pytest.raises(SlackoffError, match=r"task\.loss RCDNetLoss needs .* ResNet does not: choose network=rcdnet"):
        RCDNetLoss()(ResNet(2, 1), *pair)
    with pytest.raises(SlackoffError, match=r"task\.loss RCDNetLoss needs .* Given does not"):
        RCDNetLoss()(Given(backgrounds, backgrounds[:0]), *pair)


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_weights_that_push_away_or_are_no_numbers_are_refused(weight):
    with pytest.raises(SlackoffError, match=r"task\.loss\.stage_rains="):
        RCDNetLoss(stage_rains=weight)


def test_weights_that_train_nothing_are_refused():
    with pytest.raises(SlackoffError, match=r"task\.loss: one of result, .* must be above 0"):
        RCDNetLoss(0, 0, 0, 0, 0)
