"""Uncertainty weighting, GradNorm and DWA against their formulas in NumPy."""

import re

import numpy as np
import pytest
import torch
from weighting_problem import Small, images, say, started, three

from slackoff.errors import SlackoffError
from slackoff.losses import DynamicWeightAverage, GradNorm, Uncertainty


class Told:
    """Losses and norms out of thin air."""

    def __init__(self, losses, norms=None):
        self.losses = self.reduced = torch.tensor(losses, dtype=torch.float64)
        self.gradient_norms = torch.tensor(norms or losses, dtype=torch.float64)


def run(weighting, told):
    return [weighting(each).weights.numpy().copy() for each in told]


def test_uncertainty_is_its_formula_and_its_parameters_get_the_gradient_of_it():
    network = Small().double()
    found = say(network, three(), *images())
    weighting = started(Uncertainty(), three())
    logs = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    weighting.log_variances.data.copy_(logs)
    loss, weights = weighting(found)
    values, logs = found.losses.detach().numpy(), logs.numpy()
    assert loss.item() == pytest.approx((np.exp(-logs) * values / 2 + logs / 2).sum(), rel=1e-12)
    np.testing.assert_allclose(weights, np.exp(-logs) / 2, rtol=1e-12)
    loss.backward()
    np.testing.assert_allclose(weighting.log_variances.grad, (1 - np.exp(-logs) * values) / 2, rtol=1e-12)


def test_learned_log_variances_end_at_the_logarithms_of_the_losses():
    weighting = started(Uncertainty(log_variance=1.0), three())
    assert weighting.log_variances.tolist() == [1.0] * 3
    optimizer = torch.optim.Adam(weighting.parameters(), 0.05)
    for _ in range(600):
        optimizer.zero_grad()
        weighting(Told([0.1, 3.0, 40.0])).loss.backward()
        optimizer.step()
    np.testing.assert_allclose(weighting.log_variances.detach(), np.log([0.1, 3.0, 40.0]), atol=1e-3)


def test_a_loss_of_zero_does_not_drive_its_log_variance_down_without_end():
    weighting = started(Uncertainty(), three())
    optimizer = torch.optim.SGD(weighting.parameters(), 30.0)
    for _ in range(20):
        optimizer.zero_grad()
        loss, weights = weighting(Told([0.0, 1.0, 2.0]))
        loss.backward()
        optimizer.step()
        assert weights[0] <= np.exp(20) / 2 * (1 + 1e-9)
    assert weights[0].item() == pytest.approx(np.exp(20) / 2)
    optimizer.zero_grad()
    weighting(Told([1.0, 1.0, 2.0])).loss.backward()
    assert weighting.log_variances.grad[0] < 0  # it comes back


def test_dwa_is_its_formula_over_windows():
    losses = np.abs(np.random.default_rng(0).normal(2, 0.5, (11, 3)))
    losses[:, 1] *= 1000
    found = run(
        started(DynamicWeightAverage(temperature=0.5, window=3), three()), [Told(row.tolist()) for row in losses]
    )
    means = losses[:9].reshape(3, 3, 3).mean(axis=1)

    def weights(last, before):
        powers = np.exp(last / before / 0.5)
        return 3 * powers / powers.sum()

    expected = [np.ones(3)] * 6 + [weights(means[1], means[0])] * 3 + [weights(means[2], means[1])] * 2
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert np.abs(found[6] - 1).max() > 0.05


def test_dwa_stays_finite_where_losses_vanish_and_come_back():
    told = [Told([value, 1.0, 0.0]) for value in (1.0, 0.0, 0.0, 1e9, 1.0)]
    found = run(started(DynamicWeightAverage(window=1), three()).float(), told)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(np.sum(found, axis=1), 3, rtol=1e-6)
    np.testing.assert_allclose(found[3], 3 * np.exp([0.5] * 3) / (3 * np.exp(0.5)), rtol=1e-6)
    np.testing.assert_allclose(found[4], [3, 0, 0], atol=1e-6)


