"""UNet: a norm-free restoration U-Net with a global residual."""

from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slackoff.networks.layers import check_sizes


class DoubleConv(nn.Sequential):
    """Two 3x3 convolutions, each with LeakyReLU 0.2."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels_out, channels_out, 3, padding=1),
            nn.LeakyReLU(0.2),
        )


class UNet(nn.Module):
    """U-Net (Ronneberger et al. 2015) without normalisation, of the widely used "See in the Dark" type.

    "Networks are Slacking Off" trains a UNet and says nothing about its form; this one is our choice. 7,760,163
    parameters by default. Input and output: float, (N, 3, H, W), in about [0, 1]; any size of at least
    2^(levels - 1) px a side, since the input is padded by reflection and the output cropped back.

    Args:
        width: channels of the first level; each further level has twice as many.
        levels: resolutions, including the full one.
        global_residual: add the input to the output; False lets the network predict the background itself.

    Raises:
        SlackoffError: a size is not positive.
    """

    paper: ClassVar[str] = "Ronneberger et al., U-Net (MICCAI 2015)"
    shared_layer: ClassVar[str] = "head"

    def __init__(self, width: int = 32, levels: int = 5, global_residual: bool = True) -> None:
        super().__init__()
        check_sizes(width=width, levels=levels)
        self.global_residual = global_residual
        self.multiple = 2 ** (levels - 1)
        widths = [width * 2**level for level in range(levels)]
        self.encoder = nn.ModuleList(DoubleConv(a, b) for a, b in pairwise([3, *widths]))
        self.upsample = nn.ModuleList(
            nn.ConvTranspose2d(deep, shallow, 2, stride=2) for shallow, deep in reversed(list(pairwise(widths)))
        )
        self.decoder = nn.ModuleList(DoubleConv(2 * w, w) for w in reversed(widths[:-1]))
        self.head = nn.Conv2d(width, 3, 1)

    def forward(self, rainy: Tensor) -> Tensor:
        height, width = rainy.shape[-2:]
        x = F.pad(rainy, (0, -width % self.multiple, 0, -height % self.multiple), mode="reflect")
        skips = []
        for level, block in enumerate(self.encoder):
            x = block(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        skips.pop()
        for upsample, block in zip(self.upsample, self.decoder, strict=True):
            x = block(torch.cat([upsample(x), skips.pop()], dim=1))
        output = self.head(x)[..., :height, :width]
        return rainy + output if self.global_residual else output
