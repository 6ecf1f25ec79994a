"""Loss balancing and gradient balancing of MENET (Fan, Chen, Li, arXiv 2003.09689)."""

from typing import ClassVar

import torch
from torch import Tensor

from slackoff.errors import SlackoffError
from slackoff.weighting.term_losses import TermLosses
from slackoff.weighting.weighting import Weighted, Weighting, weigh

EPSILON = 1e-12
"""Up to this sum of losses or norms there is nothing to balance."""


def share_of_others(sizes: Tensor) -> Tensor:
    """1 - x_t / sum of all x, reckoned as (sum of the others) / sum, which keeps the digits of one that dominates.

    The weights add up to T - 1. Where the sum is at most ``EPSILON``, all are 1.

    Args:
        sizes: (T,), at least 0.

    Returns:
        (T,), in [0, 1]; NaN where a size is not finite.
    """
    count = len(sizes)
    others = (sizes * (1 - torch.eye(count, dtype=sizes.dtype, device=sizes.device))).sum(dim=1)
    total = sizes.sum()
    # Not "total > EPSILON": NaN shall stay NaN.
    return torch.where(total <= EPSILON, torch.ones_like(sizes), others / total)


class _Balancing(Weighting):
    def begin(self, names: tuple[str, ...]) -> None:
        """See ``Weighting``.

        Raises:
            SlackoffError: there is a single term, whose weight would be 0.
        """
        super().begin(names)
        if len(names) < 2:
            raise SlackoffError(
                f"task.weighting {type(self).__name__} balances several terms, and {names[0]} is alone: choose "
                "weighting@task.weighting=fixed"
            )


class LossBalancing(_Balancing):
    """LB: the larger a loss, the smaller its weight, w_t = 1 - L_t / sum of all L. Nothing is remembered."""

    def forward(self, terms: TermLosses) -> Weighted:
        return weigh(terms, share_of_others(terms.reduced))


class GradientBalancing(_Balancing):
    """GB: w_t = 1 - g_t / sum of all g, with g_t the norm of dL_t / d(weight of the shared layer).

    The shared layer is the network's last convolution, as in the authors' code; the unweighted losses are
    differentiated, and nothing is remembered. A loss far above the others comes down to the size of their sum.
    """

    uses_shared_layer: ClassVar[bool] = True

    def forward(self, terms: TermLosses) -> Weighted:
        return weigh(terms, share_of_others(terms.gradient_norms))
