"""Losses and gradients of terms, loss and gradient balancing, and PCGrad against its algorithm on whole gradients."""

import numpy as np
import pytest
import torch
from torch import nn
from weighting_problem import (
    BOTH,
    KINDS,
    LAST,
    Small,
    Term,
    absolutes,
    images,
    plain_gradients,
    say,
    squares,
    started,
    three,
)

from slackoff.errors import SlackoffError
from slackoff.losses import GradientBalancing, LossBalancing, PCGrad, TermLosses
from slackoff.losses.weightings import share_of_others, surviving_parts


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


def test_gradient_balancing_is_the_formula_on_norms_of_plain_backward_passes():
    found, (_, weights) = weighted(GradientBalancing, three(1.0, 40.0, 7.0))
    norms = np.linalg.norm(plain_gradients(Small().double(), three(1.0, 40.0, 7.0), *images())[:, LAST].numpy(), axis=1)
    np.testing.assert_allclose(found.gradient_norms, norms, rtol=1e-10)
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


def test_losses_of_zero_keep_the_weight_one_and_one_that_is_not_finite_is_not_hidden():
    assert share_of_others(torch.zeros(3)).tolist() == [1.0, 1.0, 1.0]
    assert share_of_others(torch.tensor([1e-13, 0.0])).tolist() == [1.0, 1.0]
    assert share_of_others(torch.tensor([1e-11, 0.0])).tolist() == [0.0, 1.0]
    for bad in (float("nan"), float("inf")):
        assert share_of_others(torch.tensor([bad, 0.0, 0.0])).isnan().any()


