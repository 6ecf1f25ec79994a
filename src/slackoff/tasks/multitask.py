"""Multi-task training: several loss terms on one output, and a weighting that makes one loss of them."""

import re
from collections.abc import Iterator, Mapping
from itertools import chain

from torch import Tensor, nn

from slackoff.data import RainyBatch
from slackoff.errors import SlackoffError
from slackoff.losses import TermLosses, Weighting, shared_weight
from slackoff.tasks.task import Cosine, Steps, Task


class MultitaskTask(Task):
    """Any network, any loss terms, any weighting, Adam: by default the recipe of MENET's code (arXiv 2003.09689).

    The weights of a step come from its own batch (and what the weighting remembers). Where gradients are accumulated
    over several batches, each batch has weights of its own; where several ranks share a batch, they all use its.

    Args:
        terms: by name, each called as ``term(output, background)``, which gives a scalar. A name is of lower-case
            letters, digits and underscores.
        weighting: see ``slackoff.losses``. Its parameters, if it has any, are trained beside the network's.
        shared_layer: dotted path of the module at whose weight gradients of the terms are compared; None: the one that
            the network names.
        log_gradient_norms: log the gradient norms of all terms at the shared layer also where the weighting does not
            need them.
        network, steps, learning_rate, betas, decay: see ``Task``.

    Raises:
        SlackoffError: no term, a name that cannot be, a weighting that does not go with the terms, or no shared layer
            where one is needed.
    """

    def __init__(
        self,
        network: nn.Module,
        terms: Mapping[str, nn.Module],
        weighting: Weighting,
        steps: int,
        learning_rate: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        decay: Cosine | Steps | None = None,
        shared_layer: str | None = None,
        log_gradient_norms: bool = False,
    ) -> None:
        super().__init__(network, steps, learning_rate, betas, decay or Steps([0.4, 0.8], 0.1))
        if not terms:
            raise SlackoffError("task.terms is empty: name at least one loss term, as terms@task.terms=pixel does")
        for name in terms:
            if not re.fullmatch("[a-z][a-z0-9_]*", name) or hasattr(nn.ModuleDict, name):
                raise SlackoffError(f"task.terms.{name} is no name: use lower-case letters, digits and underscores")
        self.terms = nn.ModuleDict(terms)
        self.weighting = weighting
        self.weighting.begin(tuple(terms))
        self.shared_layer = shared_layer
        self.has_norms = weighting.uses_shared_layer or log_gradient_norms
        if self.has_norms:
            shared_weight(network, shared_layer)

    def trained_parameters(self) -> Iterator[nn.Parameter]:
        return chain(self.network.parameters(), self.weighting.parameters())

    def losses(self, batch: RainyBatch, step: int) -> dict[str, Tensor]:
        """``loss``, and for each term ``loss/NAME``, ``weight/NAME`` and perhaps ``gradient_norm/NAME``."""
        output = self.network(batch.rainy)
        weight = shared_weight(self.network, self.shared_layer) if self.has_norms else None
        measured = TermLosses(dict(self.terms.items()), output, batch.background, self.network.parameters(), weight)
        loss, weights = self.weighting(measured)
        each = {"loss": measured.losses.detach(), "weight": weights}
        if self.has_norms:
            each["gradient_norm"] = measured.gradient_norms
        named = {
            f"{kind}/{name}": value
            for kind, values in each.items()
            for name, value in zip(self.weighting.names, values, strict=True)
        }
        return {"loss": loss, **named}
