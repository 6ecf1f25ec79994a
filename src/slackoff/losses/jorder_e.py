"""The loss of JORDER-E's release (Yang et al., TPAMI 2019)."""

from math import isfinite

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slackoff.errors import SlackoffError
from slackoff.networks.jorder_e import JORDERE

GREY_LEVELS = 255.0
RELEASED_PIXELS = 8 * 64 * 64  # of a batch of the release, eight patches of 64 px: its mask error is a sum over them
MASK_RULES = ("as_released", "rain")


class JORDERELoss(nn.Module):
    """l1 of both backgrounds and of the rain level in grey levels (0..255), and the cross-entropy of the rain mask.

    In the release the mask's error is a sum over the pixels of a batch, times 1e-3. Here it is their mean, times what
    makes the two equal for a batch of the release (eight patches of 64 px): so it has the same share in the loss for
    any patch, batch and number of ranks.

    Args:
        mask_rule: which pixels the mask shall mark. "as_released": those whose red is brighter in the background than
            in the rainy image, as coded, which is the opposite of rain; where rain only adds light there are none, and
            the mask learns a constant. "rain": those whose red is brighter in the rainy image.
        mask: weight of the mask's mean cross-entropy (natural logarithm).
        level: weight of the l1 of the level against background less rainy image.

    Raises:
        SlackoffError: a rule that is not known, or a weight that is negative or not finite.
    """

    def __init__(
        self, mask_rule: str = "as_released", mask: float = 1e-3 * RELEASED_PIXELS, level: float = 1e-2
    ) -> None:
        super().__init__()
        if mask_rule not in MASK_RULES:
            raise SlackoffError(f"task.loss.mask_rule={mask_rule} is not known: choose {' or '.join(MASK_RULES)}")
        for key, weight in {"mask": mask, "level": level}.items():
            if not isfinite(weight) or weight < 0:
                raise SlackoffError(f"task.loss.{key}={weight} must be a finite weight of at least 0")
        self.sign = -1.0 if mask_rule == "rain" else 1.0
        self.mask = mask
        self.level = level

    def forward(self, network: nn.Module, rainy: Tensor, background: Tensor) -> Tensor:
        """A scalar of float32; ``rainy`` and ``background``: float, (N, 3, H, W), RGB in [0, 1].

        Raises:
            SlackoffError: the network is no JORDER-E.
        """
        if not isinstance(network, JORDERE):
            raise SlackoffError(
                f"task.loss JORDERELoss needs a network that estimates mask and level of the rain, which "
                f"{type(network).__name__} does not: choose network=jorder_e or task=supervised"
            )
        found = network.estimates(rainy)
        removed = background - rainy
        marked = (self.sign * removed[:, 0] > 0).long()
        images = torch.stack([_l1(estimate, background) for estimate in found.backgrounds]).sum()
        mask = F.cross_entropy(found.mask.float(), marked)
        return images + self.level * _l1(found.level, removed) + self.mask * mask


def _l1(estimate: Tensor, truth: Tensor) -> Tensor:
    return GREY_LEVELS * F.l1_loss(estimate.float(), truth.float())
