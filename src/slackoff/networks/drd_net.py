"""DRD-Net: one network subtracts the rain, another one puts back the detail that went with it."""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from slackoff.errors import check_choices
from slackoff.networks.interfaces import StagedNetwork, Stages
from slackoff.networks.layers import DilatedConv2d, Residual, SqueezeExcitation, check_sizes, draw_weights

DILATIONS = (1, 3, 5)
REDUCTION = 16  # channels to those between the two layers of squeeze and excitation


class ContextAggregation(nn.Module):
    """Three 3x3 convolutions side by side, of dilations 1, 3 and 5, and a 1x1 convolution of what they give."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(DilatedConv2d(channels, channels, d) for d in DILATIONS)
        self.merge = nn.Conv2d(len(DILATIONS) * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.merge(torch.cat([branch(x) for branch in self.branches], dim=1))


class SubNetwork(nn.Module):
    """Blocks between two convolutions, with a skip over them all, and a convolution to three channels."""

    def __init__(self, channels: int, blocks: int, detail: bool) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), nn.PReLU(channels, init=0.0))
        self.blocks = nn.Sequential(*(_block(channels, detail) for _ in range(blocks)))
        self.tail = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), _norm(channels))
        self.output = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        start = self.head(image)
        return self.output(start + self.tail(self.blocks(start)))


class DRDNet(StagedNetwork):
    """Detail-recovery image deraining (Deng et al., CVPR 2020), as in the authors' Keras code.

    The rain network predicts the rain, which is subtracted. The detail network sees that first background and the
    rainy image, added up, and predicts what to add to the first background. 5,221,766 parameters by default.

    Uncertain: the paper's text has the detail network see the rainy image alone, say others who built it again; that is
    ``detail_input="rainy"``. No weights of the authors could be checked, so the graph is tested against another build
    of the same description, and not against theirs. They work on BGR; the colours' order matters to their weights only.

    Input and output: float, (N, 3, H, W), in about [0, 1], any size; the output is not clipped.

    Training and evaluation differ by the batch normalisation (TensorFlow's momentum of 0.99, eps 1e-3).

    Args:
        channels: feature channels of both networks.
        blocks: of each network.
        detail_input: what the detail network sees: the "sum" of first background and rainy image, or the "rainy" image.

    Raises:
        SlackoffError: a size below 1.
    """

    paper: ClassVar[str] = "Deng et al., DRD-Net (CVPR 2020)"
    shared_layer: ClassVar[str] = "detail.output"

    def __init__(self, channels: int = 64, blocks: int = 16, detail_input: Literal["sum", "rainy"] = "sum") -> None:
        super().__init__()
        check_choices(DRDNet, detail_input=detail_input)
        check_sizes(channels=channels, blocks=blocks)
        self.detail_input = detail_input
        self.rain = SubNetwork(channels, blocks, detail=False)
        self.detail = SubNetwork(channels, blocks, detail=True)
        draw_weights(self, nn.init.kaiming_normal_)

    def stages(self, rainy: Tensor) -> Stages:
        """Backgrounds: without and with the repaired detail. Rains: the one that was subtracted. (N, 3, H, W) each."""
        rain = self.rain(rainy)
        background = rainy - rain
        repaired = background + self.detail(background + rainy if self.detail_input == "sum" else rainy)
        return Stages((background, repaired), (rain,))


def _block(channels: int, detail: bool) -> Residual:
    """convolution-norm-PReLU-convolution-norm, added to its input.

    In the rain network 3x3 convolutions, and squeeze and excitation before the sum; in the detail network (a structure
    detail context aggregation block, SDCAB) a context aggregation in the place of each convolution.
    """
    layers = [
        _convolution(channels, detail),
        _norm(channels),
        nn.PReLU(channels, init=0.0),
        _convolution(channels, detail),
        _norm(channels),
    ]
    if not detail:
        layers.append(SqueezeExcitation(channels, max(1, channels // REDUCTION), bias=False, gate=_hard_sigmoid))
    return Residual(*layers)


def _convolution(channels: int, detail: bool) -> nn.Module:
    return ContextAggregation(channels) if detail else nn.Conv2d(channels, channels, 3, padding=1)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def _hard_sigmoid(x: Tensor) -> Tensor:
    """Keras'; torch's has a slope of 1/6."""
    return (0.2 * x + 0.5).clamp(0, 1)
