"""PCGrad, projecting conflicting gradients (Yu, Kumar, Gupta, Levine, Hausman, Finn, NeurIPS 2020)."""

import torch
from torch import Tensor

from slackoff.networks.precision import full_precision
from slackoff.weighting.given_gradients import with_gradients
from slackoff.weighting.ranks import from_first_rank
from slackoff.weighting.term_losses import TermLosses, row_norms
from slackoff.weighting.weighting import Weighted, Weighting

_LEAST_NORM = 1e-30


class PCGrad(Weighting):
    """Each term's gradient loses its part against each other term's before they are added up.

    For each term the others come in an order drawn from torch's own generator; where the gradient so far has a negative
    product with another term's (original) gradient, it is projected onto the plane across it. The gradients are those
    of all parameters, so a step takes T backward passes and the memory of two sets of gradients for each term. With
    several ranks the gradients are averaged first and the first rank's order counts: the step is that of one process on
    the whole batch.

    The loss is the plain sum of the terms; the weights that are told are how often each term's gradient is in the sum.
    """

    def forward(self, terms: TermLosses) -> Weighted:
        gradients, parameters = terms.parameter_gradients()
        norms = row_norms(gradients).clamp(min=_LEAST_NORM).to(gradients.dtype)
        units = gradients / norms[:, None]
        with full_precision(units):
            shares = norms @ surviving_parts(units @ units.T, _draw_orders(len(norms), norms.device))
            total = (shares @ units).split([parameter.numel() for parameter in parameters])
        shaped = [part.view_as(parameter) for part, parameter in zip(total, parameters, strict=True)]
        loss = with_gradients(terms.losses.detach().sum()[None], [shaped], parameters).sum()
        return Weighted(loss, shares / norms)


def surviving_parts(cosines: Tensor, orders: Tensor) -> Tensor:
    """What is left of T vectors of length 1 after the projections, as sums of these vectors.

    All projections stay within the span of the vectors, so the products among them are all that is needed.

    Args:
        cosines: (T, T), products of the vectors.
        orders: (T, T), integers; row i is the order in which vector i meets the others; itself, in it too, it passes.

    Returns:
        (T, T): row i has the coefficients of what is left of vector i.
    """
    identity = torch.eye(len(cosines), dtype=cosines.dtype, device=cosines.device)
    parts, itself = identity, torch.arange(len(cosines), device=cosines.device)
    for met in orders.T:
        products = (parts * cosines[:, met].T).sum(dim=1)
        against = (products < 0) & (met != itself)
        parts = parts - torch.where(against, products, 0)[:, None] * identity[met]
    return parts


def _draw_orders(count: int, device: torch.device) -> Tensor:
    orders = torch.rand(count, count, device="cpu").argsort(dim=1)
    return from_first_rank(orders.to(device))
