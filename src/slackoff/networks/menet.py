"""MENET: a residual network on folded pixels, with channel attention, that predicts what to add to a rainy image."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from slackoff.errors import SlackoffError
from slackoff.networks.layers import GREY_LEVELS, Residual, check_sizes, draw_weights, mirror_to_multiple

NORM_EPS = 1e-3
NORM_MOMENTUM = 0.01  # TensorFlow's 0.99 is the share that stays
CUT = 2.0  # standard deviations at which the weights' first values are cut


def conv_norm(channels_in: int, channels_out: int, side: int = 3) -> nn.Sequential:
    """A convolution without bias, zeros around the map, and batch normalisation with TensorFlow's constants."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, side, padding=side // 2, bias=False),
        nn.BatchNorm2d(channels_out, eps=NORM_EPS, momentum=NORM_MOMENTUM),
    )


def residual_block(channels: int) -> Residual:
    """conv-norm-ReLU-conv-norm added to its input; an activation after the sum is the caller's."""
    first, second = (conv_norm(channels, channels) for _ in range(2))
    return Residual(first, nn.ReLU(), second)


class ChannelAttention(nn.Module):
    """MENET's CA module: x + x * a, one a in (0, 1) for each channel of each image.

    a is the sigmoid of a spatial mean, over features that two foldings of 2x2 pixels into channels make four times
    smaller. Takes and gives (N, channels, h, w); h and w are multiples of 4.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze1, self.layer1 = conv_norm(4 * channels, channels, 1), conv_norm(channels, channels)
        self.squeeze2, self.layer2 = conv_norm(4 * channels, channels, 1), conv_norm(channels, channels)
        self.excitation = conv_norm(channels, channels)
        self.fold = nn.PixelUnshuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        half = torch.relu(self.layer1(torch.relu(self.squeeze1(self.fold(x)))))
        quarter = torch.relu(self.layer2(torch.relu(self.squeeze2(self.fold(half)))))
        return x + x * torch.sigmoid(self.excitation(quarter).mean(dim=(2, 3), keepdim=True))


class MENET(nn.Module):
    """Network of "Multi-Task Learning Enhanced Single Image De-Raining" (Fan, Chen, Li, 2020), as the authors coded it.

    Pixels are folded into channels twice (desubpixel), residual blocks work at a quarter of the size, and two foldings
    back (subpixel) give the residual, which is added to the input. Two long skips start before a ReLU. By default the
    paper's MENET-GB and MENET-LB: 8 blocks with channel attention, 815,680 parameters.

    Input and output: float, (N, 3, H, W), in [0, 1], any size. Inside, the image has 0..255, and so does the residual:
    the last convolution starts with residuals of about one grey level, so that an untrained network nearly gives its
    input back; in [0, 1] the same start would be noise of the whole range. The result is clipped to [0, 1] in training,
    too: a pixel outside has no gradient. Sizes that are no multiples of 16 (4 without attention) are mirrored to the
    right and below, and the output is cropped back; the authors resize bicubically there and back instead.

    Folding orders channels as PyTorch does, c * 4 + dy * 2 + dx; TensorFlow's order is (dy * 2 + dx) * C + c. Both
    are networks of one kind, but weights of the authors' would have to be reordered.

    Training and evaluation differ by the batch normalisation.

    Args:
        width: channels at a quarter of the size, a multiple of 4; at half the size there are width / 4.
        blocks: residual blocks.
        attention: scale the channels before the residual blocks, see ``ChannelAttention``.

    Raises:
        SlackoffError: a size is out of its range.
    """

    paper: ClassVar[str] = "Fan, Chen, Li, MENET (2020)"
    shared_layer: ClassVar[str] = "layer5"
    """Module whose weight all losses of a multi-task training meet at last: gradient balancing looks at it."""

    def __init__(self, width: int = 64, blocks: int = 8, attention: bool = True) -> None:
        super().__init__()
        if width < 4 or width % 4:
            raise SlackoffError(f"network.width={width} must be a multiple of 4 from 4 up")
        check_sizes(blocks=blocks)
        self.multiple = 16 if attention else 4
        self.fold, self.unfold = nn.PixelUnshuffle(2), nn.PixelShuffle(2)
        self.layer1 = conv_norm(4 * 3, width // 4)
        self.layer2 = conv_norm(width, width)
        self.attention = ChannelAttention(width) if attention else nn.Identity()
        self.blocks = nn.ModuleList(residual_block(width) for _ in range(blocks))
        self.layer3 = conv_norm(width, width)
        self.layer4 = conv_norm(width // 4, width // 4)
        self.layer5 = nn.Conv2d(width // 4, 4 * 3, 3, padding=1, bias=False)
        draw_weights(self, _draw_as_tensorflow)

    def forward(self, rainy: Tensor) -> Tensor:
        height, width = rainy.shape[-2:]
        residual = self._residual(mirror_to_multiple(rainy, self.multiple) * GREY_LEVELS)
        return (rainy + residual[..., :height, :width].to(rainy.dtype) / GREY_LEVELS).clamp(0, 1)

    def _residual(self, image: Tensor) -> Tensor:
        """What to add to images (N, 3, H, W) in 0..255, in grey levels."""
        half = self.layer1(self.fold(image))
        quarter = self.layer2(self.fold(torch.relu(half)))
        x = self.attention(torch.relu(quarter))
        for block in self.blocks[:-1]:
            x = torch.relu(block(x))
        x = self.unfold(self.layer3(quarter + self.blocks[-1](x)))
        return self.unfold(self.layer5(self.layer4(half + x)))


def _draw_as_tensorflow(weight: Tensor) -> None:
    """A convolution's first weights as TensorFlow 1.8 draws them from ``variance_scaling``.

    A normal distribution of variance 1 / fan_in, cut at two standard deviations. That version does not make up for what
    the cut takes away (later ones do), so the weights' variance is 0.774 / fan_in. The graphs that the authors
    published with their weights have the same number.
    """
    std = weight[0].numel() ** -0.5
    nn.init.trunc_normal_(weight, std=std, a=-CUT * std, b=CUT * std)
