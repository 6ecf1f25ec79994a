"""SPDNet: the background in three stages, each guided by the residue channel of the stage before."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slackoff.errors import SlackoffError
from slackoff.networks.spdnet_blocks import ConvReLU, SRiR, WaveletMultiLevel, residue_channel
from slackoff.networks.stages import StagedNetwork, Stages

# A side of fewer pixels leaves one at the third level, which has no neighbour to mirror.
SMALLEST_SIDE = 5


class SPDNet(StagedNetwork):
    """Structure-preserving deraining with residue channel prior guidance (Yi et al., ICCV 2021).

    Three stages predict the background; in each, the residue channel of the stage before (of the rainy image at first)
    guides features at three wavelet levels. The released code is the model, where it and the paper differ; its layers
    that no output depends on are left out, which leaves 2,981,525 parameters by default. Input and output: float,
    (N, 3, H, W), in about [0, 1], any size; sides under 5 px, which the original refuses, are extended by their last
    row or column.

    The original works on images in 0..255, and that is more than a matter of units: products of features and sigmoid
    gates make the network behave differently at another range. ``image_range=255`` reproduces it. Depending on the
    seed, up to four fifths of its fusion gates then start saturated and its features beyond the range of float16. The
    default is 1, where neither happens and short runs of a small SPDNet, of either recipe, learned faster.

    Args:
        channels: feature channels.
        blocks: residual blocks in each chain.
        image_range: what the value 1 of an image is inside the network, 1 or 255.
        global_residual: add the rainy image to each stage's output; False, as in the original, lets the network predict
            the background itself.
        chains: chains in a row at each of the three wavelet levels.

    Raises:
        SlackoffError: a size is not positive, or an image range that is neither 1 nor 255.
    """

    paper: ClassVar[str] = "Yi et al., SPDNet (ICCV 2021)"
    shared_layer: ClassVar[str] = "output3"

    def __init__(
        self,
        channels: int = 32,
        blocks: int = 3,
        image_range: float = 1.0,
        global_residual: bool = False,
        chains: int = 3,
    ) -> None:
        super().__init__()
        for key, value in {"channels": channels, "blocks": blocks, "chains": chains}.items():
            if value < 1:
                raise SlackoffError(f"network.{key}={value} must be at least 1")
        if image_range not in (1, 255):
            raise SlackoffError(f"network.image_range={image_range} must be 1 or 255")
        self.image_range = image_range
        self.global_residual = global_residual
        self.head = _entrance(channels)
        self.prior1, self.prior2, self.prior3 = (
            nn.Sequential(*_entrance(channels), SRiR(channels, blocks)) for _ in range(3)
        )
        self.sub1, self.sub2, self.sub3 = (WaveletMultiLevel(channels, blocks, chains) for _ in range(3))
        self.merge_input2 = ConvReLU(2 * channels, channels)
        self.merge_input3 = ConvReLU(3 * channels, channels)
        self.merge_output2 = ConvReLU(2 * channels, channels)
        self.merge_output3 = ConvReLU(3 * channels, channels)
        self.output1, self.output2, self.output3 = (nn.Conv2d(channels, 3, 3, padding=1) for _ in range(3))

    def stages(self, rainy: Tensor) -> Stages:
        """The three backgrounds, the result last: (N, 3, H, W) each, in about [0, 1]; no rain layers."""
        height, width = rainy.shape[-2:]
        missing = (0, max(0, SMALLEST_SIDE - width), 0, max(0, SMALLEST_SIDE - height))
        backgrounds = self._backgrounds(F.pad(rainy, missing, mode="replicate") * self.image_range)
        return Stages(tuple(image[..., :height, :width] / self.image_range for image in backgrounds))

    def _backgrounds(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        base: Tensor | float = image if self.global_residual else 0.0
        start = self.head(image)
        first = self.sub1(start, self.prior1(residue_channel(image)))
        background1 = self.output1(first) + base
        second = self.sub2(_join(self.merge_input2, first, start), self.prior2(residue_channel(background1)))
        background2 = self.output2(_join(self.merge_output2, second, first)) + base
        third = self.sub3(_join(self.merge_input3, second, first, start), self.prior3(residue_channel(background2)))
        background3 = self.output3(_join(self.merge_output3, third, second, first)) + base
        return background1, background2, background3


def _entrance(channels: int) -> nn.Sequential:
    """Three channels to the features' channels, by way of half of them."""
    return nn.Sequential(ConvReLU(3, max(1, channels // 2)), ConvReLU(max(1, channels // 2), channels))


def _join(merge: nn.Module, *features: Tensor) -> Tensor:
    return merge(torch.cat(features, dim=1))
