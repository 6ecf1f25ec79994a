"""What loss terms say of a batch: their values, their gradients at the shared layer and through the whole network."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from slackoff.errors import SlackoffError
from slackoff.networks.layers import full_precision


class _Given(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, gradients: Sequence[Sequence[Tensor]], *inputs: Tensor) -> Tensor:
        ctx.gradients = gradients
        return values.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor | None, ...]:
        found = []
        for first, *others in zip(*ctx.gradients, strict=True):
            total = slopes[0] * first
            for slope, gradient in zip(slopes[1:], others, strict=True):  # a sum over a stack would copy all of them
                total.addcmul_(slope.to(gradient.dtype), gradient)
            found.append(total)
        return None, None, *found


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


def shared_weight(network: nn.Module, path: str | None = None) -> nn.Parameter:
    """The weight of a network's shared layer.

    Args:
        network: names its last convolution with the attribute ``shared_layer``.
        path: dotted, of a module in the network; None is the network's own choice.

    Raises:
        SlackoffError: neither says which layer, there is no such module, or it has no weight that is trained.
    """
    chosen = path or getattr(network, "shared_layer", None)
    kind = type(network).__name__
    if not chosen:
        raise SlackoffError(
            f"{kind} does not name its shared layer: say which one it is with task.shared_layer, such as conv_last"
        )
    try:
        layer = network.get_submodule(chosen)
    except AttributeError as error:
        known = ", ".join(list(dict(network.named_children()))[-4:])
        raise SlackoffError(
            f"task.shared_layer={chosen} is no module of {kind}, whose last modules are {known}: give a dotted path"
        ) from error
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, nn.Parameter) or not weight.requires_grad:
        raise SlackoffError(
            f"task.shared_layer={chosen} of {kind} has no weight that is trained: name a convolution, such as the last"
        )
    return weight


def count_ranks() -> int:
    """How many processes train together; 1 without a process group."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 1
    return torch.distributed.get_world_size()


def mean_over_ranks(value: Tensor) -> Tensor:
    """The mean of all ranks' tensors, the same on each of them: for mean losses of equal shares, that of the batch."""
    if count_ranks() == 1:
        return value
    total = value.clone()
    torch.distributed.all_reduce(total)
    return total / count_ranks()


def of_all_ranks(value: Tensor) -> Tensor:
    """All ranks' tensors (n, ...), of one shape, joined in the order of the batch, whose images they took in turns."""
    if count_ranks() == 1:
        return value
    shares = [torch.empty_like(value) for _ in range(count_ranks())]
    torch.distributed.all_gather(shares, value.contiguous())
    return torch.stack(shares, dim=1).flatten(0, 1)


def from_first_rank(value: Tensor) -> Tensor:
    """The first rank's tensor."""
    if count_ranks() > 1:
        value = value.contiguous()
        torch.distributed.broadcast(value, 0)
    return value


class TermLosses:
    """What T loss terms say of a network's output.

    Each term is differentiated once, with respect to the output, in float32 (float64 for an output in it) and outside
    the network's graph. What a weighting asks for goes on from there: T gradients of the size of the output, each of
    which is brought to length 1 before it enters the network and back to its own length behind it, so that a network in
    half precision holds every gradient, whatever the size of the loss.

    Args:
        terms: by name; each is called as ``term(output, background)`` and gives a scalar.
        output: of the network, (N, 3, H, W), in any precision.
        background: (N, 3, H, W), in [0, 1].
        parameters: of the network.
        shared_weight: of the shared layer; None where there is none.

    Attributes:
        losses: (T,), in the terms' order. Their backward pass goes through the network once for all terms.

    Raises:
        SlackoffError: a term gives no scalar, or one that does not depend on the output.
    """

    def __init__(
        self,
        terms: Mapping[str, nn.Module],
        output: Tensor,
        background: Tensor,
        parameters: Iterable[nn.Parameter],
        shared_weight: nn.Parameter | None = None,
    ) -> None:
        precise = torch.promote_types(output.dtype, torch.float32)
        self.output = output.to(precise)
        self.parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self.shared_weight = shared_weight
        seen = self.output.detach().requires_grad_()
        values, self._gradients = [], []
        with full_precision(seen):
            for name, term in terms.items():
                # A view: torch's counter of operations cannot follow a leaf through a module.
                value = term(seen.view_as(seen), background.to(precise))
                if value.dim():
                    shape = tuple(value.shape)
                    raise SlackoffError(f"task.terms.{name} gives a tensor of shape {shape}: a term gives a scalar")
                if not value.requires_grad:
                    raise SlackoffError(f"task.terms.{name} does not depend on the network's output: leave it out")
                self._gradients.append(torch.autograd.grad(value, seen)[0])
                values.append(value.detach().to(precise))
        self.losses = with_gradients(torch.stack(values), [[g] for g in self._gradients], [self.output])

    @cached_property
    def reduced(self) -> Tensor:
        """(T,): the losses, detached; with several ranks their mean, the loss of the whole batch."""
        return mean_over_ranks(self.losses.detach())

    @cached_property
    def gradient_norms(self) -> Tensor:
        """(T,): Euclidean norm of each term's gradient with respect to the shared layer's weight, over all ranks.

        Raises:
            SlackoffError: the output does not depend on the shared layer.
        """
        assert self.shared_weight is not None
        rows = []
        for gradient in self._gradients:
            found = self._through_network(gradient, [self.shared_weight])[0] if self.output.requires_grad else None
            if found is None:
                raise SlackoffError(
                    "the network's output does not depend on the shared layer: name its last convolution that the "
                    "output passes with task.shared_layer"
                )
            rows.append(found.flatten())
        gradients = mean_over_ranks(torch.stack(rows))
        return row_norms(gradients).to(gradients.dtype)

    def parameter_gradients(self) -> tuple[Tensor, list[nn.Parameter]]:
        """Each term's gradient with respect to all parameters that the output depends on, over all ranks.

        Returns:
            (T, P), the parameters one behind the other; and those parameters. It takes T backward passes.
        """
        found = [self._through_network(gradient, self.parameters) for gradient in self._gradients]
        used = [index for index, part in enumerate(found[0]) if part is not None]
        rows = [torch.cat([part.flatten() for part in parts if part is not None]) for parts in found]
        return mean_over_ranks(torch.stack(rows)), [self.parameters[index] for index in used]

    def _through_network(self, gradient: Tensor, inputs: list[nn.Parameter]) -> list[Tensor | None]:
        """Gradients with respect to the inputs; goes through the network no further than these, and keeps its graph."""
        # In float64 the squares of a gradient of 1e20 are no problem.
        scale = torch.linalg.vector_norm(gradient, dtype=torch.float64).clamp(min=1e-30).to(gradient.dtype)
        found = torch.autograd.grad(self.output, inputs, gradient / scale, retain_graph=True, allow_unused=True)
        return [None if part is None else part.to(gradient.dtype) * scale for part in found]


def row_norms(rows: Tensor) -> Tensor:
    """Euclidean norms of the rows of a matrix, float64."""
    return torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)
