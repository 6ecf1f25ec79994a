"""The blocks of SPDNet (Yi et al., ICCV 2021), named as in its paper. Feature maps are (N, C, H, W)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slackoff.networks.haar import haar, inverse_haar

LEVELS = 3


def residue_channel(image: Tensor) -> Tensor:
    """The residue channel prior: per pixel the largest of R, G, B less the smallest, in all three channels.

    (N, 3, H, W) to the same. Achromatic rain that is added to the image does not change it.
    """
    lowest, highest = torch.aminmax(image, dim=1, keepdim=True)
    return (highest - lowest).expand_as(image)


class ConvReLU(nn.Sequential):
    """3x3 convolution over a border mirrored by one pixel, then ReLU."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 3, padding=1, padding_mode="reflect"), nn.ReLU(inplace=True)
        )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, ReLU after both, channels scaled by squeeze and excitation, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
        )
        self.excitation = nn.Sequential(
            nn.Linear(channels, channels, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(channels, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        features = self.body(x)
        scale = self.excitation(features.mean((2, 3)))
        return x + features * scale[..., None, None]


class SRiR(nn.Module):
    """Squeeze-and-excitation residual in residual: blocks and a 3x3 convolution, added to the input, then ReLU."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.conv(self.blocks(x)))


class InteractiveFusion(nn.Module):
    """Interactive fusion module (IFM): image and prior features weigh each other.

    Both come back reweighted by maps that grow with the features themselves, so this block squares the scale of what
    it gets.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels, 3, padding=1)
        self.key = nn.Conv2d(channels, channels, 3, padding=1)
        self.image_gates = nn.Conv2d(2 * channels, 2, 3, padding=1)
        self.prior_gates = nn.Conv2d(2 * channels, 2, 3, padding=1)

    def forward(self, image: Tensor, prior: Tensor) -> tuple[Tensor, Tensor]:
        attention = torch.sigmoid(self.query(image) * self.key(prior))
        return _gated(image, attention, self.image_gates), _gated(prior, attention, self.prior_gates)


def _gated(features: Tensor, attention: Tensor, gates: nn.Conv2d) -> Tensor:
    """Plain and attended features, each times its own one-channel map."""
    attended = features * attention
    plain_gate, attended_gate = gates(torch.cat([features, attended], dim=1)).split(1, dim=1)
    return features * plain_gate + attended * attended_gate


class Fuse(nn.Module):
    """Add deep features to a skip of about the same size; both at least 0, and so is the result.

    The original's transposed convolution doubles a size that is right already, and a nearest resize undoes it: odd, but
    part of the trained network. ReLU commutes with the resize and is cheaper after it; the original's second one, after
    the block, would change nothing.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.transposed = nn.ConvTranspose2d(channels, channels, 3, stride=2)
        self.block = ResidualBlock(channels)

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        doubled = self.transposed(F.pad(deep, (1, 1, 1, 1), mode="reflect"))
        return self.block(F.relu(_nearest(doubled, *skip.shape[-2:])) + skip)


def _nearest(x: Tensor, height: int, width: int) -> Tensor:
    """Features resized to the nearest pixel.

    In an exported graph by torch's own float32 arithmetic: what ONNX has for it rounds some positions otherwise.
    """
    if not torch.compiler.is_exporting():
        return F.interpolate(x, (height, width), mode="nearest")
    for axis, size in ((-2, height), (-1, width)):
        step = torch.full((), x.shape[axis], dtype=torch.float32) / torch.full((), size, dtype=torch.float32)
        x = x.index_select(axis, (torch.arange(size, dtype=torch.float32) * step).to(torch.int64))
    return x


class WaveletMultiLevel(nn.Module):
    """Wavelet-based multi-level module (WMLM): image features guided by prior features, at three resolutions.

    The levels meet only on the way up, as in the released code.
    """

    def __init__(self, channels: int, blocks: int, chains: int) -> None:
        super().__init__()
        self.fusion = InteractiveFusion(channels)
        self.merge = ConvReLU(2 * channels, channels)
        self.down = nn.ModuleList(ConvReLU(4 * channels, channels) for _ in range(LEVELS - 1))
        self.levels = nn.ModuleList(
            nn.Sequential(*(SRiR(channels, blocks) for _ in range(chains))) for _ in range(LEVELS)
        )
        self.up = nn.ModuleList(ConvReLU(channels, 4 * channels) for _ in range(LEVELS - 1))
        self.fuse = nn.ModuleList(Fuse(channels) for _ in range(LEVELS - 1))

    def forward(self, image: Tensor, prior: Tensor) -> Tensor:
        features = [self.merge(torch.cat(self.fusion(image, prior), dim=1))]
        for down in self.down:
            features.append(down(haar(features[-1])))
        skips = [level(x) for level, x in zip(self.levels, features, strict=True)]
        deep = skips.pop()
        for up, fuse in zip(self.up, self.fuse, strict=True):
            deep = fuse(inverse_haar(up(deep)), skips.pop())
        return deep
