"""Streams of training batches: each batch is a pure function of (cell seed, step), made on the training device.

Three streams: rain laid over a bank of backgrounds, crops of stored (rainy, clean) pairs, and crops of rainy images
without truth. Crops are random, or fixed once and for all.
"""

import hashlib
import math
import os
import shutil
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import PIL
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Generator, Tensor

from slackoff.errors import SlackoffError, check_choices
from slackoff.images import Pair, TrainingCrops, fingerprint, five_crops, pair_sizes, read_clean, read_rainy
from slackoff.images.sources import map_in_threads
from slackoff.metrics.functional import rain_from_pair
from slackoff.rain import RainRange, add_rain, render_streaks
from slackoff.rain.render import to_device


def derive_seed(seed: int, *path: int | str) -> int:
    """Derive an independent seed for one use of one cell seed, for example ``derive_seed(0, "batch", 17)``.

    Random state is a function of where one is, not of what was drawn before.

    Args:
        seed: the cell's seed.
        path: what the seed is for.

    Returns:
        A number in [0, 2^63), the same on every machine.
    """
    text = "/".join(str(part) for part in (seed, *path))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


class RainyBatch(NamedTuple):
    """One training batch, float32 in [0, 1] on the training device.

    ``background`` B and ``rainy`` O: (N, 3, P, P); ``rain`` R: (N, 1, P, P). Synthesised, O = clip(B + R); of stored
    pairs, R is the largest channel of O - B. ``unlabelled``: rainy images without truth, (M, 3, P, P), where the
    training has some; M is a batch size of its own.
    """

    background: Tensor
    rain: Tensor
    rainy: Tensor
    unlabelled: Tensor | None = None


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
    """Images as uint8, 3 bytes a pixel, in memory or in a file.

    Args:
        images: uint8, (H, W, 3), RGB.
        sizes: (H, W) of each, in the same order.
        file: where to keep the pixels; None keeps them in memory. A file of that name is taken as it is, so the name
            must say what is in it.

    Raises:
        SlackoffError: the file cannot be written.
    """

    def __init__(
        self, images: Iterable[NDArray[np.uint8]], sizes: Sequence[tuple[int, int]], file: Path | None = None
    ) -> None:
        self.height, self.width = torch.tensor(sizes, dtype=torch.int64).reshape(-1, 2).unbind(1)
        ends = (self.height * self.width).cumsum(0)
        self.start = ends - self.height * self.width
        self.device, self.file = torch.device("cpu"), file
        count = int(ends[-1]) if len(ends) else 0
        if file is not None:
            self._pixels = torch.empty((0, 3), dtype=torch.uint8)
            _write_pixels(file, images, 3 * count)
            return
        self._pixels = torch.empty((count, 3), dtype=torch.uint8)
        for image, start, (height, width) in zip(images, self.start.tolist(), sizes, strict=True):
            flat = np.ascontiguousarray(image).reshape(height * width, 3)
            self._pixels[start : start + height * width] = torch.from_numpy(flat)

    def __len__(self) -> int:
        return len(self.start)

    @property
    def pixels(self) -> Tensor:
        """All pixels, image after image: uint8, (pixels, 3).

        A file is mapped anew each time: what was read of it does not stay in the memory of this process.
        """
        if self.file is None:
            return self._pixels
        count = int(self.start[-1] + self.height[-1] * self.width[-1])
        return torch.from_file(str(self.file), shared=False, size=3 * count, dtype=torch.uint8).view(count, 3)

    def to(self, device: torch.device) -> Self:
        """Give crops on a device, and move the pixels there if they are in memory; where to crop is worked out on the
        CPU."""
        self._pixels, self.device = self._pixels.to(device), device
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

    def five_crops(self, side: int, mirror: bool) -> Tensor:
        """(images, 5 or 10, 3), int64: top, left and whether it is mirrored, of the crops of ``images.five_crops``."""
        sizes = zip(self.height.tolist(), self.width.tolist(), strict=True)
        return torch.tensor([[crop[1:] for crop in five_crops(*size, side, mirror)] for size in sizes])

    def cut(self, crops: Crops, side: int, memory_format: torch.memory_format) -> Tensor:
        """Cut crops out: float32, (N, 3, side, side), in [0, 1], on the device."""
        image, top, left, mirrored = crops
        line = torch.arange(side)
        starts = (self.start[image] + top * self.width[image] + left)[:, None] + line * self.width[image, None]
        # Row i of this view is the stretch of ``side`` pixels from pixel i on, so that whole lines are copied.
        stored = self.pixels
        stretches = stored.as_strided((len(stored) - side + 1, 3 * side), (3, 1))
        pixels = stretches[to_device(starts, stored.device)].view(len(image), side, side, 3).to(self.device)
        if mirrored.any():
            turned = to_device(mirrored.bool(), pixels.device)[:, None, None, None]
            pixels = torch.where(turned, pixels.flip(2), pixels)
        return (pixels.permute(0, 3, 1, 2).float() / 255.0).contiguous(memory_format=memory_format)


