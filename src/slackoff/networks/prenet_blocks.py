"""The parts of PReNet: its recurrent units and its residual block."""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Memory = tuple[Tensor, ...]
"""What a recurrent unit keeps from one stage to the next."""


def convolution(inputs: int, outputs: int) -> nn.Conv2d:
    """3x3, keeps height and width."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class ResidualBlock(nn.Module):
    """conv-ReLU-conv-ReLU added to its input, then ReLU; the second ReLU stands before the sum, as the authors have it.

    (N, channels, H, W) to the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = convolution(channels, channels)
        self.conv2 = convolution(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + F.relu(self.conv2(F.relu(self.conv1(x)))))


class Unit(nn.Module, ABC):
    """What carries features from one stage to the next; called with features and memory, it gives both again.

    Args:
        channels: of the features, (N, channels, H, W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    @abstractmethod
    def start(self, features: Tensor) -> Memory:
        """The memory before the first stage, for such features; float32 also under autocast, as it adds up."""


class NoUnit(Unit):
    """In the place of a recurrent unit: features go through, and nothing is remembered."""

    def start(self, features: Tensor) -> Memory:
        return ()

    def forward(self, features: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        return features, memory


class ConvLSTM(Unit):
    """Long short-term memory whose gates are 3x3 convolutions of (features, hidden state).

    Features (N, channels, H, W); the memory, the hidden and the cell state, has the same shape and starts with zeros.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.input_gate, self.forget_gate, self.candidate, self.output_gate = (
            convolution(2 * channels, channels) for _ in range(4)
        )

    def start(self, features: Tensor) -> Memory:
        return (_zeros(features, self.candidate),) * 2

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

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.update_gate, self.reset_gate, self.candidate = (convolution(2 * channels, channels) for _ in range(3))

    def start(self, features: Tensor) -> Memory:
        return (_zeros(features, self.candidate),)

    def forward(self, features: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        (before,) = memory
        seen = torch.cat([features, before], dim=1)
        update, reset = torch.sigmoid(self.update_gate(seen)), torch.sigmoid(self.reset_gate(seen))
        candidate = torch.tanh(self.candidate(torch.cat([reset * before, features], dim=1)))
        hidden = (1 - update) * before + update * candidate
        return hidden, (hidden,)


def _zeros(features: Tensor, layer: nn.Conv2d) -> Tensor:
    return torch.zeros_like(features, dtype=layer.weight.dtype)