def gradnorm_by_hand(losses, norms, alpha, rate, log_weights):
    """The weights by which each step's losses are multiplied."""
    weights, used = np.ones(losses.shape[1]), []
    for loss, norm in zip(losses, norms, strict=True):
        used.append(weights)
        ratio = loss / losses[0]
        large = weights * norm
        sign = np.sign(large - large.mean() * (ratio / ratio.mean()) ** alpha)
        if log_weights:
            weights = weights * np.exp(-rate * sign * large / large.mean())
        else:
            weights = weights - rate * sign * norm / norm.mean()
        weights = weights * len(weights) / weights.sum()
    return used


@pytest.mark.parametrize("log_weights", [False, True])
def test_gradnorm_is_its_formula(log_weights):
    rng = np.random.default_rng(1)
    losses, norms = np.exp(rng.normal(0, 1, (12, 3))), np.exp(rng.normal(0, 0.3, (12, 3)))
    told = [Told(*row) for row in zip(losses.tolist(), norms.tolist(), strict=True)]
    found = run(started(GradNorm(1.2, 0.03, log_weights), three()), told)
    np.testing.assert_allclose(found, gradnorm_by_hand(losses, norms, 1.2, 0.03, log_weights), rtol=1e-9)
    assert np.abs(found[-1] - 1).max() > 0.05


def test_the_gradient_of_gradnorm_is_that_of_its_loss_by_the_weights():
    """By automatic differentiation, through a second backward pass, as the paper has it."""
    network, terms = Small().double(), three(1.0, 3.0, 0.5)
    rainy, background = images()
    weights = torch.ones(3, dtype=torch.float64, requires_grad=True)
    output = network(rainy)
    large = torch.stack(
        [
            torch.autograd.grad(weight * term(output, background), network.last.weight, create_graph=True)[0].norm()
            for weight, term in zip(weights, terms.values(), strict=True)
        ]
    )
    (gradient,) = torch.autograd.grad((large - large.mean().detach()).abs().sum(), weights)
    rate, norms = 0.01, large.detach()
    moved = 1 - rate * gradient / norms.mean()
    weighting = started(GradNorm(alpha=0.7, learning_rate=rate), terms)
    weighting(say(network, terms, rainy, background))
    torch.testing.assert_close(weighting.weights, 3 * moved / moved.sum(), rtol=1e-9, atol=0)


def test_gradnorm_with_log_weights_brings_norms_that_are_far_apart_together():
    weighting = started(GradNorm(alpha=0.0, log_weights=True), three())
    norms = np.array([1.0, 1e9, 30.0])
    run(weighting, [Told([1.0, 1.0, 1.0], norms.tolist())] * 3000)
    large = weighting.weights.numpy() * norms
    np.testing.assert_allclose(large / large.mean(), 1, atol=0.15)


@pytest.mark.parametrize("log_weights", [False, True])
@pytest.mark.parametrize("losses", [[0.0, 1.0, 2.0], [1e9, 1.0, 1.0], [0.0, 0.0, 0.0]])
def test_gradnorm_keeps_positive_weights_with_the_sum_of_three(losses, log_weights):
    weighting = started(GradNorm(log_weights=log_weights), three()).float()
    found = np.array(run(weighting, [Told(losses)] * 200))
    assert found.min() > 0
    np.testing.assert_allclose(found.sum(axis=1), 3, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: GradNorm(alpha=-1.0), "task.weighting.alpha=-1.0 must be finite and at least 0"),
        (lambda: GradNorm(learning_rate=0.0), "task.weighting.learning_rate=0.0 must be finite and above 0"),
        (lambda: DynamicWeightAverage(temperature=0.0), "task.weighting.temperature=0.0 must be above 0"),
        (lambda: DynamicWeightAverage(window=0), "task.weighting.window=0 must be a whole number of steps from 1 up"),
    ],
)
def test_arguments_that_cannot_be_are_refused(make, sentence):
    with pytest.raises(SlackoffError, match=re.escape(sentence)):
        make()
