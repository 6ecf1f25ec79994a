import numpy as np
import pytest
import torch
from torch import nn

from slackoff.errors import SlackoffError
from slackoff.losses import MSE, DRDNetLoss
from slackoff.networks import ResNet
from slackoff.networks.interfaces import StagedNetwork, Stages


class Scaled(StagedNetwork):
    """Stages that are the rainy image times given factors."""

    def __init__(self, *factors: float) -> None:
        super().__init__()
        self.factors = nn.Parameter(torch.tensor(factors))

    def stages(self, rainy: torch.Tensor) -> Stages:
        return Stages(tuple(factor * rainy for factor in self.factors))


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.random((2, 3, 5, 4), dtype=np.float32), rng.random((2, 3, 5, 4), dtype=np.float32)


def test_a_tenth_of_the_first_error_and_the_whole_of_the_last(pair):
    rainy, background = pair
    errors = [np.mean((f * rainy.astype(np.float64) - background) ** 2) for f in (0.2, 0.7)]
    found = DRDNetLoss()(Scaled(0.2, 0.7), torch.from_numpy(rainy), torch.from_numpy(background))
    assert found.shape == ()
    assert found.item() == pytest.approx(0.1 * errors[0] + errors[1], rel=1e-6)


def test_the_mean_squared_error_is_that_of_the_result(pair):
    rainy, background = pair
    expected = np.mean((0.7 * rainy.astype(np.float64) - background) ** 2)
    found = MSE()(Scaled(0.2, 0.7), torch.from_numpy(rainy), torch.from_numpy(background))
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_a_network_without_stages_is_refused():
    images = torch.rand(1, 3, 4, 4)
    with pytest.raises(SlackoffError, match=r"task\.loss DRDNetLoss needs .* ResNet has not: choose network=drd_net"):
        DRDNetLoss()(ResNet(2, 1), images, images)


def test_another_number_of_stages_is_refused():
    images = torch.rand(1, 3, 4, 4)
    with pytest.raises(SlackoffError, match=r"task\.loss\.weights has 2 weights, but Scaled has 3 stages"):
        DRDNetLoss()(Scaled(1.0, 1.0, 1.0), images, images)
