"""The identities of LB and GB, and what must not break them."""

import re

import numpy as np
import pytest
import torch
from weighting_problem import Small, absolutes, images, plain_gradients, say, slopes, squares, started, three

from slackoff.errors import SlackoffError
from slackoff.losses import GradientBalancing, LossBalancing
from slackoff.losses.weightings import share_of_others

BOTH = [LossBalancing, GradientBalancing]
LAST = slice(5 * 28, 5 * 28 + 3 * 5 * 9)


def weighted(kind, terms, network=None, seed=1):
    network = network or Small().double()
    found = say(network, terms, *images(seed=seed))
    return found, started(kind(), terms, network)(found)


@pytest.mark.parametrize("sizes", [(3.0, 5.0), (1.0, 2.0, 4.0), (0.1, 7.0, 2.0, 5.0)])
def test_weights_are_one_less_the_part_of_the_sum(sizes):
    found = share_of_others(torch.tensor(sizes, dtype=torch.float64))
    np.testing.assert_allclose(found, [1 - size / sum(sizes) for size in sizes], rtol=1e-14)
    assert found.sum().item() == pytest.approx(len(sizes) - 1, rel=1e-14)


def test_a_loss_that_dominates_keeps_the_digits_of_its_weight():
    """1 less 0.9999999999 is 0 in float32."""
    found = share_of_others(torch.tensor([2e10, 1.0, 2.0]))
    assert found[0].item() == pytest.approx(1.5e-10, rel=1e-6)
    assert 2e10 * found[0].item() == pytest.approx(3.0, rel=1e-6)
    assert found[1:].tolist() == [1.0, 1.0]


def test_losses_that_are_all_zero_keep_the_weight_one():
    assert share_of_others(torch.zeros(3)).tolist() == [1.0, 1.0, 1.0]
    assert share_of_others(torch.tensor([1e-13, 0.0])).tolist() == [1.0, 1.0]
    assert share_of_others(torch.tensor([1e-11, 0.0])).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_size_that_is_not_finite_is_not_hidden(bad):
    assert share_of_others(torch.tensor([bad, 0.0, 0.0])).isnan().any()


def test_two_losses_balanced_by_size_come_out_equal():
    found, (loss, weights) = weighted(LossBalancing, {"squares": squares(3.0), "slopes": slopes(800.0)})
    a, b = found.losses.tolist()
    np.testing.assert_allclose(weights.numpy() * [a, b], [a * b / (a + b)] * 2, rtol=1e-14)
    assert loss.item() == pytest.approx(2 * a * b / (a + b), rel=1e-14)


def test_two_gradients_balanced_by_norm_come_out_equal():
    terms = {"squares": squares(3.0), "slopes": slopes(800.0)}
    _, (_, weights) = weighted(GradientBalancing, terms)
    norms = np.linalg.norm(plain_gradients(Small().double(), terms, *images())[:, LAST].numpy(), axis=1)
    first, second = weights.numpy() * norms
    assert first == pytest.approx(second, rel=1e-12)
    assert norms[1] / norms[0] > 100


def test_gradient_balancing_is_the_formula_on_norms_of_plain_backward_passes():
    _, (_, weights) = weighted(GradientBalancing, three(1.0, 40.0, 7.0))
    norms = np.linalg.norm(plain_gradients(Small().double(), three(1.0, 40.0, 7.0), *images())[:, LAST].numpy(), axis=1)
    np.testing.assert_allclose(weights, 1 - norms / norms.sum(), rtol=1e-10)


@pytest.mark.parametrize("kind", BOTH)
def test_the_weights_are_constants_of_the_backward_pass(kind):
    network, terms = Small().double(), three(1.0, 40.0, 7.0)
    _, (loss, weights) = weighted(kind, terms, network)
    assert not weights.requires_grad
    assert weights.sum().item() == pytest.approx(2.0, rel=1e-12)
    loss.backward()
    gradient = torch.cat([parameter.grad.flatten() for parameter in network.parameters()])
    torch.testing.assert_close(gradient, weights @ plain_gradients(network, terms, *images()), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("kind", BOTH)
def test_a_term_of_zero_keeps_the_weight_one(kind):
    network, terms = Small().double(), three(1.0, 0.0, 7.0)
    _, (loss, weights) = weighted(kind, terms, network)
    assert weights[1].item() == 1.0
    assert weights.sum().item() == pytest.approx(2.0, rel=1e-12)
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scale", [1e9, 1e13])
@pytest.mark.parametrize("kind", BOTH)
def test_a_giant_comes_down_to_the_sum_of_the_others(kind, scale, half):
    """Also in half precision, whose backward pass would turn its gradient into infinity."""
    network, terms = Small(), three(1.0, scale, 1.0)
    rainy, background = (image.float() for image in images())
    with torch.autocast("cpu", half):
        found = say(network, terms, rainy, background)
        loss, weights = started(kind(), terms, network)(found)
    sizes = found.losses.detach() if kind is LossBalancing else found.gradient_norms
    shares = (weights * sizes).tolist()
    assert shares[1] == pytest.approx(shares[0] + shares[2], rel=1e-5)
    assert weights[[0, 2]].tolist() == pytest.approx([1.0, 1.0], abs=1e-6)
    loss.backward()
    whole = Small()
    found = say(whole, terms, rainy, background)
    (weights * found.losses).sum().backward()
    for own, other in zip(network.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad, rtol=0.05, atol=0.02 * other.grad.abs().max().item())


@pytest.mark.parametrize("kind", BOTH)
def test_a_term_alone_is_refused(kind):
    sentence = f"task.weighting {kind.__name__} balances several terms, and absolutes is alone: choose weighting@"
    with pytest.raises(SlackoffError, match=re.escape(sentence)):
        started(kind(), {"absolutes": absolutes()})


@pytest.mark.parametrize("kind", BOTH)
def test_a_gradient_scaler_for_float16_scales_the_loss_and_not_the_weights(kind):
    network, terms = Small(), three(1.0, 1e9, 1.0)
    rainy, background = (image.float() for image in images())
    scaler, optimizer = torch.amp.GradScaler("cpu", init_scale=2.0**10), torch.optim.SGD(network.parameters(), 0.0)
    with torch.autocast("cpu", torch.float16):
        found = say(network, terms, rainy, background)
        loss, weights = started(kind(), terms, network)(found)
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    expected = weights @ plain_gradients(Small(), terms, rainy, background)
    gradient = torch.cat([parameter.grad.flatten() for parameter in network.parameters()])
    assert ((gradient - expected).norm() / expected.norm()).item() < 0.02


def test_a_gradient_that_float16_cannot_hold_skips_steps_until_the_scale_fits():
    """With weights that leave a giant as it is: no step is taken with what is not finite."""
    network, terms = Small(), three(1.0, 1e9, 1.0)
    rainy, background = (image.float() for image in images())
    scaler, optimizer = torch.amp.GradScaler("cpu"), torch.optim.SGD(network.parameters(), 1e-12)
    before, skipped = network.last.weight.detach().clone(), 0
    while torch.equal(network.last.weight, before):
        with torch.autocast("cpu", torch.float16):
            loss = say(network, terms, rainy, background).losses.sum()
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        skipped += 1
        assert skipped < 60
    assert skipped > 10
    assert network.last.weight.isfinite().all()
