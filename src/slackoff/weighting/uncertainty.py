"""Uncertainty weighting (Kendall, Gal, Cipolla, CVPR 2018)."""

import torch
from torch import nn

from slackoff.weighting.term_losses import TermLosses
from slackoff.weighting.weighting import Weighted, Weighting

_LEAST_LOG_VARIANCE = -20.0


class Uncertainty(Weighting):
    """Sum of exp(-s_t) L_t / 2 + s_t / 2, in which the log variances s_t are learned beside the network.

    For a constant loss the minimum is at s_t = log L_t, where the weighted loss is 1/2 whatever L_t is. Adam moves s_t
    by about the learning rate in a step: losses of 1e13 take 30,000 steps of 1e-3 from a start at 0. A loss of 0 would
    drive s_t down without end, so it is held at -20 (a weight of 2.4e8).

    Args:
        log_variance: that all s_t start from.
    """

    def __init__(self, log_variance: float = 0.0) -> None:
        super().__init__()
        self.log_variance = log_variance

    def begin(self, names: tuple[str, ...]) -> None:
        super().begin(names)
        self.log_variances = nn.Parameter(torch.full((len(names),), float(self.log_variance)))

    def forward(self, terms: TermLosses) -> Weighted:
        # Clamped itself, not by torch.clamp in the graph, which would leave no gradient to come back by.
        with torch.no_grad():
            self.log_variances.clamp_(min=_LEAST_LOG_VARIANCE)
        weights = torch.exp(-self.log_variances) / 2
        loss = (weights * terms.losses).sum() + self.log_variances.sum() / 2
        return Weighted(loss, weights.detach())
