"""The loss of RESCAN (Li et al., ECCV 2018)."""

import torch.nn.functional as F
from torch import Tensor, nn

from slackoff.errors import SlackoffError
from slackoff.networks.stages import StagedNetwork


class RESCANLoss(nn.Module):
    """Sum over the stages of the mean squared error of their rain layers, in squared units of the images (1 is white).

    The true rain layer is rainy image less background, clipping included.
    """

    def forward(self, network: nn.Module, rainy: Tensor, background: Tensor) -> Tensor:
        """A scalar of float32; ``rainy`` and ``background``: float, (N, 3, H, W), in [0, 1].

        Raises:
            SlackoffError: the network gives no stages, or stages without rain layers.
        """
        rains = network.stages(rainy).rains if isinstance(network, StagedNetwork) else ()
        if not rains:
            raise SlackoffError(
                f"task.loss RESCANLoss needs a network that gives a rain layer a stage, which {type(network).__name__}"
                " does not: choose network=rescan or task=supervised"
            )
        truth = (rainy - background).float()
        return sum((F.mse_loss(rain.float(), truth) for rain in rains), truth.new_zeros(()))
