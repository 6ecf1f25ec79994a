"""The parts of MOSS' network: residual blocks and the fusion of encoder and decoder features."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KEEP_PROBABILITY = 0.8


class ResidualBlock(nn.Module):
    """conv-LeakyReLU-conv added to its input, without norm, bias or an activation after the sum.

    Args:
        channels_in, channels_out: where they differ, a 1x1 convolution brings the input to the output's channels.
        wide_width: between the convolutions are as many channels as the wider of input and output has, as in the
            authors' code; False: as many as the output has, as in the table of the paper's supplement.
    """

    def __init__(self, channels_in: int, channels_out: int, wide_width: bool = True) -> None:
        super().__init__()
        middle = max(channels_in, channels_out) if wide_width else channels_out
        self.conv1 = nn.Conv2d(channels_in, middle, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(middle, channels_out, 3, padding=1, bias=False)
        self.shortcut: nn.Module = nn.Identity()
        if channels_in != channels_out:
            self.shortcut = nn.Conv2d(channels_in, channels_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.conv2(F.leaky_relu(self.conv1(x), 0.02))


class EncoderStage(nn.Module):
    """Residual blocks, the first of which changes the channels; a mean over 2x2 pixels follows it by ``pool``."""

    def __init__(self, channels_in: int, channels_out: int, blocks: int, pool: bool, wide_width: bool) -> None:
        super().__init__()
        self.pool = pool
        self.blocks = _chain(channels_in, channels_out, blocks, wide_width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks[0](x)
        return self.blocks[1:](F.avg_pool2d(x, 2) if self.pool else x)


class DecoderStage(nn.Module):
    """Residual blocks, the first of which changes the channels; by ``upsample`` behind a bilinear enlargement by 2."""

    def __init__(self, channels_in: int, channels_out: int, blocks: int, upsample: bool, wide_width: bool) -> None:
        super().__init__()
        self.upsample = upsample
        self.blocks = _chain(channels_in, channels_out, blocks, wide_width)

    def forward(self, x: Tensor) -> Tensor:
        if self.upsample:
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.blocks(x)


class ConditionalFusion(nn.Module):
    """Conditional batch normalisation: an encoder feature, normalised, with scale and shift from a decoder feature.

    Scale and shift come from 1x1 convolutions that start at zero, so that the fusion starts as the normalised encoder
    feature.

    Args:
        channels: of both features.
        gate: mix in a second branch, with a learned scale and shift for each channel (zero at the start, too), by a
            learned map; in training it is left out for a fifth of the images, drawn from torch's global generator.
            The supplement does not name it, the published weights have it.
    """

    def __init__(self, channels: int, gate: bool = True) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gamma = nn.Conv2d(channels, channels, 1, bias=False)
        self.beta = nn.Conv2d(channels, channels, 1, bias=False)
        self.gate: nn.Conv2d | None = nn.Conv2d(channels, 1, 1, bias=False) if gate else None
        if gate:
            self.scale = nn.Parameter(torch.empty(1, channels, 1, 1))
            self.shift = nn.Parameter(torch.empty(1, channels, 1, 1))
        self.start_neutral()

    @torch.no_grad()
    def start_neutral(self) -> None:
        """Zero all that scales and shifts; the gate's convolution stays as it is."""
        self.gamma.weight.zero_()
        self.beta.weight.zero_()
        if self.gate is not None:
            self.scale.zero_()
            self.shift.zero_()

    def forward(self, encoded: Tensor, decoded: Tensor) -> Tensor:
        """Both (N, channels, h, w), as is the result."""
        feature = self.norm(encoded)
        conditioned = feature * (1 + self.gamma(decoded)) + self.beta(decoded)
        if self.gate is None:
            return conditioned
        share = torch.sigmoid(self.gate(feature))
        if self.training:
            share = share * (torch.rand(len(share), 1, 1, 1, device=share.device) < KEEP_PROBABILITY)
        return conditioned + share * (feature * (1 + self.scale) + self.shift - conditioned)


def _chain(channels_in: int, channels_out: int, blocks: int, wide_width: bool) -> nn.Sequential:
    further = (ResidualBlock(channels_out, channels_out) for _ in range(blocks - 1))
    return nn.Sequential(ResidualBlock(channels_in, channels_out, wide_width), *further)
