"""A step against the gradient lowers the loss, by as much as calculus says: true on any processor.

After many steps from random weights the loss is chaotic in the rounding, so a bound on it fits one processor only.
"""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]

FALL = 1e-4
"""The share of the loss by which a step is to lower it: small for calculus, large beside float32's 1e-7."""


def check_descent(network: nn.Module, loss: Loss, rainy: Tensor, background: Tensor) -> None:
    """To first order L(w - s g) = L(w) - s |g|^2, with the gradient g and a small s.

    Weights and images are float64; some losses compute in float32. Both passes see the same draws and begin with the
    same buffers, which a pass in training moves.
    """
    stepped = copy.deepcopy(network).double()
    before, gradients = gradient(network.double(), loss, rainy.double(), background.double())
    square = sum(part.square().sum() for part in gradients.values())
    with torch.no_grad():
        for name, part in gradients.items():
            stepped.get_parameter(name).sub_(FALL * before / square * part)
    after, _ = gradient(stepped, loss, rainy.double(), background.double())
    assert 1 - after / before == pytest.approx(FALL, rel=0.05)


def check_bf16_gradients(network: nn.Module, loss: Loss, rainy: Tensor, background: Tensor) -> None:
    """Under autocast the gradient of all parameters together points where that of float64 does."""
    exact = copy.deepcopy(network).double()
    _, expected = gradient(exact, loss, rainy.double(), background.double())
    with torch.autocast("cpu", torch.bfloat16):
        _, found = gradient(network, loss, rainy, background)
    assert found.keys() == expected.keys()
    a, b = (torch.cat([part.double().flatten() for part in parts.values()]) for parts in (found, expected))
    assert nn.functional.cosine_similarity(a, b, dim=0) > 0.9


def gradient(network: nn.Module, loss: Loss, rainy: Tensor, background: Tensor) -> tuple[float, dict[str, Tensor]]:
    """The loss, and its gradient by the names of the parameters that have one; random draws are always the same."""
    torch.manual_seed(0)
    value = loss(network, rainy, background)
    value.backward()
    return value.item(), {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
