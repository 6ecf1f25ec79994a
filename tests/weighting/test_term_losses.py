import numpy as np
import pytest
import torch
from torch import nn
from weighting_problem import Small, Term, images, plain_gradients, say, three

from slackoff.errors import SlackoffError
from slackoff.losses import TermLosses

LAST = slice(5 * 28, 5 * 28 + 3 * 5 * 9)  # the second convolution's weight among all parameters


def test_losses_are_those_of_the_terms_and_so_is_their_backward_pass():
    network, terms, (rainy, background) = Small().double(), three(1.0, 40.0, 7.0), images()
    found = say(network, terms, rainy, background)
    expected = [term(network(rainy), background).item() for term in terms.values()]
    np.testing.assert_allclose(found.losses.detach(), expected, rtol=1e-12)
    weights = torch.tensor([0.5, 0.1, 2.0], dtype=torch.float64)
    (weights * found.losses).sum().backward()
    gradient = torch.cat([parameter.grad.flatten() for parameter in network.parameters()])
    torch.testing.assert_close(
        gradient, weights @ plain_gradients(network, terms, rainy, background), rtol=1e-10, atol=0
    )


def test_gradient_norms_are_those_of_a_backward_pass_each():
    network, terms, (rainy, background) = Small().double(), three(1.0, 40.0, 7.0), images()
    expected = np.linalg.norm(plain_gradients(network, terms, rainy, background)[:, LAST].numpy(), axis=1)
    assert expected.min() > 1e-3
    np.testing.assert_allclose(say(network, terms, rainy, background).gradient_norms, expected, rtol=1e-10)


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
