import numpy as np
import pytest
import torch
from small_problem import network, train

from slackoff.errors import SlackoffError
from slackoff.losses import MSE
from slackoff.tasks import SGD, Steps, SupervisedTask


def test_steps_have_the_momentum_of_those_before():
    """v = 0.9 v + g, w = w - rate v, as TensorFlow's and torch's momentum have it."""
    weight = torch.nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    optimizer = SGD(0.9).optimizer([weight], 0.1)
    expected, velocity = 2.0, 0.0
    for gradient in (1.0, -0.5, 0.25):
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        velocity = 0.9 * velocity + gradient
        expected -= 0.1 * velocity
        assert weight.item() == pytest.approx(expected, rel=1e-12)


def test_a_task_trains_with_it_and_lowers_its_rate():
    task = SupervisedTask(network(), MSE(), 8, 0.05, decay=Steps([0.5], 0.1), optimizer=SGD(0.8))
    witness, trainer = train(task, 8)
    optimizer = trainer.optimizers[0]
    assert type(optimizer) is torch.optim.SGD
    assert optimizer.param_groups[0]["momentum"] == 0.8
    np.testing.assert_allclose(witness.rates, [0.05] * 4 + [0.005] * 4)
    assert witness.losses[-1] < witness.losses[0]


@pytest.mark.parametrize("momentum", [1.0, -0.1, float("nan")])
def test_a_momentum_out_of_range_is_refused(momentum):
    with pytest.raises(SlackoffError, match=r"task\.optimizer\.momentum="):
        SGD(momentum)
