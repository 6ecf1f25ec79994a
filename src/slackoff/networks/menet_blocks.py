"""The parts of MENET: convolutions with batch normalisation, residual blocks, channel attention."""

import torch
from torch import Tensor, nn

NORM_EPS = 1e-3
NORM_MOMENTUM = 0.01  # TensorFlow's 0.99 is the share that stays
CUT = 2.0  # standard deviations at which the weights' first values are cut


def conv_norm(channels_in: int, channels_out: int, side: int = 3) -> nn.Sequential:
    """A convolution without bias, zeros around the map, and batch normalisation with TensorFlow's constants."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, side, padding=side // 2, bias=False),
        nn.BatchNorm2d(channels_out, eps=NORM_EPS, momentum=NORM_MOMENTUM),
    )


def draw_weights(module: nn.Module) -> None:
    """For ``apply``: a convolution's first weights as TensorFlow 1.8 draws them from ``variance_scaling``.

    A normal distribution of variance 1 / fan_in, cut at two standard deviations. That version does not make up for what
    the cut takes away (later ones do), so the weights' variance is 0.774 / fan_in. The graphs that the authors
    published with their weights have the same number.
    """
    if isinstance(module, nn.Conv2d):
        std = module.weight[0].numel() ** -0.5
        nn.init.trunc_normal_(module.weight, std=std, a=-CUT * std, b=CUT * std)


class ResidualBlock(nn.Module):
    """conv-norm-ReLU-conv-norm added to its input; an activation after the sum is the caller's."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv_norm(channels, channels)
        self.second = conv_norm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(torch.relu(self.first(x)))


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