def cpu_generator(seed: int, *path: int | str) -> Generator:
    """A generator for one use of a cell's seed."""
    return Generator().manual_seed(derive_seed(seed, *path))


class PairImages(ImageBank):
    """Pairs in an image bank, the rainy images first; a clean image that several pairs share is held once.

    ``clean``: the number of each pair's clean image in the bank.

    Args:
        pairs: at least one.
        cache: a folder for the file of a set that does not fit; None keeps all pairs in memory.
        memory: bytes that the pixels may take.

    Raises:
        SlackoffError: an image cannot be read, or the file cannot be written.
    """

    def __init__(self, pairs: list[Pair], cache: Path | None = None, memory: float = math.inf) -> None:
        sizes = dict(zip(pairs, pair_sizes(pairs), strict=True))
        first = {pair.clean_path: pair for pair in reversed(pairs)}
        images = chain(map_in_threads(read_rainy, pairs), map_in_threads(read_clean, list(first.values())))
        stored = [sizes[pair] for pair in (*pairs, *first.values())]
        file = None
        if cache is not None and 3 * sum(height * width for height, width in stored) > memory:
            # JPEG decoders of two Pillow versions may differ a little.
            name = hashlib.sha256(f"{PIL.__version__} {fingerprint(pairs)}".encode()).hexdigest()[:24]
            file = cache / f"{name}.rgb"
        super().__init__(images, stored, file)
        place = {path: len(pairs) + number for number, path in enumerate(first)}
        self.clean = torch.tensor([place[pair.clean_path] for pair in pairs])


def _write_pixels(file: Path, images: Iterable[NDArray[np.uint8]], size: int) -> None:
    """Write images one behind the other, unless it was done; several processes may ask at once."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{file}.lock"):
            if file.exists() and file.stat().st_size == size:
                return
            if (free := shutil.disk_usage(file.parent).free) < size:
                raise SlackoffError(
                    f"The training images do not fit into memory, and {file.parent} has {free / 1e9:.1f} GB free of "
                    f"the {size / 1e9:.1f} GB that they take: free some, set runs to a folder on another disk, or "
                    "raise labelled.memory_gb."
                )
            partial = file.with_suffix(".partial")  # one name: the lock is held, and a crashed one is overwritten
            with partial.open("wb") as target:
                for image in images:
                    target.write(np.ascontiguousarray(image).data)
                target.flush()
                os.fsync(target.fileno())
            partial.replace(file)
    except OSError as error:
        raise SlackoffError(
            f"The training images cannot be written to {file.parent} ({error.strerror or error}): make room there, or "
            "set runs to another folder."
        ) from error


def free_memory(device: torch.device) -> float:
    """Bytes that are free on a device; for the CPU those that can be had without swapping. inf where none can tell."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return math.inf
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")), math.inf)


class _CropStream:
    """What streams of crops of stored images have in common.

    Args:
        images: on the training device; none smaller than a patch.
        patch_size_px: side of a crop in px.
        batch_size: images of the global batch.
        seed: the cell's seed.
        mirror: turn half of the crops left to right.
        channels_last: memory format of the images.
        crops: "random" places, or "five": those of ``slackoff.images.five_crops``, all equally likely.
    """

    def __init__(
        self,
        images: ImageBank,
        patch_size_px: int,
        batch_size: int,
        seed: int,
        mirror: bool = True,
        channels_last: bool = True,
        crops: TrainingCrops = "random",
    ) -> None:
        self.images = images
        self.patch_size_px = patch_size_px
        self.batch_size = batch_size
        self.seed = seed
        self.mirror = mirror
        self.memory_format = _memory_format(channels_last)
        check_choices(_CropStream, crops=crops)
        self.fixed = images.five_crops(patch_size_px, mirror) if crops == "five" else None

    def _draw(self, images: Tensor, generator: Generator) -> Crops:
        if self.fixed is None:
            return self.images.draw(images, self.patch_size_px, self.mirror, generator)
        number = torch.randint(self.fixed.shape[1], images.shape, generator=generator)
        return Crops(images, *self.fixed[images, number].unbind(1))

    def _cut(self, crops: Crops, rank: int, world_size: int) -> Tensor:
        return self.images.cut(crops.share(rank, world_size), self.patch_size_px, self.memory_format)


