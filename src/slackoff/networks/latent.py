"""What networks that describe an image by a latent tensor have in common."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn


class Restored(NamedTuple):
    """A background (N, 3, H, W) and what the network knew of the rainy image halfway: (N, C, h, w)."""

    image: Tensor
    latent: Tensor


class LatentNetwork(nn.Module, ABC):
    """A network with an encoder whose result can be looked at; inputs are rainy images (N, 3, H, W) in [0, 1]."""

    @abstractmethod
    def latent(self, rainy: Tensor) -> Tensor:
        """(N, C, h, w), without the work of a decoder."""

    @abstractmethod
    def restored(self, rainy: Tensor) -> Restored:
        """Background and latent of one pass."""

    def forward(self, rainy: Tensor) -> Tensor:
        return self.restored(rainy).image
