"""Weightings of loss terms: chosen by a person, balanced (MENET), learned, or by conflicts of their gradients."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import isfinite
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from slackoff.errors import SlackoffError
from slackoff.losses.term_losses import TermLosses, from_first_rank, row_norms, with_gradients
from slackoff.losses.terms import check_weights
from slackoff.networks.layers import full_precision

TINY = 1e-12
"""Up to this sum of losses or norms there is nothing to balance; added to what is divided by."""


class Weighted(NamedTuple):
    """One loss made of T.

    ``loss``: a scalar to minimise. ``weights``: (T,), detached, what each term counts in it.
    """

    loss: Tensor
    weights: Tensor


class Weighting(nn.Module, ABC):
    """Makes one loss of several terms; what it remembers between steps is in its ``state_dict``.

    ``begin`` is called once, before anything else. Parameters belong to the optimiser that trains the network. With
    several ranks all reckon the same weights, those of the whole batch.
    """

    uses_shared_layer: ClassVar[bool] = False
    """Whether it asks for the gradients of a shared layer."""

    names: tuple[str, ...] = ()

    def begin(self, names: tuple[str, ...]) -> None:
        """Take the names of the terms, in their order, and make room for what is remembered of each.

        Raises:
            SlackoffError: the weighting does not go with these terms.
        """
        self.names = names

    @abstractmethod
    def forward(self, terms: TermLosses) -> Weighted:
        """The loss of one step. In training a weighting with a memory moves it here."""


def weigh(terms: TermLosses, weights: Tensor) -> Weighted:
    """The sum of the losses with constant weights (T,)."""
    weights = weights.detach().to(terms.losses.dtype)
    return Weighted((weights * terms.losses).sum(), weights)


class Fixed(Weighting):
    """The same weights at every step.

    Args:
        weights: by the name of the term; those of terms that there are not do not count.

    Raises:
        SlackoffError: a weight is negative or not finite.
    """

    chosen: Tensor

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__()
        self.weights = dict(weights)
        check_weights("task.weighting.weights", **self.weights)

    def begin(self, names: tuple[str, ...]) -> None:
        """See ``Weighting``.

        Raises:
            SlackoffError: a term has no weight, or all have the weight 0.
        """
        super().begin(names)
        for name in names:
            if name not in self.weights:
                raise SlackoffError(
                    f"task.weighting.weights has no weight for the term {name}: give +task.weighting.weights.{name}="
                )
        if not any(self.weights[name] for name in names):
            raise SlackoffError(f"task.weighting.weights: one of {', '.join(names)} must be above 0")
        self.register_buffer("chosen", torch.tensor([float(self.weights[name]) for name in names]), persistent=False)

    def forward(self, terms: TermLosses) -> Weighted:
        return weigh(terms, self.chosen)


def share_of_others(sizes: Tensor) -> Tensor:
    """1 - x_t / sum of all x, reckoned as (sum of the others) / sum, which keeps the digits of one that dominates.

    The weights add up to T - 1. Where the sum is at most ``TINY``, all are 1.

    Args:
        sizes: (T,), at least 0.

    Returns:
        (T,), in [0, 1]; NaN where a size is not finite.
    """
    count = len(sizes)
    others = (sizes * (1 - torch.eye(count, dtype=sizes.dtype, device=sizes.device))).sum(dim=1)
    total = sizes.sum()
    # Not "total > TINY": NaN shall stay NaN.
    return torch.where(total <= TINY, torch.ones_like(sizes), others / total)


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


class DynamicWeightAverage(Weighting):
    """DWA: terms that fall more slowly count more, w_t = T softmax(r_t / temperature).

    r_t is the mean loss of the last window of steps over that of the window before it; the paper's windows are epochs,
    which an endless stream has not. Until two windows are full all weights are 1. Only how fast losses fall counts, not
    their size: terms that differ by orders of magnitude stay so.

    Args:
        temperature: of the softmax; the larger, the more equal the weights. The paper's is 2.
        window: steps.

    Raises:
        SlackoffError: an argument is not positive.
    """

    total: Tensor
    counted: Tensor
    last: Tensor
    before: Tensor
    windows: Tensor

    def __init__(self, temperature: float = 2.0, window: int = 100) -> None:
        super().__init__()
        if not temperature > 0:
            raise SlackoffError(f"task.weighting.temperature={temperature} must be above 0")
        if window < 1:
            raise SlackoffError(f"task.weighting.window={window} must be a whole number of steps from 1 up")
        self.temperature, self.window = temperature, window

    def begin(self, names: tuple[str, ...]) -> None:
        super().begin(names)
        for name in ("total", "last", "before"):
            self.register_buffer(name, torch.zeros(len(names)))
        for name in ("counted", "windows"):
            self.register_buffer(name, torch.zeros((), dtype=torch.long))

    def forward(self, terms: TermLosses) -> Weighted:
        ratio = (self.last + TINY) / (self.before + TINY)
        weights = len(ratio) * torch.softmax(ratio / self.temperature, dim=0)
        weighted = weigh(terms, torch.where(self.windows < 2, torch.ones_like(weights), weights))
        self._remember(terms.reduced)
        return weighted

    @torch.no_grad()
    def _remember(self, losses: Tensor) -> None:
        """Without looking at a number, for which a GPU would have to be waited for."""
        self.total += losses
        self.counted += 1
        full = self.counted == self.window
        self.before.copy_(torch.where(full, self.last, self.before))
        self.last.copy_(torch.where(full, self.total / self.window, self.last))
        self.windows += full
        self.total.masked_fill_(full, 0)
        self.counted.masked_fill_(full, 0)


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
            self.log_variances.clamp_(min=-20.0)
        weights = torch.exp(-self.log_variances) / 2
        loss = (weights * terms.losses).sum() + self.log_variances.sum() / 2
        return Weighted(loss, weights.detach())


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
        ratio = (losses + TINY) / (self.first + TINY)
        weighted = self.weights * norms
        target = weighted.mean() * (ratio / ratio.mean()) ** self.alpha
        direction = self.learning_rate * torch.sign(weighted - target)
        if self.log_weights:
            moved = self.weights * torch.exp(-direction * weighted / (weighted.mean() + TINY))
        else:
            moved = self.weights - direction * norms / (norms.mean() + TINY)
        moved = moved.clamp(min=1e-30)
        self.weights.copy_(len(moved) * moved / moved.sum())


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
        norms = row_norms(gradients).clamp(min=1e-30).to(gradients.dtype)
        units = gradients / norms[:, None]
        with full_precision(units):
            orders = from_first_rank(torch.rand(len(norms), len(norms), device="cpu").argsort(dim=1).to(norms.device))
            shares = norms @ surviving_parts(units @ units.T, orders)
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
