import numpy as np
import pytest
import torch
from torch import nn

from slackoff.errors import SlackoffError
from slackoff.losses import SPDNetLoss
from slackoff.networks import ResNet
from slackoff.networks.interfaces import StagedNetwork, Stages


class Scaled(StagedNetwork):
    """Stages that are the rainy image times given factors."""

    def __init__(self, *factors):
        super().__init__()
        self.factors = nn.Parameter(torch.tensor(factors))

    def stages(self, rainy):
        return Stages(tuple(factor * rainy for factor in self.factors))


@pytest.fixture
def pair():
    rng = np.random.default_rng(3)
    return rng.random((2, 3, 5, 4), dtype=np.float32), rng.random((2, 3, 5, 4), dtype=np.float32)


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (0.0, 0.5, 2.0)])
def test_it_is_the_weighted_sum_of_squared_errors_in_grey_levels(pair, weights):
    rainy, background = pair
    factors = (0.2, 0.7, 1.1)
    errors = [np.mean((255.0 * f * rainy.astype(np.float64) - 255.0 * background) ** 2) for f in factors]
    found = SPDNetLoss(weights)(Scaled(*factors), torch.from_numpy(rainy), torch.from_numpy(background))
    assert found.shape == ()
    assert found.item() == pytest.approx(np.dot(weights, errors), rel=1e-5)


def test_its_weights_are_equal_if_none_are_given():
    assert SPDNetLoss().weights == (1, 1, 1)


def test_every_weighted_stage_is_trained():
    network = Scaled(0.3, 0.4, 0.5)
    SPDNetLoss([1.0, 0.0, 1.0])(network, torch.rand(1, 3, 4, 4), torch.ones(1, 3, 4, 4)).backward()
    assert network.factors.grad is not None
    assert (network.factors.grad != 0).tolist() == [True, False, True]


def test_a_network_without_stages_is_refused():
    images = torch.rand(1, 3, 4, 4)
    with pytest.raises(SlackoffError, match=r"task\.loss SPDNetLoss needs .* ResNet has not"):
        SPDNetLoss()(ResNet(2, 1), images, images)


def test_another_number_of_stages_is_refused():
    images = torch.rand(1, 3, 4, 4)
    with pytest.raises(SlackoffError, match=r"task\.loss\.weights has 3 weights, but Scaled has 2 stages"):
        SPDNetLoss()(Scaled(1.0, 1.0), images, images)


@pytest.mark.parametrize(
    "weights", [(1.0, -1.0, 1.0), (0.0, 0.0, 0.0), (), (1.0, float("nan"), 1.0), (float("inf"), 1.0, 1.0)]
)
def test_weights_that_train_nothing_or_push_away_are_refused(weights):
    with pytest.raises(SlackoffError, match=r"task\.loss\.weights="):
        SPDNetLoss(weights)
