"""What a training rain range is, and one draw of parameters from it (Table 1 of "Networks are Slacking Off")."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from slackoff.errors import SlackoffError

MAX_LENGTH = 60


class RainParameters(NamedTuple):
    """One rain layer's parameters for each image of a batch; four int64 tensors of shape (N,).

    ``quantity`` in hundredths of a grey level of the seed threshold (250 keeps 0.98 % of the pixels as seeds),
    ``width`` in px (odd), ``length`` in px of the kernel's side (not of the streak, see ``line_kernels``),
    ``angle_deg`` in degrees from vertical, positive counter-clockwise.
    """

    quantity: Tensor
    width: Tensor
    length: Tensor
    angle_deg: Tensor


@dataclass(frozen=True)
class RainRange:
    """A training rain range: ``quantity``, ``length`` and ``angle_deg`` as [low, high], both ends included.

    ``key`` is the config key of the range, for messages.

    Raises:
        SlackoffError: a range is empty or reversed, or a value lies outside what the generator can draw.
    """

    quantity: Sequence[int]
    width: Sequence[int]
    length: Sequence[int]
    angle_deg: Sequence[int]
    legacy_scale: bool = True
    key: str = field(default="rain", compare=False)

    def __post_init__(self) -> None:
        for key, low, high in (("quantity", 1, 25600), ("length", 1, MAX_LENGTH), ("angle_deg", -90, 90)):
            _check_ends(f"{self.key}.{key}", getattr(self, key), low, high)
        if not isinstance(self.width, Sequence) or not self.width:
            raise SlackoffError(f"{self.key}.width is {self.width}: give at least one odd width, for example [5, 7, 9]")
        for width in self.width:
            if width not in (1, 3, 5, 7, 9):
                raise SlackoffError(f"{self.key}.width holds {width}: a width is one of 1, 3, 5, 7, 9 px")
        if max(self.width) // 2 >= min(self.length):
            raise SlackoffError(
                f"{self.key}.width {max(self.width)} does not fit {self.key}.length {min(self.length)}: "
                "the shortest length must be more than half the largest width"
            )

    @property
    def kernel_side(self) -> int:
        """Side of the smallest even square that holds every line kernel of this range, px."""
        return self.length[1] + self.length[1] % 2

    def check_side(self, side_px: int, key: str) -> None:
        """Refuse images that are too small for this rain.

        Args:
            side_px: the smaller side of an image.
            key: the config key of that side, for messages.

        Raises:
            SlackoffError: the side is not larger than half the longest kernel.
        """
        if side_px <= self.kernel_side // 2:
            raise SlackoffError(
                f"{key}={side_px} is too small for {self.key}.length={list(self.length)}: "
                f"patches must be larger than {self.kernel_side // 2} px"
            )

    def sample(self, count: int, generator: Generator) -> RainParameters:
        """Draw the parameters of ``count`` rain layers, uniformly, on the generator's device."""
        device = generator.device

        def between(ends: Sequence[int]) -> Tensor:
            return torch.randint(ends[0], ends[1] + 1, (count,), generator=generator, device=device)

        quantity = between(self.quantity)
        index = torch.randint(len(self.width), (count,), generator=generator, device=device)
        # Not an index into a tensor of widths: to make one on a GPU is to wait for it.
        width = sum(((index == number) * px for number, px in enumerate(self.width)), torch.zeros_like(index))
        return RainParameters(quantity, width, between(self.length), between(self.angle_deg))


def _check_ends(key: str, ends: Sequence[int], low: int, high: int) -> None:
    if not isinstance(ends, Sequence) or len(ends) != 2 or not all(isinstance(end, int) for end in ends):
        raise SlackoffError(f"{key} is {ends}: give two whole numbers, [low, high]")
    if ends[0] > ends[1]:
        raise SlackoffError(f"{key} is reversed: {list(ends)} has low > high; write [{ends[1]}, {ends[0]}]")
    if ends[0] < low or ends[1] > high:
        raise SlackoffError(f"{key} is {list(ends)}: both ends must lie in [{low}, {high}]")
