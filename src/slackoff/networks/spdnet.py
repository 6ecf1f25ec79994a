"""SPDNet (Yi et al., ICCV 2021): the background in three stages, each guided by the residue channel of the last.

Blocks are named as in the paper. The Haar wavelet transform is orthonormal, in the channel orders that the authors'
code uses. Feature maps are (N, C, H, W).
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slackoff.errors import SlackoffError
from slackoff.networks.interfaces import StagedNetwork, Stages
from slackoff.networks.layers import Residual, SqueezeExcitation, check_sizes


def haar(x: Tensor) -> Tensor:
    """One level of the transform: (N, C, H, W) to (N, 4 C, ceil(H / 2), ceil(W / 2)).

    A cell [[a, b], [c, d]] becomes, over 2, the bands a+b-c-d, a-b+c-d and a-b-c+d and the mean a+b+c+d. The channels
    are four blocks of C: all of the first band, of the second, of the third, then the means. An odd height or width
    is first extended by one row or column of zeros at the end.
    """
    height, width = x.shape[-2:]
    x = F.pad(x, (0, width % 2, 0, height % 2))
    top, bottom = x[..., ::2, :], x[..., 1::2, :]
    total, step = top + bottom, top - bottom
    total_left, total_right = total[..., ::2], total[..., 1::2]
    step_left, step_right = step[..., ::2], step[..., 1::2]
    bands = [step_left + step_right, total_left - total_right, step_left - step_right, total_left + total_right]
    return torch.cat(bands, dim=1) / 2


def inverse_haar(bands: Tensor) -> Tensor:
    """Cells from their bands: (N, 4 C, H, W) to (N, C, 2 H, 2 W).

    The channels are C groups of four, each (mean, first, second, third band of ``haar``): another order than that of
    ``haar``, as in the original.
    """
    mean, first, second, third = bands.unflatten(1, (-1, 4)).unbind(2)
    top, bottom = mean + first, mean - first
    right, turn = second + third, second - third
    cells = torch.stack([top + right, top - right, bottom + turn, bottom - turn], dim=2)
    return F.pixel_shuffle(cells.flatten(1, 2), 2) / 2


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


def residual_block(channels: int) -> Residual:
    """Two 3x3 convolutions, ReLU after both, channels scaled by squeeze and excitation, added to the input."""
    first, second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
    scaled = SqueezeExcitation(channels, channels, bias=False)
    return Residual(first, nn.ReLU(inplace=True), second, nn.ReLU(inplace=True), scaled)


class SRiR(nn.Module):
    """Squeeze-and-excitation residual in residual: blocks and a 3x3 convolution, added to the input, then ReLU."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(residual_block(channels) for _ in range(blocks)))
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
        self.block = residual_block(channels)

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
        check_sizes(channels=channels, blocks=blocks, chains=chains)
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
