"""Methods that have nothing to train: they work on each image anew, for as long as that takes."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn


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
