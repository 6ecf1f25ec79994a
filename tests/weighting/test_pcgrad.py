"""PCGrad against its algorithm on whole gradients."""

import numpy as np
import pytest
import torch
from weighting_problem import Small, Term, absolutes, images, plain_gradients, say, squares, started, three

from slackoff.losses import PCGrad
from slackoff.losses.weightings import surviving_parts


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


def test_gradients_that_agree_are_added_up():
    terms = {"squares": squares(), "more": squares(5.0)}
    _, weights = started(PCGrad(), terms)(say(Small().double(), terms, *images()))
    np.testing.assert_allclose(weights, [1, 1], rtol=1e-12)


def test_the_order_is_drawn_from_torch_and_matters():
    def weights(seed):
        network, terms = Small().double(), conflicting()
        terms["also away"] = Term(lambda error: (error[:, :1] - 2).square().mean(), 2.0)
        found = say(network, terms, *images())
        torch.manual_seed(seed)
        return started(PCGrad(), terms)(found).weights

    assert torch.equal(weights(0), weights(0))
    assert len({tuple(weights(seed).tolist()) for seed in range(6)}) > 1


@pytest.mark.parametrize("scales", [(1.0, 0.0, 1.0), (1.0, 1e9, 1.0), (0.0, 0.0, 0.0)])
@pytest.mark.parametrize("half", [None, torch.bfloat16, torch.float16])
def test_zeros_and_giants_leave_the_gradients_finite(scales, half):
    network, terms = Small(), three(*scales)
    rainy, background = (image.float() for image in images())
    with torch.autocast("cpu", half or torch.bfloat16, enabled=half is not None):
        loss, weights = started(PCGrad(), terms, network)(say(network, terms, rainy, background))
    loss.backward()
    assert weights.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


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
