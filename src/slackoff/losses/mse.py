"""The mean squared error as a whole loss: that of DDN (Fu et al., CVPR 2017)."""

import torch.nn.functional as F
from torch import Tensor, nn


class MSE(nn.Module):
    """Mean squared error of a network's output, in squared units of images in [0, 1]."""

    def forward(self, network: nn.Module, rainy: Tensor, background: Tensor) -> Tensor:
        """A scalar; ``rainy`` and ``background``: float, (N, 3, H, W), in [0, 1]."""
        return F.mse_loss(network(rainy), background)
