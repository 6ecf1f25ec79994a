"""GradNorm (Chen, Badrinarayanan, Lee, Rabinovich, ICML 2018)."""

from math import isfinite
from typing import ClassVar

import torch
from torch import Tensor

from slackoff.errors import SlackoffError
from slackoff.weighting.term_losses import TermLosses
from slackoff.weighting.weighting import Weighted, Weighting, weigh

_NO_DIVISION_BY_ZERO = 1e-12
_LEAST_WEIGHT = 1e-30


class GradNorm(Weighting):
    """Weights that learn to bring the gradient norms of all terms to a common size.

    With g_t the norm of dL_t / d(weight of the shared layer) and G_t = w_t g_t, the weights minimise the sum of
    |G_t - mean(G) r_t^alpha|, where r_t is L_t / L_t(first step) over the mean of these ratios, and the target counts
    as a constant. So the gradient by w_t is sign(G_t - target_t) g_t, and no second backward pass is needed. One step
    of gradient descent follows each step of the network; then the weights are brought to a sum of T.

    Differs from the paper: the gradient is divided by the mean of all g, so that the learning rate does not depend on
    the units of the losses; weights are held above 0, which a step could cross.

    Args:
        alpha: strength of the pull towards a common training rate; 0 wants equal norms. The paper's values lie between
            0.12 and 3.
        learning_rate: of the weights.
        log_weights: the logarithms of the weights are learned instead (the gradient by log w_t is that by w_t times
            w_t, divided by mean(G)). A step then changes a weight by a share of itself: with terms orders of magnitude
            apart the paper's steps can only jump across the small weights that are needed.

    Raises:
        SlackoffError: an argument is negative, not finite, or a learning rate of 0.
    """

    uses_shared_layer: ClassVar[bool] = True
    weights: Tensor
    first: Tensor
    started: Tensor

    def __init__(self, alpha: float = 1.5, learning_rate: float = 0.025, log_weights: bool = False) -> None:
        super().__init__()
        if not isfinite(alpha) or alpha < 0:
            raise SlackoffError(f"task.weighting.alpha={alpha} must be finite and at least 0")
        if not isfinite(learning_rate) or learning_rate <= 0:
            raise SlackoffError(f"task.weighting.learning_rate={learning_rate} must be finite and above 0")
        self.alpha, self.learning_rate, self.log_weights = alpha, learning_rate, log_weights

    def begin(self, names: tuple[str, ...]) -> None:
        super().begin(names)
        self.register_buffer("weights", torch.ones(len(names)))
        self.register_buffer("first", torch.zeros(len(names)))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))

    def forward(self, terms: TermLosses) -> Weighted:
        weighted = weigh(terms, self.weights.clone())
        self._learn(terms.reduced, terms.gradient_norms)
        return weighted

    @torch.no_grad()
    def _learn(self, losses: Tensor, norms: Tensor) -> None:
        self.first.copy_(torch.where(self.started, self.first, losses))
        self.started.fill_(True)
        ratio = (losses + _NO_DIVISION_BY_ZERO) / (self.first + _NO_DIVISION_BY_ZERO)
        weighted = self.weights * norms
        target = weighted.mean() * (ratio / ratio.mean()) ** self.alpha
        direction = self.learning_rate * torch.sign(weighted - target)
        if self.log_weights:
            moved = self.weights * torch.exp(-direction * weighted / (weighted.mean() + _NO_DIVISION_BY_ZERO))
        else:
            moved = self.weights - direction * norms / (norms.mean() + _NO_DIVISION_BY_ZERO)
        moved = moved.clamp(min=_LEAST_WEIGHT)
        self.weights.copy_(len(moved) * moved / moved.sum())
