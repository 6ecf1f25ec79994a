"""PReNet and its family: one small network applied again and again to its own estimate."""

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from slackoff.errors import SlackoffError
from slackoff.networks.prenet_blocks import ConvGRU, ConvLSTM, NoUnit, ResidualBlock, Unit, convolution
from slackoff.networks.stages import StagedNetwork, Stages

UNITS: dict[str, Callable[[int], Unit]] = {"lstm": ConvLSTM, "gru": ConvGRU, "none": NoUnit}
"""The recurrent units by name."""


class PReNet(StagedNetwork):
    """Progressive recurrent network (Ren, Zuo, Hu, Zhu, Meng, CVPR 2019), after the authors' code.

    Every stage has the same weights: from the rainy image and the estimate before (at first the rainy image), a
    convolution, a recurrent unit that remembers the stages before, residual blocks and a last convolution make the next
    estimate. 168,963 parameters by default. The authors' names for the choices: PRN is ``unit="none"`` (95,107), the
    ending _r ``share_blocks=True`` (94,979 and 21,123 parameters).

    Input and output: float, (N, 3, H, W), RGB in about [0, 1], any size; the output is not clipped.

    Args:
        stages: how many times the network is applied; the number of parameters does not depend on it.
        channels: feature channels.
        blocks: residual blocks in a row in each stage.
        unit: recurrent unit: "lstm", "gru" (an ablation of the authors) or "none".
        share_blocks: one residual block, used ``blocks`` times, in place of so many.
        add_input: add the rainy image to each stage's output; False, as in the authors' ablations PReNet_LSTM,
            PReNet_GRU and PReNet_x, lets the network predict the background itself.
        see_rainy: each stage sees the rainy image beside the estimate before; False as in PReNet_x.

    Raises:
        SlackoffError: a size below 1, or an unknown unit.
    """

    paper: ClassVar[str] = "Ren et al., PReNet (CVPR 2019)"
    shared_layer: ClassVar[str] = "output"

    def __init__(
        self,
        stages: int = 6,
        channels: int = 32,
        blocks: int = 5,
        unit: Literal["lstm", "gru", "none"] = "lstm",
        share_blocks: bool = False,
        add_input: bool = True,
        see_rainy: bool = True,
    ) -> None:
        super().__init__()
        for key, value in {"stages": stages, "channels": channels, "blocks": blocks}.items():
            if value < 1:
                raise SlackoffError(f"network.{key}={value} must be at least 1")
        if unit not in UNITS:
            raise SlackoffError(f"network.unit={unit} is not known: choose one of {', '.join(UNITS)}")
        self.stage_count = stages
        self.block_uses = blocks if share_blocks else 1
        self.add_input = add_input
        self.see_rainy = see_rainy
        self.head = nn.Sequential(convolution(6 if see_rainy else 3, channels), nn.ReLU())
        self.unit = UNITS[unit](channels)
        self.blocks = nn.Sequential(*(ResidualBlock(channels) for _ in range(1 if share_blocks else blocks)))
        self.output = convolution(channels, 3)

    def stages(self, rainy: Tensor) -> Stages:
        """The background after each stage, the result last: (N, 3, H, W) each, in about [0, 1]; no rain layers."""
        backgrounds: list[Tensor] = []
        estimate, memory = rainy, None
        for _ in range(self.stage_count):
            features = self.head(torch.cat([rainy, estimate], dim=1) if self.see_rainy else estimate)
            memory = self.unit.start(features) if memory is None else memory
            features, memory = self.unit(features, memory)
            for _ in range(self.block_uses):
                features = self.blocks(features)
            estimate = self.output(features)
            if self.add_input:
                estimate = estimate + rainy
            backgrounds.append(estimate)
        return Stages(tuple(backgrounds))
