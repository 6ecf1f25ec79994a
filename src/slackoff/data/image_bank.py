"""Whole images of any size in one tensor on the training device, and random crops of them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from slackoff.rain.streaks import to_device
from slackoff.seeding import derive_seed


class Crops(NamedTuple):
    """Where to crop; four int64 tensors of shape (N,) on the CPU: image, corner in px, and 1 to mirror it or 0."""

    image: Tensor
    top: Tensor
    left: Tensor
    mirrored: Tensor

    def share(self, rank: int, world_size: int) -> "Crops":
        """One rank's part: the crops rank, rank + world_size, ..."""
        return Crops(*(values[rank::world_size] for values in self))


class ImageBank:
    """Images as uint8, 3 bytes a pixel.

    Args:
        images: uint8, (H, W, 3), RGB.
        sizes: (H, W) of each, in the same order.
    """

    def __init__(self, images: Iterable[NDArray[np.uint8]], sizes: Sequence[tuple[int, int]]) -> None:
        self.height, self.width = torch.tensor(sizes, dtype=torch.int64).reshape(-1, 2).unbind(1)
        ends = (self.height * self.width).cumsum(0)
        self.start = ends - self.height * self.width
        self.pixels = torch.empty((int(ends[-1]) if len(ends) else 0, 3), dtype=torch.uint8)
        for image, start, (height, width) in zip(images, self.start.tolist(), sizes, strict=True):
            flat = np.ascontiguousarray(image).reshape(height * width, 3)
            self.pixels[start : start + height * width] = torch.from_numpy(flat)

    def __len__(self) -> int:
        return len(self.start)

    def to(self, device: torch.device) -> "ImageBank":
        """Move the pixels; where to crop is worked out on the CPU."""
        self.pixels = self.pixels.to(device)
        return self

    def draw(self, images: Tensor, side: int, mirror: bool, generator: Generator) -> Crops:
        """Draw one crop of each of the given images, all places of it equally likely.

        Args:
            images: numbers of images, int64, (N,), on the CPU; each at least ``side`` px high and wide.
            side: of a crop in px.
            mirror: mirror half of the crops.
            generator: on the CPU, so that every device gets the same crops.
        """
        drawn = torch.randint(2**62, (3, len(images)), generator=generator)
        top = drawn[0] % (self.height[images] - side + 1)
        left = drawn[1] % (self.width[images] - side + 1)
        return Crops(images, top, left, drawn[2] % 2 if mirror else torch.zeros_like(top))

    def cut(self, crops: Crops, side: int, memory_format: torch.memory_format) -> Tensor:
        """Cut crops out: float32, (N, 3, side, side), in [0, 1], on the device of the pixels."""
        image, top, left, mirrored = crops
        line = torch.arange(side)
        starts = (self.start[image] + top * self.width[image] + left)[:, None] + line * self.width[image, None]
        # Row i of this view is the stretch of ``side`` pixels from pixel i on, so that whole lines are copied.
        stretches = self.pixels.as_strided((len(self.pixels) - side + 1, 3 * side), (3, 1))
        pixels = stretches[to_device(starts, self.pixels.device)].view(len(image), side, side, 3)
        if mirrored.any():
            turned = to_device(mirrored.bool(), pixels.device)[:, None, None, None]
            pixels = torch.where(turned, pixels.flip(2), pixels)
        return (pixels.permute(0, 3, 1, 2).float() / 255.0).contiguous(memory_format=memory_format)


def cpu_generator(seed: int, *path: int | str) -> Generator:
    """A generator for one use of a cell's seed."""
    return Generator().manual_seed(derive_seed(seed, *path))
