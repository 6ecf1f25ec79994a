"""ResNet: the SRResNet of BasicSR (MSRResNet) at scale 1."""

from typing import ClassVar

from torch import Tensor, nn

from slackoff.networks.layers import check_sizes


class ResidualBlock(nn.Module):
    """conv-ReLU-conv added to its input, no normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(nn.functional.relu(self.conv1(x)))


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
        self.body = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))
        self.conv_hr = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_last = nn.Conv2d(channels, 3, 3, padding=1)
        self.activation = nn.LeakyReLU(0.1)
        self.apply(_draw_weights)

    def forward(self, rainy: Tensor) -> Tensor:
        features = self.body(self.activation(self.conv_first(rainy)))
        output = self.conv_last(self.activation(self.conv_hr(features)))
        return rainy + output if self.global_residual else output


def _draw_weights(module: nn.Module) -> None:
    """For ``apply``: BasicSR's start, Kaiming normal by fan-in times 0.1, biases 0."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight)
        module.weight.data.mul_(0.1)
        assert module.bias is not None
        nn.init.zeros_(module.bias)
