"""The parts of Syn2Real's network, both with norms before convolutions: a Res2-style block and a change of channels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SPLITS = 6
FILTERED = SPLITS - 1
BASE_WIDTH = 12
BASE_CHANNELS = 64


class Res2Block(nn.Module):
    """A residual block whose 3x3 convolutions each see a sixth of the channels and the result of the one before.

    The input and the block's result are joined, so that the channels double.

    Args:
        channels: of the input, at least 6.
        groups: of the 3x3 convolutions; each group is 12 channels wide for an input of 64.
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        width = groups * (BASE_WIDTH * channels // BASE_CHANNELS)
        self.norm = nn.BatchNorm2d(channels)
        self.widen = nn.Conv2d(channels, SPLITS * width, 1, bias=False)
        self.split_norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(FILTERED))
        self.filters = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=1, groups=groups, bias=False) for _ in range(FILTERED)
        )
        self.joined_norm = nn.BatchNorm2d(SPLITS * width)
        self.narrow = nn.Conv2d(SPLITS * width, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, 2 C, H, W)."""
        *splits, last = self.widen(F.relu(self.norm(x))).chunk(SPLITS, dim=1)
        results: list[Tensor] = []
        for split, norm, convolution in zip(splits, self.split_norms, self.filters, strict=True):
            joined = split + results[-1] if results else split
            results.append(convolution(F.relu(norm(joined))))
        joined = torch.cat([*results, last], dim=1)
        return torch.cat([x, x + self.narrow(F.relu(self.joined_norm(joined)))], dim=1)


class Transition(nn.Module):
    """Norm, ReLU and a 1x1 convolution; then means of 2x2 pixels, or each pixel four times.

    The convolution is a transposed one, as in the release: it starts from other random numbers than a plain one.

    Args:
        channels_in, channels_out: before and after.
        resize: "down", "up" or "keep".
    """

    def __init__(self, channels_in: int, channels_out: int, resize: str = "keep") -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels_in)
        self.change = nn.ConvTranspose2d(channels_in, channels_out, 1, bias=False)
        self.resize = {"down": nn.AvgPool2d(2), "up": nn.Upsample(scale_factor=2), "keep": nn.Identity()}[resize]

    def forward(self, x: Tensor) -> Tensor:
        resized: Tensor = self.resize(self.change(F.relu(self.norm(x))))
        return resized