@pytest.mark.parametrize("half", [None, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scales", [(1.0, 0.0, 7.0), (1.0, 1e9, 1.0), (0.0, 0.0, 0.0)])
@pytest.mark.parametrize("kind", KINDS)
def test_zeros_and_giants_leave_weights_and_gradients_finite(kind, scales, half):
    network, terms = Small(), three(*scales)
    rainy, background = (image.float() for image in images())
    with torch.autocast("cpu", half or torch.bfloat16, enabled=half is not None):
        loss, weights = started(KINDS[kind](), terms, network)(say(network, terms, rainy, background))
    loss.backward()
    assert weights.isfinite().all()
    if kind in ("lb", "gb") and scales[1] == 0:
        assert weights[1] == 1
        assert weights.sum().item() == pytest.approx(2.0 if scales[0] else 3.0)
    if half is None or kind in ("lb", "gb", "pcgrad"):
        assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def project(gradients: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Algorithm 1 of the paper, before the sum."""
    left = gradients.copy()
    for i, order in enumerate(orders):
        for j in order:
            product = left[i] @ gradients[j]
            if j != i and product < 0:
                left[i] -= product / (gradients[j] @ gradients[j]) * gradients[j]
    return left


def conflicting():
    """Terms two of which pull in opposite directions."""
    return {
        "squares": squares(),
        "away": Term(lambda error: (error - 1).square().mean(), 3.0),
        "absolutes": absolutes(),
    }


@pytest.mark.parametrize("seed", range(5))
def test_projections_among_products_are_those_of_the_vectors(seed):
    rng = np.random.default_rng(seed)
    units = rng.normal(size=(4, 6))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    orders = rng.permuted(np.tile(np.arange(4), (4, 1)), axis=1)
    parts = surviving_parts(torch.from_numpy(units @ units.T), torch.from_numpy(orders)).numpy()
    np.testing.assert_allclose(parts @ units, project(units, orders), rtol=1e-10, atol=1e-12)
    assert not np.allclose(parts, np.eye(4))


def test_a_backward_pass_gives_the_projected_gradient():
    network, terms, (rainy, background) = Small().double(), conflicting(), images()
    gradients = plain_gradients(network, terms, rainy, background).numpy()
    assert (gradients @ gradients.T).min() < 0
    torch.manual_seed(4)
    loss, weights = started(PCGrad(), terms)(say(network, terms, rainy, background))
    loss.backward()
    torch.manual_seed(4)
    orders = torch.rand(3, 3).argsort(dim=1).numpy()
    expected = project(gradients, orders).sum(axis=0)
    found = torch.cat([parameter.grad.flatten() for parameter in network.parameters()]).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(weights.numpy() @ gradients, expected, rtol=1e-9, atol=1e-12)
    assert loss.item() == pytest.approx(sum(term(network(rainy), background).item() for term in terms.values()))


def test_the_order_is_drawn_from_torch_and_matters():
    def weights(seed):
        network, terms = Small().double(), conflicting()
        terms["also away"] = Term(lambda error: (error[:, :1] - 2).square().mean(), 2.0)
        found = say(network, terms, *images())
        torch.manual_seed(seed)
        return started(PCGrad(), terms)(found).weights

    assert torch.equal(weights(0), weights(0))
    assert len({tuple(weights(seed).tolist()) for seed in range(6)}) > 1


def test_half_precision_projects_in_full_precision():
    terms, (rainy, background) = conflicting(), (image.float() for image in images())

    def gradient(half):
        network = Small()
        torch.manual_seed(4)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss, _ = started(PCGrad(), terms, network)(say(network, terms, rainy, background))
        loss.backward()
        return torch.cat([parameter.grad.flatten() for parameter in network.parameters()])

    whole, half = gradient(False), gradient(True)
    assert ((half - whole).norm() / whole.norm()).item() < 0.01


def test_gradient_norms_leave_the_gradients_alone_and_stop_at_the_shared_layer():
    network, (rainy, background) = Small().double(), images()
    reached = []
    hidden = network.first(rainy)
    hidden.register_hook(reached.append)
    output = network.last(torch.tanh(hidden))
    found = TermLosses(three(), output, background, network.parameters(), network.last.weight)
    assert found.gradient_norms.min() > 0
    assert reached == []
    assert all(parameter.grad is None for parameter in network.parameters())
    found.losses.sum().backward()
    assert len(reached) == 1


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_losses_beyond_the_range_of_half_precision_have_finite_norms(half):
    """At 1e30 even float32 could not hold the squares."""
    network, (rainy, background) = Small(), (image.float() for image in images())
    scales = (1e-9, 1e13, 1e30)
    expected = np.array(scales) * say(network, three(), rainy, background).gradient_norms.numpy()
    with torch.autocast("cpu", half):
        found = say(network, three(*scales), rainy, background)
        assert found.output.dtype == torch.float32
        norms = found.gradient_norms
    assert norms.dtype == torch.float32
    np.testing.assert_allclose(norms, expected, rtol=3e-2)


def test_terms_reckon_outside_autocast():
    network, (rainy, background) = Small(), (image.float() for image in images())

    def product(error: torch.Tensor) -> torch.Tensor:
        flat = error.flatten(1)
        return (flat @ flat.T).square().mean()

    with torch.autocast("cpu", torch.bfloat16):
        found = say(network, {"product": Term(product)}, rainy, background)
    assert found.losses.item() == pytest.approx(product(found.output.detach() - background).item(), rel=1e-6)


def test_parameters_that_the_output_does_not_pass_are_left_out():
    network = Small().double()
    network.unused = nn.Parameter(torch.ones(2, dtype=torch.float64))
    network.frozen = nn.Parameter(torch.ones(2, dtype=torch.float64), requires_grad=False)
    found, parameters = say(network, three(), *images()).parameter_gradients()
    assert len(parameters) == 4
    assert not any(parameter is network.unused or parameter is network.frozen for parameter in parameters)
    fresh = Small().double()
    torch.testing.assert_close(found, plain_gradients(fresh, three(), *images()), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (
            lambda error: error.mean(dim=(1, 2, 3)),
            r"task.terms.odd gives a tensor of shape \(4,\): a term gives a scal",
        ),
        (lambda error: error.detach().mean(), "task.terms.odd does not depend on the network's output: leave it out"),
    ],
)
def test_terms_that_cannot_be_minimised_are_refused(function, sentence):
    with pytest.raises(SlackoffError, match=sentence):
        say(Small().double(), {"odd": Term(function)}, *images())


@pytest.mark.parametrize("frozen", [True, False])
def test_an_output_that_does_not_pass_the_shared_layer_is_refused(frozen):
    network, (rainy, background) = Small().double(), images()
    output = rainy if frozen else torch.tanh(network.first(rainy))[:, :3]
    found = TermLosses(three(), output, background, network.parameters(), network.last.weight)
    with pytest.raises(SlackoffError, match="output does not depend on the shared layer: name its last convolution"):
        _ = found.gradient_norms
