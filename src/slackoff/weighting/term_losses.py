"""The loss terms of one batch, and their gradients for the weightings that ask for them."""

from collections.abc import Iterable, Mapping
from functools import cached_property

import torch
from torch import Tensor, nn

from slackoff.errors import SlackoffError
from slackoff.networks.precision import full_precision
from slackoff.weighting.given_gradients import with_gradients
from slackoff.weighting.ranks import mean_over_ranks

_LEAST_SCALE = 1e-30


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
                _check_scalar(name, value)
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
        gradients = torch.stack([self._shared_gradient(gradient) for gradient in self._gradients])
        return row_norms(mean_over_ranks(gradients)).to(gradients.dtype)

    def parameter_gradients(self) -> tuple[Tensor, list[nn.Parameter]]:
        """Each term's gradient with respect to all parameters that the output depends on, over all ranks.

        Returns:
            (T, P), the parameters one behind the other; and those parameters. It takes T backward passes.
        """
        found = [self._through_network(gradient, self.parameters) for gradient in self._gradients]
        used = [index for index, part in enumerate(found[0]) if part is not None]
        rows = [torch.cat([_flat(parts[index]) for index in used]) for parts in found]
        return mean_over_ranks(torch.stack(rows)), [self.parameters[index] for index in used]

    def _shared_gradient(self, gradient: Tensor) -> Tensor:
        assert self.shared_weight is not None
        found = self._through_network(gradient, [self.shared_weight])[0] if self.output.requires_grad else None
        if found is None:
            raise SlackoffError(
                "the network's output does not depend on the shared layer: name its last convolution that the output "
                "passes with task.shared_layer"
            )
        return found.flatten()

    def _through_network(self, gradient: Tensor, inputs: list[nn.Parameter]) -> list[Tensor | None]:
        """Gradients with respect to the inputs; goes through the network no further than these, and keeps its graph."""
        # In float64 the squares of a gradient of 1e20 are no problem.
        scale = torch.linalg.vector_norm(gradient, dtype=torch.float64).clamp(min=_LEAST_SCALE).to(gradient.dtype)
        found = torch.autograd.grad(self.output, inputs, gradient / scale, retain_graph=True, allow_unused=True)
        return [None if part is None else part.to(gradient.dtype) * scale for part in found]


def row_norms(rows: Tensor) -> Tensor:
    """Euclidean norms of the rows of a matrix, float64."""
    return torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)


def _flat(part: Tensor | None) -> Tensor:
    assert part is not None
    return part.flatten()


def _check_scalar(name: str, value: Tensor) -> None:
    if value.dim():
        raise SlackoffError(f"task.terms.{name} gives a tensor of shape {tuple(value.shape)}: a term gives a scalar")
    if not value.requires_grad:
        raise SlackoffError(f"task.terms.{name} does not depend on the network's output: leave it out")
