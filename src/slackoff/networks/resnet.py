"""ResNet: the SRResNet of BasicSR (MSRResNet) at scale 1."""

from typing import ClassVar

from torch import Tensor, nn

from slackoff.networks.layers import Residual, check_sizes, draw_weights


class ResNet(nn.Module):
    """SRResNet without normalisation at scale 1 (Ledig et al. 2017, in BasicSR's form).

    Differs from BasicSR's MSRResNet in the missing upsampling stage; the global skip is the identity. There is no
    long skip over the blocks. 1,222,147 parameters by default. Input and output: float, (N, 3, H, W), in about
    [0, 1], any size.

    Args:
        channels: feature channels.
        blocks: residual blocks.
        global_residual: add the input to the output; False lets the network predict the background itself.

    Raises:
        SlackoffError: a size is not positive.
    """

    paper: ClassVar[str] = "Ledig et al., SRResNet (CVPR 2017), as BasicSR's MSRResNet"
    shared_layer: ClassVar[str] = "conv_last"

    def __init__(self, channels: int = 64, blocks: int = 16, global_residual: bool = True) -> None:
        super().__init__()
        check_sizes(channels=channels, blocks=blocks)
        self.global_residual = global_residual
        self.conv_first = nn.Conv2d(3, channels, 3, padding=1)
        self.body = nn.Sequential(*(_block(channels) for _ in range(blocks)))
        self.conv_hr = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_last = nn.Conv2d(channels, 3, 3, padding=1)
        self.activation = nn.LeakyReLU(0.1)
        # BasicSR's start: a tenth of Kaiming's normal distribution by fan-in.
        draw_weights(self, lambda weight: nn.init.kaiming_normal_(weight).data.mul_(0.1))

    def forward(self, rainy: Tensor) -> Tensor:
        features = self.body(self.activation(self.conv_first(rainy)))
        output = self.conv_last(self.activation(self.conv_hr(features)))
        return rainy + output if self.global_residual else output


def _block(channels: int) -> Residual:
    """conv-ReLU-conv added to its input, no normalisation."""
    first, second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
    return Residual(first, nn.ReLU(), second)
