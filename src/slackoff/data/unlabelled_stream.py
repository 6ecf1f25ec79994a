"""Random crops of rainy images without truth."""

import torch
from torch import Tensor

from slackoff.data.image_bank import ImageBank, cpu_generator


class UnlabelledStream:
    """Random access to the unlabelled crops of each step; see ``PairStream``.

    Images are drawn uniformly with replacement; those of step k are a function of (seed, "unlabelled", k).

    Args:
        images: on the training device; none smaller than a patch.
        patch_size_px: side of a crop in px.
        batch_size: images of the global batch.
        seed: the cell's seed.
        mirror: turn half of the crops left to right.
        channels_last: memory format of the images.
    """

    def __init__(
        self,
        images: ImageBank,
        patch_size_px: int,
        batch_size: int,
        seed: int,
        mirror: bool = True,
        channels_last: bool = True,
    ) -> None:
        self.images = images
        self.patch_size_px = patch_size_px
        self.batch_size = batch_size
        self.seed = seed
        self.mirror = mirror
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format

    def batch(self, step: int, rank: int = 0, world_size: int = 1) -> Tensor:
        """Rainy crops of a step, or one rank's share of them: float32, (M or fewer, 3, P, P), in [0, 1]."""
        generator = cpu_generator(self.seed, "unlabelled", step)
        chosen = torch.randint(len(self.images), (self.batch_size,), generator=generator)
        crops = self.images.draw(chosen, self.patch_size_px, self.mirror, generator)
        return self.images.cut(crops.share(rank, world_size), self.patch_size_px, self.memory_format)
