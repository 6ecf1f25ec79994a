"""The common loss of "Networks are Slacking Off"."""

import torch.nn.functional as F
from torch import Tensor, nn


class L1(nn.Module):
    """Mean absolute error of a network's output, in units of the images (1 is 255 grey levels)."""

    def forward(self, network: nn.Module, rainy: Tensor, background: Tensor) -> Tensor:
        """A scalar; ``rainy`` and ``background``: float, (N, 3, H, W), in [0, 1]."""
        return F.l1_loss(network(rainy), background)
