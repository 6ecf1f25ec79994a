"""The parts of JORDER-E: a block of dilated paths, and a stage that estimates rain mask, rain level and background."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from slackoff.networks.dilated import DilatedConv2d

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


def conv(channels_in: int, channels_out: int, dilation: int = 1) -> nn.Conv2d:
    """3x3 with biases, keeping the size."""
    return DilatedConv2d(channels_in, channels_out, dilation)


class ContextBlock(nn.Module):
    """The input and three paths of two convolutions each; the two paths of wider reach count a tenth."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.near, self.wide, self.wider = (
            nn.Sequential(conv(channels, channels, first), nn.ReLU(), conv(channels, channels, second), nn.ReLU())
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
        self.encoder = conv(6, channels)
        self.blocks = nn.ModuleList(ContextBlock(channels) for _ in range(blocks))
        self.mask = nn.Sequential(conv(channels, HINTS), conv(HINTS, 2))
        self.level = nn.Sequential(conv(channels, HINTS), conv(HINTS, 3))
        self.mask_scale, self.mask_shift = _modulator(2, channels), _modulator(2, channels)
        self.level_scale, self.level_shift = _modulator(3, channels), _modulator(3, channels)
        self.decoder = nn.Sequential(conv(channels, channels), conv(channels, 3))
        for scale in (self.mask_scale, self.level_scale):
            _start_at_one(scale[-1])

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
    return nn.Sequential(conv(channels_in, MODULATION), nn.ReLU(), conv(MODULATION, channels))


@torch.no_grad()
def _start_at_one(last: nn.Module) -> None:
    """A scale that is 1 whatever mask or level it is given, as in the release: training starts without them."""
    for name, parameter in last.named_parameters():
        parameter.fill_(float(name == "bias"))
