"""Networks that give an estimate at each of several stages."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn


class Stages(NamedTuple):
    """Every estimate that a network makes on the way: (N, 3, H, W) each, in the units of its input.

    ``backgrounds``: of the background, the last one is the result. ``rains``: of the rain layer, if it makes any.
    """

    backgrounds: tuple[Tensor, ...]
    rains: tuple[Tensor, ...] = ()


class StagedNetwork(nn.Module, ABC):
    """A network whose stages a loss can ask for; called plainly, it gives its last background."""

    @abstractmethod
    def stages(self, rainy: Tensor) -> Stages:
        """Every estimate for rainy images: float, (N, 3, H, W), in [0, 1]."""

    def forward(self, rainy: Tensor) -> Tensor:
        return self.stages(rainy).backgrounds[-1]
