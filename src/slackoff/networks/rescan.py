"""RESCAN: dilated recurrent units that estimate the rain in several stages with the same weights."""

from typing import ClassVar, Literal

from torch import Tensor, nn

from slackoff.errors import SlackoffError
from slackoff.networks.rescan_blocks import SLOPE, UNITS, State, attend
from slackoff.networks.stages import StagedNetwork, Stages

Mode = Literal["full", "add"]
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
        SlackoffError: a size is too small, a unit or mode is not known, or a unit would remember for no further stage.
    """

    paper: ClassVar[str] = "Li et al., RESCAN (ECCV 2018)"
    shared_layer: ClassVar[str] = "decoder.3"

    def __init__(
        self,
        width: int = 24,
        depth: int = 7,
        stages: int = 4,
        unit: str = "gru",
        mode: Mode = "full",
        attention: bool = True,
    ) -> None:
        super().__init__()
        _check(width, depth, stages, unit, mode)
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


def _check(width: int, depth: int, stages: int, unit: str, mode: str) -> None:
    for key, value, least in (("width", width, 1), ("depth", depth, LEAST_DEPTH), ("stages", stages, 1)):
        if value < least:
            raise SlackoffError(f"network.{key}={value} must be at least {least}")
    if unit not in UNITS:
        raise SlackoffError(f"network.unit={unit} is not known: choose {', '.join(UNITS)}")
    if mode not in ("full", "add"):
        raise SlackoffError(f"network.mode={mode} is not known: choose full or add")
    if stages == 1 and UNITS[unit].recurrent:
        raise SlackoffError(f"network.stages=1 leaves unit={unit} nothing to remember: choose network.unit=conv")
