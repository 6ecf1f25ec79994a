"""Values whose gradients are known already."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _Given(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, gradients: Sequence[Sequence[Tensor]], *inputs: Tensor) -> Tensor:
        ctx.gradients = gradients
        return values.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor | None, ...]:
        of_inputs = zip(*ctx.gradients, strict=True)
        return None, None, *(_combined(slopes, column) for column in of_inputs)


def with_gradients(values: Tensor, gradients: Sequence[Sequence[Tensor]], inputs: Sequence[Tensor]) -> Tensor:
    """The values, as if they had been reckoned from the inputs: a backward pass takes the gradients that are given.

    Args:
        values: (n,), detached.
        gradients: of each value with respect to each input; of the input's shape and dtype.
        inputs: parts of the graph.

    Returns:
        (n,), differentiable once.
    """
    result: Tensor = _Given.apply(values, gradients, *inputs)
    return result


def _combined(slopes: Tensor, gradients: Sequence[Tensor]) -> Tensor:
    """One by one: a sum over a stack would copy all of them first."""
    total = slopes[0] * gradients[0]
    for slope, gradient in zip(slopes[1:], gradients[1:], strict=True):
        total.addcmul_(slope.to(gradient.dtype), gradient)
    return total
