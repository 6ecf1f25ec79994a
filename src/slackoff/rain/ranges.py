"""Rain parameters: the ranges of Table 1 of "Networks are Slacking Off", a draw from one, and R100-like test rain.

R100 (that is Rain100L) cannot be shipped. `ThinRain` stands in for it: it draws each streak as a line segment of its
own brightness and length, tapered at its ends; nothing is stretched or convolved with a shared kernel, as in the
training rain. Its defaults were set so that coverage, brightness and directions resemble those of 60 Rain100L pairs;
the figures stand in docs/datasets.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from slackoff.errors import SlackoffError, check_choices

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


class OwnRain(Protocol):
    """Rain of a person's own: a class with this method can stand wherever a config names rain."""

    def draw(self, count: int, height: int, width: int, generator: Generator) -> Tensor:
        """Draw ``count`` independent rain layers R: float32, (count, 1, height, width), in [0, 1], on the CPU.

        Args:
            count: how many layers.
            height, width: size in px.
            generator: on the CPU; all that is random comes from it, so that the same state gives the same rain.
        """


@dataclass(frozen=True)
class RainRange:
    """A training rain range: ``quantity``, ``length`` and ``angle_deg`` as [low, high], both ends included.

    ``key`` is the config key of the range, for messages.

    Raises:
        SlackoffError: a range is empty or reversed, or an end lies outside what the generator can draw.
    """

    quantity: tuple[int, int]
    width: Sequence[Literal[1, 3, 5, 7, 9]]
    length: tuple[int, int]
    angle_deg: tuple[int, int]
    legacy_scale: bool = True
    key: str = field(default="rain", compare=False, repr=False)

    def __post_init__(self) -> None:
        for key, low, high in (("quantity", 1, 25600), ("length", 1, MAX_LENGTH), ("angle_deg", -90, 90)):
            ends, name = getattr(self, key), f"{self.key}.{key}"
            if ends[0] > ends[1]:
                raise SlackoffError(f"{name} is reversed: {list(ends)} has low > high; write [{ends[1]}, {ends[0]}]")
            if ends[0] < low or ends[1] > high:
                raise SlackoffError(f"{name} is {list(ends)}: both ends must lie in [{low}, {high}]")
        if not self.width:
            raise SlackoffError(f"{self.key}.width is {self.width}: give at least one odd width, for example [5, 7, 9]")
        check_choices(RainRange, width=self.width)
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

        def between(ends: tuple[int, int]) -> Tensor:
            return torch.randint(ends[0], ends[1] + 1, (count,), generator=generator, device=device)

        quantity = between(self.quantity)
        index = torch.randint(len(self.width), (count,), generator=generator, device=device)
        # Not an index into a tensor of widths: to make one on a GPU is to wait for it.
        width = sum(((index == number) * px for number, px in enumerate(self.width)), torch.zeros_like(index))
        return RainParameters(quantity, width, between(self.length), between(self.angle_deg))


TABLE_1 = {
    "small": RainRange((200, 300), (5,), (30, 31), (-5, 5)),
    "medium": RainRange((200, 300), (5, 7, 9), (20, 40), (-30, 30)),
    "large": RainRange((200, 300), (1, 3, 5, 7, 9), (5, 60), (-70, 70)),
}
"""The paper's three ranges by name, for use without a config; those of ``conf/rain`` are the same."""


