"""JORDER-E: joint estimation of rain mask, rain level and background, in two stages of blocks with dilated paths."""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from slackoff.networks.interfaces import StagedNetwork, Stages
from slackoff.networks.layers import GREY_LEVELS, DilatedConv2d, check_sizes

HINTS = 8  # channels between the features and the mask or the level
MODULATION = 16  # channels between the mask or the level and what modulates the features


class StageOutput(NamedTuple):
    """What a stage gives: images in 0..255 (N, 3, H, W).

    ``estimate``: the background. ``mask``: logits (N, 2, H, W) of the classes 0 and 1. ``level``: background less rainy
    image. ``features``: of each block, (N, C, H, W), for the same block of the next stage.
    """

    estimate: Tensor
    mask: Tensor
    level: Tensor
    features: tuple[Tensor, ...]


class ContextBlock(nn.Module):
    """The input and three paths of two convolutions each; the two paths of wider reach count a tenth."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.near, self.wide, self.wider = (
            nn.Sequential(
                DilatedConv2d(channels, channels, first),
                nn.ReLU(),
                DilatedConv2d(channels, channels, second),
                nn.ReLU(),
            )
            for first, second in ((1, 1), (2, 2), (2, 4))
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.near(x) + 0.1 * self.wide(x) + 0.1 * self.wider(x)


class Stage(nn.Module):
    """One estimate of mask, level and background from the rainy image and the estimate before.

    Args:
        channels: of the features.
        blocks: ``ContextBlock`` s in turn.
    """

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.encoder = DilatedConv2d(6, channels)
        self.blocks = nn.ModuleList(ContextBlock(channels) for _ in range(blocks))
        self.mask = nn.Sequential(DilatedConv2d(channels, HINTS), DilatedConv2d(HINTS, 2))
        self.level = nn.Sequential(DilatedConv2d(channels, HINTS), DilatedConv2d(HINTS, 3))
        self.mask_scale, self.mask_shift = _modulator(2, channels), _modulator(2, channels)
        self.level_scale, self.level_shift = _modulator(3, channels), _modulator(3, channels)
        self.decoder = nn.Sequential(DilatedConv2d(channels, channels), DilatedConv2d(channels, 3))
        for scale in (self.mask_scale, self.level_scale):  # 1 whatever mask or level it is given, as in the release
            for name, parameter in scale[-1].named_parameters():
                nn.init.constant_(parameter, float(name == "bias"))

    def forward(self, rainy: Tensor, estimate: Tensor, before: StageOutput | None) -> StageOutput:
        """Images in 0..255, (N, 3, H, W); ``before``: what the stage before gave, None in the first."""
        x = self.encoder(torch.cat([rainy, estimate], dim=1))
        features: list[Tensor] = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if before is not None:
                x = x + before.features[number]
            features.append(x)
        mask, level = self.mask(x), self.level(x)
        if before is not None:
            mask, level = mask + before.mask, level + before.level
        x = x + self.mask_shift(mask) + self.level_shift(level) + self.mask_scale(mask) * x * self.level_scale(level)
        return StageOutput(self.decoder(x) + rainy, mask, level, tuple(features))


def _modulator(channels_in: int, channels: int) -> nn.Sequential:
    return nn.Sequential(DilatedConv2d(channels_in, MODULATION), nn.ReLU(), DilatedConv2d(MODULATION, channels))


class JorderEstimates(NamedTuple):
    """All that JORDER-E gives, (N, C, H, W) each.

    ``backgrounds``: one a stage, the result last, in about [0, 1]. ``mask``: two logits a pixel, of the classes 0 and
    1, by the last stage. ``level``: background less rainy image, so negative rain, in the unit of the images, by the
    last stage.
    """

    backgrounds: tuple[Tensor, ...]
    mask: Tensor
    level: Tensor


class JORDERE(StagedNetwork):
    """Joint rain detection and removal, enhanced (Yang, Tan, Feng, Guo, Yan, Liu, TPAMI 2019), as released.

    Two stages with weights of their own. Each estimates where rain is (mask) and how much (level) from features of
    dilated convolutions, lets both modulate the features, and decodes them into what to add to the rainy image. The
    release has neither the paper's branch for haze nor its step that preserves detail, and so has this. 4,169,024
    parameters by default; the release's practical model, whose weights are published, has 406,784 (32 channels, 3
    blocks).

    Input and output: float, (N, 3, H, W), RGB in about [0, 1], any size; inside, images are in 0..255.

    Args:
        channels: of the features.
        blocks: of dilated convolutions in each stage.

    Raises:
        SlackoffError: a size below 1.
    """

    paper: ClassVar[str] = "Yang et al., JORDER-E (TPAMI 2019)"
    shared_layer: ClassVar[str] = "stage2.decoder.1"

    def __init__(self, channels: int = 64, blocks: int = 9) -> None:
        super().__init__()
        check_sizes(channels=channels, blocks=blocks)
        self.stage1, self.stage2 = Stage(channels, blocks), Stage(channels, blocks)

    def estimates(self, rainy: Tensor) -> JorderEstimates:
        """Both backgrounds, mask and level for rainy images: float, (N, 3, H, W), in [0, 1]."""
        image = rainy * GREY_LEVELS
        first: StageOutput = self.stage1(image, image, None)
        last: StageOutput = self.stage2(image, first.estimate, first)
        backgrounds = (first.estimate / GREY_LEVELS, last.estimate / GREY_LEVELS)
        return JorderEstimates(backgrounds, last.mask, last.level / GREY_LEVELS)

    def stages(self, rainy: Tensor) -> Stages:
        """The two backgrounds, the result last: (N, 3, H, W) each, in about [0, 1]; no rain layers."""
        return Stages(self.estimates(rainy).backgrounds)
