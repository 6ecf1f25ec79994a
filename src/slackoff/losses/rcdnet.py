"""The loss of RCDNet's release."""

from math import isfinite

import torch.nn.functional as F
from torch import Tensor, nn

from slackoff.errors import SlackoffError
from slackoff.networks.stages import StagedNetwork

GREY_LEVELS = 255.0


class RCDNetLoss(nn.Module):
    """Squared errors of every stage, in grey levels (Wang et al., CVPR 2020, as in their release since 2022-09-19).

    A weighted sum of mean squared errors on the 0..255 scale, hence hundreds at the start: of the backgrounds
    against the true one, of the rain layers against rainy image less true background. The last rain layer counts
    among the stages and once more by itself, with a weight of 1 in all. Releases of before that date applied the
    factor of the stages to the running sum, which gave later stages geometrically larger weights.

    Args:
        result: weight of the last background.
        stage_backgrounds: weight of each stage's background.
        first_background: weight of the background before the first stage.
        stage_rains: weight of each stage's rain layer.
        last_rain: weight of the last rain layer, beside the one that it has as a stage's.

    Raises:
        SlackoffError: a weight is negative or not finite, or none is positive.
    """

    def __init__(
        self,
        result: float = 1.0,
        stage_backgrounds: float = 0.1,
        first_background: float = 0.1,
        stage_rains: float = 0.1,
        last_rain: float = 0.9,
    ) -> None:
        super().__init__()
        weights = {
            "result": result,
            "stage_backgrounds": stage_backgrounds,
            "first_background": first_background,
            "stage_rains": stage_rains,
            "last_rain": last_rain,
        }
        for key, weight in weights.items():
            if not isfinite(weight) or weight < 0:
                raise SlackoffError(f"task.loss.{key}={weight} must be a finite weight of at least 0")
        if not any(weights.values()):
            raise SlackoffError(f"task.loss: one of {', '.join(weights)} must be above 0")
        self.result = result
        self.stage_backgrounds = stage_backgrounds
        self.first_background = first_background
        self.stage_rains = stage_rains
        self.last_rain = last_rain

    def forward(self, network: nn.Module, rainy: Tensor, background: Tensor) -> Tensor:
        """A scalar; ``rainy`` and ``background``: float, (N, 3, H, W), in [0, 1].

        Raises:
            SlackoffError: the network gives no stages, or stages without rain layers.
        """
        stages = network.stages(rainy) if isinstance(network, StagedNetwork) else None
        if stages is None or not stages.rains:
            raise SlackoffError(
                f"task.loss RCDNetLoss needs a network that gives a rain layer a stage, which {type(network).__name__}"
                " does not: choose network=rcdnet or task=supervised"
            )
        first, *middle, result = (_squared_error(estimate, background) for estimate in stages.backgrounds)
        rains = [_squared_error(estimate, rainy - background) for estimate in stages.rains]
        return (
            self.result * result
            + self.stage_backgrounds * sum(middle)
            + self.first_background * first
            + self.stage_rains * sum(rains)
            + self.last_rain * rains[-1]
        )


def _squared_error(estimate: Tensor, truth: Tensor) -> Tensor:
    return F.mse_loss(estimate.float(), truth.float()) * GREY_LEVELS**2
