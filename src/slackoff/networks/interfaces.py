"""What other rooms may ask of a network beyond an image: a latent tensor, its stages, or a method without training."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
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


class PerImageMethod(nn.Module, ABC):
    """A method without parameters behind the interface of a network; it takes each image as a whole.

    What it computes depends on the values of the image, so its operations are not counted. On the meta device it gives
    the sizes of its result and no values.
    """

    @abstractmethod
    def derain(self, rainy: Tensor, advance: Callable[[float], object] = lambda share: None) -> Tensor:
        """The background of one image.

        Args:
            rainy: float, (3, H, W), RGB in [0, 1], any size.
            advance: told the share of the work that has been done since it was last told.

        Returns:
            The same shape, in [0, 1]; it has no gradients.
        """

    def forward(self, rainy: Tensor) -> Tensor:
        """The backgrounds of images (N, 3, H, W), one after the other; no image changes what another becomes."""
        if rainy.is_meta:
            return torch.empty_like(rainy)
        return torch.stack([self.derain(image) for image in rainy])
