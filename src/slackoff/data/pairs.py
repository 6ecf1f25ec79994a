"""Training batches of random crops from stored (rainy, clean) pairs."""

from functools import partial
from pathlib import Path

import torch
from torch import Generator, Tensor

from slackoff.backgrounds.sources import map_in_threads
from slackoff.data.batch import RainyBatch
from slackoff.data.fixed_crops import FixedCrops
from slackoff.data.image_bank import Crops, ImageBank, cpu_generator
from slackoff.metrics.functional import rain_from_pair
from slackoff.pairs import Pair, TrainingCrops, pair_sizes, read_clean, read_rainy


class PairImages:
    """Pairs in an image bank; a clean image that several pairs share is held once.

    Args:
        pairs: at least one.

    Raises:
        SlackoffError: an image cannot be read.
    """

    def __init__(self, pairs: list[Pair]) -> None:
        sizes = dict(zip(pairs, pair_sizes(pairs), strict=True))
        first: dict[Path, Pair] = {}
        for pair in pairs:
            first.setdefault(pair.clean_path, pair)
        place = {path: len(pairs) + number for number, path in enumerate(first)}
        readers = [
            *(partial(read_rainy, pair) for pair in pairs),
            *(partial(read_clean, pair) for pair in first.values()),
        ]
        images = map_in_threads(lambda read: read(), readers)
        self.bank = ImageBank(images, [sizes[pair] for pair in (*pairs, *first.values())])
        self.clean = torch.tensor([place[pair.clean_path] for pair in pairs])

    def to(self, device: torch.device) -> "PairImages":
        self.bank.to(device)
        return self


class PairStream:
    """Random access to the training batches of one cell; see ``BatchStream`` for what that promises.

    Pairs are drawn uniformly with replacement, so any number of them serves any batch size. Crops are the same on every
    device.

    Args:
        images: the pairs, on the training device; none smaller than a patch.
        patch_size_px: side of a crop in px.
        batch_size: images of the global batch.
        seed: the cell's seed.
        mirror: turn half of the crops left to right.
        channels_last: memory format of the images.
        crops: "random" places, or "five": those of ``slackoff.pairs.five_crops``.
    """

    def __init__(
        self,
        images: PairImages,
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
        self.fixed = FixedCrops(images.bank, patch_size_px, mirror) if crops == "five" else None
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format

    def batch(self, step: int, rank: int = 0, world_size: int = 1) -> RainyBatch:
        """Make the batch of a step, or one rank's share of it: the images rank, rank + world_size, ..."""
        generator = cpu_generator(self.seed, "batch", step)
        chosen = torch.randint(len(self.images.clean), (self.batch_size,), generator=generator)
        crops = self._draw(chosen, generator)
        clean = crops._replace(image=self.images.clean[chosen])
        rainy, background = (self._cut(part.share(rank, world_size)) for part in (crops, clean))
        return RainyBatch(background, rain_from_pair(rainy, background), rainy)

    def _draw(self, chosen: Tensor, generator: Generator) -> Crops:
        if self.fixed is not None:
            return self.fixed.draw(chosen, generator)
        return self.images.bank.draw(chosen, self.patch_size_px, self.mirror, generator)

    def _cut(self, crops: Crops) -> Tensor:
        return self.images.bank.cut(crops, self.patch_size_px, self.memory_format)
