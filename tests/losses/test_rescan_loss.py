import numpy as np
import pytest
import torch
from torch import nn

from slackoff.errors import SlackoffError
from slackoff.losses import RESCANLoss
from slackoff.networks import JORDERE, ResNet
from slackoff.networks.interfaces import StagedNetwork, Stages


class Given(StagedNetwork):
    """Rain layers that were fixed beforehand."""

    def __init__(self, rains):
        super().__init__()
        self.rains = nn.Parameter(torch.from_numpy(rains))

    def stages(self, rainy):
        return Stages(tuple(rainy - rain for rain in self.rains), tuple(self.rains))


@pytest.fixture
def images():
    rng = np.random.default_rng(8)
    return tuple(rng.random((*count, 2, 3, 4, 5), dtype=np.float32) for count in [(), (), (4,)])


@pytest.mark.parametrize("stages", [1, 4])
def test_it_is_the_sum_of_the_mean_squared_errors_of_the_rain_layers(images, stages):
    rainy, background, rains = (image.astype(np.float64) for image in images)
    expected = sum(np.mean((rain - (rainy - background)) ** 2) for rain in rains[:stages])
    network = Given(images[2][:stages])
    found = RESCANLoss()(network, torch.from_numpy(images[0]), torch.from_numpy(images[1]))
    assert found.shape == ()
    assert found.item() == pytest.approx(expected, rel=1e-5)
    found.backward()
    assert (network.rains.grad.abs().sum(dim=(1, 2, 3, 4)) > 0).all()


def test_half_precision_rain_is_compared_in_float32(images):
    rainy, background, rains = images
    network = Given(rains.astype(np.float16))
    found = RESCANLoss()(network, torch.from_numpy(rainy), torch.from_numpy(background))
    assert found.dtype == torch.float32


def test_networks_without_rain_layers_are_refused():
    images = torch.rand(1, 3, 8, 8)
    for network in (ResNet(2, 1), JORDERE(2, 1)):
        name = type(network).__name__
        with pytest.raises(SlackoffError, match=rf"RESCANLoss needs .* {name} does not: choose network=rescan or"):
            RESCANLoss()(network, images, images)
