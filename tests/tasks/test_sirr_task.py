import copy

import numpy as np
import pytest
import torch
from small_problem import BATCH, SEED, SaveAt, WithUnlabelled, network, train
from torch import nn

from slackoff.data import BatchStream
from slackoff.data.streams import derive_seed
from slackoff.errors import SlackoffError
from slackoff.losses.terms import absolute_variation
from slackoff.networks import DDN
from slackoff.tasks import SIRRTask, Steps

CONSTANT = Steps([], 1.0)


def make(net: nn.Module | None = None, steps: int = 6, **options) -> SIRRTask:
    return SIRRTask(net or network(), steps, **{"decay": CONSTANT, **options})


def bare_loop(net: nn.Module, steps: int, unlabelled: int) -> tuple[list[float], np.ndarray, np.ndarray]:
    """The method in NumPy float64 but for the network: losses, weights and variances of the mixture."""
    data = WithUnlabelled(unlabelled)
    stream = BatchStream(torch.from_numpy(data.bank).permute(0, 3, 1, 2), **data.options)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    weights, variances, losses = np.full(3, 1 / 3), np.array([1e-4, 1e-3, 1e-2]), []
    for step in range(steps):
        torch.manual_seed(derive_seed(SEED, "step", step, 0))
        batch, photos = stream.batch(step), data.other.batch(step).rainy
        output = net(photos)
        residue = photos - output
        e = residue.detach().double().numpy().ravel()
        for _ in range(2):
            density = weights * np.exp(-(e[:, None] ** 2) / (2 * variances)) / np.sqrt(variances)
            shares = density / density.sum(1, keepdims=True)
            if _ == 0:
                weights = shares.mean(0)
                variances = (shares * e[:, None] ** 2).sum(0) / shares.sum(0) + 1e-6
        scale = torch.from_numpy((shares / (2 * variances)).sum(1)).view_as(residue)
        variation = sum((output[:, :, 1:] - output[:, :, :-1]).abs().sum((1, 2, 3))) / len(output)
        variation = variation + sum((output[..., 1:] - output[..., :-1]).abs().sum((1, 2, 3))) / len(output)
        loss = (net(batch.rainy) - batch.background).square().mean()
        loss = loss + 0.5 * (scale * residue**2).mean() + 1e-5 * variation
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, weights, variances


@pytest.mark.parametrize("unlabelled", [BATCH, 2 * BATCH + 1])
def test_training_equals_a_bare_loop(unlabelled):
    task = make()
    witness, _ = train(task, 6, unlabelled=unlabelled)
    losses, weights, variances = bare_loop(network(), 6, unlabelled)
    np.testing.assert_allclose(witness.losses, losses, rtol=1e-4)
    np.testing.assert_allclose(task.mixture_weights, weights, rtol=2e-3, atol=1e-6)
    np.testing.assert_allclose(task.mixture_variances, variances, rtol=2e-3)


def test_killed_and_resumed_is_bit_equal(tmp_path):
    whole = make(DDN(channels=4, pairs=1, norm="batch"), steps=6)
    start = copy.deepcopy(whole.network)
    train(whole, 6, unlabelled=3, save=SaveAt(tmp_path / "at3.ckpt", 3))
    resumed = make(start, steps=6)
    train(resumed, 6, unlabelled=3, ckpt_path=tmp_path / "at3.ckpt", weights_only=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_norms_of_their_own_are_trained_beside_and_start_alike():
    net = DDN(channels=4, pairs=1, norm="batch")
    task = make(net, shared_norm=False, learning_rate=1e-2)
    small = [parameter for parameter in net.parameters() if parameter.dim() == 1]
    assert len(task.own) == len(small) == 3 * 4
    assert all(torch.equal(own, other) for own, other in zip(task.own, small, strict=True))
    assert len(list(task.trained_parameters())) == len(list(net.parameters())) + len(small)
    shared = make(copy.deepcopy(net), learning_rate=1e-2)
    first = [train(each, 6, unlabelled=3)[0].losses for each in (task, shared)]
    assert first[0][0] == pytest.approx(first[1][0], rel=1e-6)
    assert abs(first[0][-1] - first[1][-1]) > 1e-5
    assert max((own - other).abs().max() for own, other in zip(task.own, small, strict=True)) > 1e-3


def test_absolute_variation_is_a_sum_over_each_image():
    images = torch.tensor([[[[0.0, 1.0], [0.5, 0.25]]], [[[1.0, 1.0], [1.0, 1.0]]]])
    assert absolute_variation(images).item() == pytest.approx((0.5 + 0.75 + 1.0 + 0.25) / 2)


def test_without_photos_it_says_what_to_give():
    with pytest.raises(SlackoffError, match=r"task=sirr has no unlabelled images: .* unlabelled=folder"):
        train(make(), 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"components": 0}, "task.components=0 must be at least 1"),
        ({"mixture_weight": -1.0}, "task.mixture_weight=-1.0 must be a finite weight"),
        ({"tv_weight": float("nan")}, "task.tv_weight=nan must be a finite weight"),
    ],
)
def test_settings_that_cannot_be_are_refused(options, message):
    with pytest.raises(SlackoffError, match=message):
        make(**options)
