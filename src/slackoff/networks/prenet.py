"""PReNet and its family: one small network with a recurrent unit, applied again and again to its own estimate."""

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from slackoff.errors import check_choices
from slackoff.networks.interfaces import StagedNetwork, Stages
from slackoff.networks.layers import Residual, check_sizes

Memory = tuple[Tensor, ...]
"""What a recurrent unit keeps from one stage to the next."""


def convolution(inputs: int, outputs: int) -> nn.Conv2d:
    """3x3, keeps height and width."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def residual_block(channels: int) -> nn.Sequential:
    """conv-ReLU-conv-ReLU added to its input, then ReLU; the second ReLU stands before the sum, as the authors have it.

    (N, channels, H, W) to the same.
    """
    first, second = (convolution(channels, channels) for _ in range(2))
    return nn.Sequential(Residual(first, nn.ReLU(), second, nn.ReLU()), nn.ReLU())


class Unit(nn.Module):
    """What carries features (N, channels, H, W) from one stage to the next: given them and a memory, it gives both."""

    remembered: ClassVar[int]
    """Tensors in the memory."""

    def start(self, features: Tensor) -> Memory:
        """The memory before the first stage, for such features; float32 also under autocast, as it adds up."""
        zeros = torch.zeros_like(features, dtype=next(self.parameters()).dtype)
        return (zeros,) * self.remembered


class NoUnit(Unit):
    """In the place of a recurrent unit: features go through, and nothing is remembered."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def start(self, features: Tensor) -> Memory:
        return ()

    def forward(self, features: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        return features, memory


class ConvLSTM(Unit):
    """Long short-term memory whose gates are 3x3 convolutions of (features, hidden state).

    Features (N, channels, H, W); the memory, the hidden and the cell state, has the same shape and starts with zeros.
    """

    remembered = 2

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input_gate, self.forget_gate, self.candidate, self.output_gate = (
            convolution(2 * channels, channels) for _ in range(4)
        )

    def forward(self, features: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        hidden, cell = memory
        seen = torch.cat([features, hidden], dim=1)
        kept = torch.sigmoid(self.forget_gate(seen)) * cell
        cell = kept + torch.sigmoid(self.input_gate(seen)) * torch.tanh(self.candidate(seen))
        hidden = torch.sigmoid(self.output_gate(seen)) * torch.tanh(cell)
        return hidden, (hidden, cell)


class ConvGRU(Unit):
    """Gated recurrent unit whose gates are 3x3 convolutions of (features, hidden state).

    The candidate sees (reset hidden state, features), in this order. Features and memory: (N, channels, H, W).
    """

    remembered = 1

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.update_gate, self.reset_gate, self.candidate = (convolution(2 * channels, channels) for _ in range(3))

    def forward(self, features: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        (before,) = memory
        seen = torch.cat([features, before], dim=1)
        update, reset = torch.sigmoid(self.update_gate(seen)), torch.sigmoid(self.reset_gate(seen))
        candidate = torch.tanh(self.candidate(torch.cat([reset * before, features], dim=1)))
        hidden = (1 - update) * before + update * candidate
        return hidden, (hidden,)


UNITS: dict[str, Callable[[int], Unit]] = {"lstm": ConvLSTM, "gru": ConvGRU, "none": NoUnit}


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
        SlackoffError: a size below 1.
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
        check_choices(PReNet, unit=unit)
        check_sizes(stages=stages, channels=channels, blocks=blocks)
        self.stage_count = stages
        self.block_uses = blocks if share_blocks else 1
        self.add_input = add_input
        self.see_rainy = see_rainy
        self.head = nn.Sequential(convolution(6 if see_rainy else 3, channels), nn.ReLU())
        self.unit = UNITS[unit](channels)
        self.blocks = nn.Sequential(*(residual_block(channels) for _ in range(1 if share_blocks else blocks)))
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
