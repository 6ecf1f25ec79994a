"""Weights that a person has chosen."""

from collections.abc import Mapping
from math import isfinite

import torch
from torch import Tensor

from slackoff.errors import SlackoffError
from slackoff.weighting.term_losses import TermLosses
from slackoff.weighting.weighting import Weighted, Weighting, weigh


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
        for name, weight in self.weights.items():
            if not isfinite(weight) or weight < 0:
                raise SlackoffError(f"task.weighting.weights.{name}={weight} must be a finite weight of at least 0")

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