class PairStream(_CropStream):
    """Random access to the training batches of one cell; see ``BatchStream`` for what that promises.

    Pairs are drawn uniformly with replacement, so any number of them serves any batch size. Crops are the same on every
    device.
    """

    images: PairImages

    def batch(self, step: int, rank: int = 0, world_size: int = 1) -> RainyBatch:
        """Make the batch of a step, or one rank's share of it: the images rank, rank + world_size, ..."""
        generator = cpu_generator(self.seed, "batch", step)
        chosen = torch.randint(len(self.images.clean), (self.batch_size,), generator=generator)
        crops = self._draw(chosen, generator)
        rainy = self._cut(crops, rank, world_size)
        background = self._cut(crops._replace(image=self.images.clean[chosen]), rank, world_size)
        return RainyBatch(background, rain_from_pair(rainy, background), rainy)


class UnlabelledStream(_CropStream):
    """Random access to the unlabelled crops of each step.

    Images are drawn uniformly with replacement; those of step k are a function of (seed, "unlabelled", k).
    """

    def batch(self, step: int, rank: int = 0, world_size: int = 1) -> Tensor:
        """Rainy crops of a step, or one rank's share of them: float32, (M or fewer, 3, P, P), in [0, 1]."""
        generator = cpu_generator(self.seed, "unlabelled", step)
        chosen = torch.randint(len(self.images), (self.batch_size,), generator=generator)
        return self._cut(self._draw(chosen, generator), rank, world_size)


def _memory_format(channels_last: bool) -> torch.memory_format:
    return torch.channels_last if channels_last else torch.contiguous_format


class BatchStream:
    """Random access to the training batches of one cell.

    Patches are drawn uniformly with replacement. Nothing is stored between calls, so resuming is exact and several
    ranks see slices of the same global batch. What is drawn is the same on every device.

    Args:
        bank: the backgrounds, uint8, (N, 3, P, P), on the training device.
        rain_range: what rain is drawn from.
        batch_size: images of the global batch.
        seed: the cell's seed.
        fixed_rain_per_patch: give each patch one rain layer for good instead of new rain at each use (an ablation;
            the paper's argument needs new rain).
        channels_last: memory format of the images.
    """

    def __init__(
        self,
        bank: Tensor,
        rain_range: RainRange,
        batch_size: int,
        seed: int,
        fixed_rain_per_patch: bool = False,
        channels_last: bool = True,
    ) -> None:
        self.bank = bank
        self.rain_range = rain_range
        self.patch_size: tuple[int, int] = (bank.shape[-2], bank.shape[-1])
        self.batch_size = batch_size
        self.seed = seed
        self.memory_format = _memory_format(channels_last)
        self.rain_bank = self._render_bank() if fixed_rain_per_patch else None

    def batch(self, step: int, rank: int = 0, world_size: int = 1) -> RainyBatch:
        """Make the batch of a step, or one rank's share of it: the images rank, rank + world_size, ..."""
        generator = cpu_generator(self.seed, "batch", step)
        part = slice(rank, None, world_size)
        count = (self.batch_size,)
        index = to_device(torch.randint(len(self.bank), count, generator=generator), self.bank.device)
        if self.rain_bank is not None:
            rain = self.rain_bank[index[part]].float() / 255.0
        else:
            rain = render_streaks(self.rain_range, self.batch_size, *self.patch_size, generator, part, self.bank.device)
        background = (self.bank[index[part]].float() / 255.0).contiguous(memory_format=self.memory_format)
        return RainyBatch(background, rain, add_rain(background, rain))

    def _render_bank(self, chunk: int = 256) -> Tensor:
        """One rain layer for each patch: uint8, (N, 1, P, P). Layer i depends on (seed, i // chunk) alone."""
        layers = []
        for start in range(0, len(self.bank), chunk):
            generator = cpu_generator(self.seed, "fixed rain", start)
            rain = render_streaks(self.rain_range, chunk, *self.patch_size, generator, device=self.bank.device)
            layers.append((rain * 255.0).round().byte())
        return torch.cat(layers)[: len(self.bank)]
