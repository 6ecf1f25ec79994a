"""Fixed and learned weights against their formulas in NumPy, and every weighting on two ranks."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from weighting_problem import BOTH, KINDS, Small, Term, absolutes, images, say, slopes, squares, started, three

from slackoff.errors import SlackoffError
from slackoff.losses import DynamicWeightAverage, Fixed, GradNorm, Uncertainty
from slackoff.losses.term_losses import of_all_ranks

STEPS = 4


BATCH = torch.arange(12.0).view(6, 2)


class Step(nn.Module):
    """What DistributedDataParallel wraps in a training: network, terms and weighting behind one call."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.network = Small().double()
        away = Term(lambda error: (error - 1).square().mean(), 3.0)
        self.terms = {"squares": squares(), "slopes": slopes(40.0), "away": away}
        self.weighting = started(KINDS[kind](), self.terms)

    def forward(self, rainy: Tensor, background: Tensor) -> tuple[Tensor, Tensor]:
        return self.weighting(say(self.network, self.terms, rainy, background))


def trained(kind: str, share: slice, wrap: Callable[[nn.Module], nn.Module] = lambda step: step) -> dict[str, Tensor]:
    step = Step(kind)
    wrapped, weights = wrap(step), []
    optimizer = torch.optim.SGD(step.parameters(), 0.02)
    for number in range(STEPS):
        rainy, background = images(seed=number)
        torch.manual_seed(100 * number + share.start)  # as StepSeed: other numbers on another rank
        loss, used = wrapped(rainy[share], background[share])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        weights.append(used)
    return {"weights": torch.stack(weights), **step.state_dict()}


def run_rank(rank: int, rendezvous: str, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
    found = {kind: trained(kind, slice(2 * rank, 2 * rank + 2), DistributedDataParallel) for kind in KINDS}
    found["joined"] = of_all_ranks(BATCH[rank::2])
    torch.save(found, Path(folder, f"{rank}.pt"))
    torch.distributed.destroy_process_group()
    os._exit(0)  # as a cell leaves: threads of gloo can abort Python's own way out


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(run_rank, ((folder / "rendezvous").as_uri(), str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks_take_the_steps_of_one_process(kind, ranks):
    first, second = (rank[kind] for rank in ranks)
    alone = trained(kind, slice(0, 4))
    start = Step(kind).state_dict()
    for name, expected in alone.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], expected, rtol=1e-9, atol=1e-12, msg=name)
    assert (alone["network.first.weight"] - start["network.first.weight"]).abs().max() > 1e-3
    assert (alone["weights"][1:] - 1).abs().max() > 1e-3


def test_shares_are_joined_in_the_order_of_the_batch(ranks):
    for rank in ranks:
        assert torch.equal(rank["joined"], BATCH)
    assert torch.equal(of_all_ranks(BATCH), BATCH)


def test_fixed_weights_are_taken_in_the_order_of_the_terms():
    found = say(Small().double(), three(), *images())
    chosen = {"absolutes": 5.0, "vgg": 9.0, "slopes": 0.0, "squares": 0.25}
    loss, weights = started(Fixed(chosen), three())(found)
    a, _, c = found.losses.tolist()
    assert weights.tolist() == [0.25, 0.0, 5.0]
    assert loss.item() == pytest.approx(0.25 * a + 5 * c, rel=1e-12)
    assert Fixed(chosen).state_dict() == {}


class Told:
    """Losses and norms out of thin air."""

    def __init__(self, losses, norms=None):
        self.losses = self.reduced = torch.tensor(losses, dtype=torch.float64)
        self.gradient_norms = torch.tensor(norms or losses, dtype=torch.float64)


def weights_of(weighting, told):
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
    found = weights_of(
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
    found = weights_of(started(DynamicWeightAverage(window=1), three()).float(), told)
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
    found = weights_of(started(GradNorm(1.2, 0.03, log_weights), three()), told)
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
    weights_of(weighting, [Told([1.0, 1.0, 1.0], norms.tolist())] * 3000)
    large = weighting.weights.numpy() * norms
    np.testing.assert_allclose(large / large.mean(), 1, atol=0.15)


@pytest.mark.parametrize("log_weights", [False, True])
@pytest.mark.parametrize("losses", [[0.0, 1.0, 2.0], [1e9, 1.0, 1.0], [0.0, 0.0, 0.0]])
def test_gradnorm_keeps_positive_weights_with_the_sum_of_three(losses, log_weights):
    weighting = started(GradNorm(log_weights=log_weights), three()).float()
    found = np.array(weights_of(weighting, [Told(losses)] * 200))
    assert found.min() > 0
    np.testing.assert_allclose(found.sum(axis=1), 3, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: GradNorm(alpha=-1.0), "task.weighting.alpha=-1.0 must be finite and at least 0"),
        (lambda: GradNorm(learning_rate=0.0), "task.weighting.learning_rate=0.0 must be finite and above 0"),
        (lambda: DynamicWeightAverage(temperature=0.0), "task.weighting.temperature=0.0 must be above 0"),
        (lambda: DynamicWeightAverage(window=0), "task.weighting.window=0 must be a whole number of steps from 1 up"),
        (
            lambda: started(Fixed({"squares": 1, "slopes": 1}), three()),
            "no weight for the term absolutes: give +task.weighting.weights.absolutes=",
        ),
        (
            lambda: started(Fixed({"squares": 0, "slopes": 0, "absolutes": 0}), three()),
            "one of squares, slopes, absolutes must be above 0",
        ),
        *(
            (
                lambda value=value: started(Fixed({"squares": value}), three()),
                f"task.weighting.weights.squares={value} must be a finite weight of at least 0",
            )
            for value in (-1, float("nan"))
        ),
        *(
            (
                lambda kind=kind: started(kind(), {"absolutes": absolutes()}),
                f"task.weighting {kind.__name__} balances several terms, and absolutes is alone: choose weighting@",
            )
            for kind in BOTH
        ),
    ],
)
def test_weights_and_settings_that_cannot_be_are_refused(make, sentence):
    with pytest.raises(SlackoffError, match=re.escape(sentence)):
        make()
