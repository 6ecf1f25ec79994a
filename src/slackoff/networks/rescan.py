"""RESCAN: dilated recurrent units with squeeze-and-excitation estimate the rain in stages that share weights."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slackoff.errors import SlackoffError, check_choices
from slackoff.networks.interfaces import StagedNetwork, Stages
from slackoff.networks.layers import DilatedConv2d, SqueezeExcitation, check_sizes

SQUEEZED = 6  # hidden channels at any width: the release calls this its reduction but uses it as a width
SLOPE = 0.2

State = tuple[Tensor, ...]


def attend(channels: int, attention: bool) -> nn.Module:
    """Squeeze-and-excitation, or nothing in its place."""
    return SqueezeExcitation(channels, SQUEEZED) if attention else nn.Identity()


class Unit(nn.Module, ABC):
    """A convolution of the input, joined with a state that the same unit left in the stage before.

    Each gate convolves the input with the unit's dilation and the state without one, all 3x3 with biases. What comes of
    them goes through attention and LeakyReLU, and that is both the output and the state's first tensor.

    Args:
        channels_in, channels_out: of input and output; the state has those of the output.
        dilation: of the convolutions of the input, in pixels.
        attention: scale the channels by squeeze-and-excitation.
    """

    gates: ClassVar[tuple[str, ...]]
    recurrent: ClassVar[bool] = True

    def __init__(self, channels_in: int, channels_out: int, dilation: int, attention: bool) -> None:
        super().__init__()
        self.inputs = nn.ModuleDict({g: DilatedConv2d(channels_in, channels_out, dilation) for g in self.gates})
        remembering = self.gates if self.recurrent else ()
        self.hidden = nn.ModuleDict({g: nn.Conv2d(channels_out, channels_out, 3, padding=1) for g in remembering})
        self.attention = attend(channels_out, attention)

    @abstractmethod
    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Output and new state of an input (N, C, H, W); the state is empty in the first stage."""

    def _gate(self, name: str, x: Tensor, state: Tensor | None) -> Tensor:
        given = self.inputs[name](x)
        return given if state is None else given + self.hidden[name](state)

    def _activate(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.attention(x), SLOPE)


class ConvUnit(Unit):
    """Without a state."""

    gates = ("x",)
    recurrent = False

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self._activate(self.inputs["x"](x)), ()


class RNNUnit(Unit):
    """tanh of the sum of both convolutions."""

    gates = ("x",)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        out = self._activate(torch.tanh(self._gate("x", x, state[0] if state else None)))
        return out, (out,)


class GRUUnit(Unit):
    """Gated recurrent unit: update z, reset r, new n."""

    gates = ("z", "r", "n")

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = state[0] if state else None
        z = torch.sigmoid(self._gate("z", x, h))
        if h is None:
            joined = z * torch.tanh(self._gate("n", x, None))
        else:
            r = torch.sigmoid(self._gate("r", x, h))
            joined = (1 - z) * h + z * torch.tanh(self._gate("n", x, r * h))
        out = self._activate(joined)
        return out, (out,)


class LSTMUnit(Unit):
    """Long short-term memory: forget f, input i, output o, new j; the cell is the state's second tensor.

    In the first stage the cell goes to the output without a tanh, as in the release.
    """

    gates = ("f", "i", "o", "j")

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = state[0] if state else None
        o = torch.sigmoid(self._gate("o", x, h))
        cell = torch.sigmoid(self._gate("i", x, h)) * torch.tanh(self._gate("j", x, h))
        if state:
            cell = torch.sigmoid(self._gate("f", x, h)) * state[1] + cell
        out = self._activate(o * (torch.tanh(cell) if state else cell))
        return out, (out, cell)


UNITS: dict[str, type[Unit]] = {"conv": ConvUnit, "rnn": RNNUnit, "gru": GRUUnit, "lstm": LSTMUnit}

LEAST_DEPTH = 3


class RESCAN(StagedNetwork):
    """Recurrent squeeze-and-excitation context aggregation net (Li, Wu, Lin, Liu, Zha, ECCV 2018).

    Each stage estimates the rain layer from the rainy image less the estimate before, by a chain of dilated units and a
    decoder. All stages have the same weights; the units remember the stage before. 149,823 parameters by default.

    Input and output: float, (N, 3, H, W), in about [0, 1], any size. Channels are RGB; the release's are BGR, which
    matters with its weights alone. Parameter counts of other builds lie about 0.25 % above these for every unit. The
    LSTM's state h is taken to be carried behind attention and LeakyReLU, as the other units' is.

    Args:
        width: channels of the units.
        depth: convolutions on the way through a stage: ``depth - 2`` units, then 3x3 and 1x1 in the decoder. Dilations
            of the units are 1, 1, 2, 4, 8 at the default.
        stages: of the same weights; 1, the paper's SCAN, takes ``unit="conv"``.
        unit: "conv" (remembers nothing), "rnn", "gru" or "lstm".
        mode: "full": each stage estimates the whole rain layer; "add": what to add to the estimate before, which gets
            no gradient from it.
        attention: squeeze-and-excitation in units and decoder.

    Raises:
        SlackoffError: a size is too small, or a unit would remember for no further stage.
    """

    paper: ClassVar[str] = "Li et al., RESCAN (ECCV 2018)"
    shared_layer: ClassVar[str] = "decoder.3"

    def __init__(
        self,
        width: int = 24,
        depth: int = 7,
        stages: int = 4,
        unit: Literal["conv", "rnn", "gru", "lstm"] = "gru",
        mode: Literal["full", "add"] = "full",
        attention: bool = True,
    ) -> None:
        super().__init__()
        check_choices(RESCAN, unit=unit, mode=mode)
        check_sizes(width=width, stages=stages)
        check_sizes(LEAST_DEPTH, depth=depth)
        if stages == 1 and UNITS[unit].recurrent:
            raise SlackoffError(f"network.stages=1 leaves unit={unit} nothing to remember: choose network.unit=conv")
        self.count = stages
        self.add = mode == "add"
        dilations = [1, *(2**i for i in range(depth - LEAST_DEPTH))]
        self.units = nn.ModuleList(
            UNITS[unit](width if number else 3, width, dilation, attention) for number, dilation in enumerate(dilations)
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), attend(width, attention), nn.LeakyReLU(SLOPE), nn.Conv2d(width, 3, 1)
        )

    def stages(self, rainy: Tensor) -> Stages:
        """A background and a rain layer a stage, the result last: (N, 3, H, W) each, in about [0, 1]."""
        states: list[State] = [() for _ in self.units]
        background = rainy
        backgrounds: list[Tensor] = []
        rains: list[Tensor] = []
        for _ in range(self.count):
            x = background
            for number, unit in enumerate(self.units):
                x, states[number] = unit(x, states[number])
            rain = self.decoder(x)
            if self.add and rains:
                rain = rain + rains[-1].detach()
            background = rainy - rain
            rains.append(rain)
            backgrounds.append(background)
        return Stages(tuple(backgrounds), tuple(rains))