@dataclass(frozen=True)
class ThinRain:
    """Parameters of the R100-like rain; pairs are [low, high] of a uniform draw an image (or a streak, where said).

    Args:
        streaks_per_megapixel: density, an image.
        length_px: length, a streak.
        width_px: standard deviation of the cross profile, an image.
        angle_deg: direction from vertical, positive counter-clockwise, an image.
        angle_jitter_deg: standard deviation of a streak's direction around its image's.
        brightness: mean peak of the streaks in grey levels, an image; the streaks' own peaks are spread
            exponentially around it and cut at 220.
        key: the config key of this rain, for messages.

    Raises:
        SlackoffError: a pair that is reversed, or not positive where it must be.
    """

    streaks_per_megapixel: tuple[float, float] = (1000.0, 4000.0)
    length_px: tuple[float, float] = (8.0, 45.0)
    width_px: tuple[float, float] = (0.6, 0.9)
    angle_deg: tuple[float, float] = (-35.0, 35.0)
    angle_jitter_deg: float = 1.5
    brightness: tuple[float, float] = (28.0, 95.0)
    key: str = field(default="evaluation.test_set.rain", compare=False, repr=False)

    def __post_init__(self) -> None:
        for key in ("streaks_per_megapixel", "length_px", "width_px", "angle_deg", "brightness"):
            (low, high), name = getattr(self, key), f"{self.key}.{key}"
            if low > high:
                raise SlackoffError(f"{name} is reversed: write [{high}, {low}]")
            if key != "angle_deg" and low <= 0:
                raise SlackoffError(f"{name} is [{low}, {high}]: both ends must be positive")

    def render(self, height: int, width: int, generator: Generator) -> Tensor:
        """Draw one rain layer.

        Args:
            height, width: size in px.
            generator: a CPU generator; the same state gives the same rain.

        Returns:
            R, float32, (1, 1, height, width), in [0, 1] in steps of 1/255.
        """

        def between(ends: tuple[float, float], *shape: int) -> Tensor:
            return ends[0] + (ends[1] - ends[0]) * torch.rand(*shape, generator=generator)

        margin = int(self.length_px[1]) // 2 + 3
        area = (height + 2 * margin) * (width + 2 * margin)
        count = max(1, round(float(between(self.streaks_per_megapixel, 1)) * area / 1e6))
        sigma = float(between(self.width_px, 1))
        jitter = self.angle_jitter_deg * torch.randn(count, generator=generator)
        angle = torch.deg2rad(between(self.angle_deg, 1) + jitter)
        spread = -torch.log1p(-torch.rand(count, generator=generator) * 0.999)
        peak = (between(self.brightness, 1) * (0.3 + 0.7 * spread)).clamp_max(220.0)
        length = between(self.length_px, count)
        centre = torch.rand(count, 2, generator=generator) * torch.tensor([height + 2.0 * margin, width + 2.0 * margin])
        canvas = _splat(centre, angle, length, peak, height + 2 * margin, width + 2 * margin)
        layer = _gaussian_profile(canvas, sigma)[margin : margin + height, margin : margin + width]
        return (layer.clamp(0.0, 255.0).round() / 255.0)[None, None]


def _splat(centre: Tensor, angle: Tensor, length: Tensor, peak: Tensor, height: int, width: int) -> Tensor:
    """Lay each streak's points down with bilinear weights; unit line density times peak, (height, width)."""
    points = 2 * int(length.max()) + 1  # two a pixel
    position = torch.linspace(-0.5, 0.5, points)[None]  # along the streak, in lengths
    taper = torch.cos(torch.pi * position).clamp_min(0.0).sqrt()
    weight = peak[:, None] * taper * (length[:, None] / (points - 1))
    # Positive angles turn counter-clockwise: the streak runs from upper left to lower right.
    y = centre[:, :1] + position * length[:, None] * angle.cos()[:, None]
    x = centre[:, 1:] + position * length[:, None] * angle.sin()[:, None]
    canvas = torch.zeros(height * width)
    for step_y in (0, 1):
        for step_x in (0, 1):
            row, column = y.floor() + step_y, x.floor() + step_x
            share = (1 - (y - row).abs()) * (1 - (x - column).abs())
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            index = (row * width + column).long()[inside]
            canvas.index_add_(0, index, (weight * share)[inside])
    return canvas.view(height, width)


def _gaussian_profile(canvas: Tensor, sigma: float) -> Tensor:
    """Blur so that a line of unit density gets a Gaussian cross profile of peak 1."""
    radius = 4
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    taps = taps / taps.sum() * (sigma * (2 * torch.pi) ** 0.5) ** 0.5
    column = F.conv2d(canvas[None, None], taps.view(1, 1, -1, 1), padding=(radius, 0))
    return F.conv2d(column, taps.view(1, 1, 1, -1), padding=(0, radius))[0, 0]
