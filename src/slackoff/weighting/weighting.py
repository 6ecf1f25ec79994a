"""What all weightings have in common."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from slackoff.weighting.term_losses import TermLosses


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
