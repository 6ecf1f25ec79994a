"""Syn2Real's network: an encoder to a latent tensor, in which real rain is likened to synthetic rain, and a decoder.

Blocks are Res2-style, with norms before convolutions.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slackoff.networks.interfaces import LatentNetwork, Restored
from slackoff.networks.layers import check_sizes, mirror_to_multiple

SPLITS = 6
FILTERED = SPLITS - 1
BASE_WIDTH = 12
BASE_CHANNELS = 64


class Res2Block(nn.Module):
    """A residual block whose 3x3 convolutions each see a sixth of the channels and the result of the one before.

    The input and the block's result are joined, so that the channels double.

    Args:
        channels: of the input, at least 6.
        groups: of the 3x3 convolutions; each group is 12 channels wide for an input of 64.
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        width = groups * (BASE_WIDTH * channels // BASE_CHANNELS)
        self.norm = nn.BatchNorm2d(channels)
        self.widen = nn.Conv2d(channels, SPLITS * width, 1, bias=False)
        self.split_norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(FILTERED))
        self.filters = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=1, groups=groups, bias=False) for _ in range(FILTERED)
        )
        self.joined_norm = nn.BatchNorm2d(SPLITS * width)
        self.narrow = nn.Conv2d(SPLITS * width, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, 2 C, H, W)."""
        *splits, last = self.widen(F.relu(self.norm(x))).chunk(SPLITS, dim=1)
        results: list[Tensor] = []
        for split, norm, convolution in zip(splits, self.split_norms, self.filters, strict=True):
            joined = split + results[-1] if results else split
            results.append(convolution(F.relu(norm(joined))))
        joined = torch.cat([*results, last], dim=1)
        return torch.cat([x, x + self.narrow(F.relu(self.joined_norm(joined)))], dim=1)


class Transition(nn.Module):
    """Norm, ReLU and a 1x1 convolution; then means of 2x2 pixels, or each pixel four times.

    The convolution is a transposed one, as in the release: it starts from other random numbers than a plain one.

    Args:
        channels_in, channels_out: before and after.
        resize: "down", "up" or "keep".
    """

    def __init__(self, channels_in: int, channels_out: int, resize: str = "keep") -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels_in)
        self.change = nn.ConvTranspose2d(channels_in, channels_out, 1, bias=False)
        self.resize = {"down": nn.AvgPool2d(2), "up": nn.Upsample(scale_factor=2), "keep": nn.Identity()}[resize]

    def forward(self, x: Tensor) -> Tensor:
        resized: Tensor = self.resize(self.change(F.relu(self.norm(x))))
        return resized


MULTIPLE = 8
LEAST_WIDTH = 6
SLOPE = 0.2


class Syn2Real(LatentNetwork):
    """Encoder and decoder of Syn2Real (Yasarla, Sindagi, Patel, CVPR 2020), as in the authors' code (``DeRain_v2``).

    Res2-style blocks on four scales with skips; the latent tensor lies between encoder and decoder, on an eighth of the
    size. 2,605,710 parameters by default, without the release's squeeze-excitations, which nothing uses.

    Input and output: float, (N, 3, H, W), in [0, 1], any size; [-1, 1] inside. Sizes that 8 does not divide are
    mirrored to the right and below, and the output is cropped back (the authors resize image and truth instead, which
    changes what is measured). Training and evaluation differ by the batch normalisation.

    Args:
        width: channels of the first convolution; of the latent tensor twice as many.
        groups: of the 3x3 convolutions in the blocks, and with that their width.

    Raises:
        SlackoffError: a size is too small.
    """

    paper: ClassVar[str] = "Yasarla et al., Syn2Real (CVPR 2020)"
    shared_layer: ClassVar[str] = "clean.2"

    def __init__(self, width: int = 16, groups: int = 8) -> None:
        super().__init__()
        check_sizes(LEAST_WIDTH, width=width)
        check_sizes(groups=groups)
        w = width
        self.head = nn.Conv2d(3, w, 3, padding=1)
        self.encoder1 = Res2Block(w, groups)
        self.encoder2 = _stage(2 * w, 2 * w, 2 * w, groups)
        self.encoder3 = _stage(2 * w, 2 * w, 4 * w, groups)
        self.encoder4 = _stage(4 * w, 8 * w, 8 * w, groups)
        self.encoder5, self.encoder6 = (
            nn.Sequential(Res2Block(8 * w, groups), Transition(16 * w, 8 * w)) for _ in range(2)
        )
        self.to_latent = nn.Conv2d(8 * w, 2 * w, 3, padding=1)
        self.up7 = Transition(2 * w, 4 * w, "up")
        self.decoder7 = nn.Sequential(Res2Block(8 * w, groups), Transition(16 * w, 2 * w))
        self.up8 = Transition(2 * w, 2 * w, "up")
        self.decoder8 = nn.Sequential(Res2Block(4 * w, groups), Transition(8 * w, 2 * w))
        self.up9 = Transition(2 * w, 2 * w, "up")
        self.decoder9 = nn.Sequential(Res2Block(5 * w, groups), Transition(10 * w, w))
        self.rain = nn.Conv2d(w, w, 3, padding=1)
        self.image = nn.Conv2d(w, 3, 3, padding=1)
        self.clean = nn.Sequential(
            nn.Conv2d(3, w // 2, 7, padding=3), nn.LeakyReLU(SLOPE), nn.Conv2d(w // 2, 3, 3, padding=1)
        )

    def latent(self, rainy: Tensor) -> Tensor:
        """(N, 2 * width, h, w), where h and w are an eighth of the sides, rounded up."""
        return self.encoded(_ranged(rainy))[-1]

    def restored(self, rainy: Tensor) -> Restored:
        height, width = rainy.shape[-2:]
        features = self.encoded(_ranged(rainy))
        image = torch.sigmoid(self.decoded(features).to(rainy.dtype))
        return Restored(image[..., :height, :width], features[-1])

    def encoded(self, images: Tensor) -> list[Tensor]:
        """Features on the scales 1, 1, 1/2 and 1/4 and the latent tensor, of images in [-1, 1] with sides of 8 n."""
        x = self.head(images)
        x1 = self.encoder1(x)
        x2 = self.encoder2(x1)
        x3 = self.encoder3(x2)
        deep = self.encoder6(self.encoder5(self.encoder4(x3)))
        return [x, x1, x2, x3, self.to_latent(F.leaky_relu(deep, SLOPE))]

    def decoded(self, features: list[Tensor]) -> Tensor:
        """The image, before a sigmoid brings it to [0, 1], from what ``encoded`` gives."""
        x, x1, x2, x3, latent = features
        up = self.decoder7(torch.cat([self.up7(latent), x3], dim=1))
        up = self.decoder8(torch.cat([self.up8(up), x2], dim=1))
        up = self.decoder9(torch.cat([self.up9(up), x1, x], dim=1))
        rain = F.leaky_relu(self.rain(up), SLOPE)
        image: Tensor = self.clean(torch.tanh(self.image(x - rain)))
        return image


def _ranged(rainy: Tensor) -> Tensor:
    return 2 * mirror_to_multiple(rainy, MULTIPLE) - 1


def _stage(before: int, inside: int, after: int, groups: int) -> nn.Sequential:
    """One scale further down: to half the size, a block, and the channels of the scale."""
    return nn.Sequential(Transition(before, inside, "down"), Res2Block(inside, groups), Transition(2 * inside, after))
