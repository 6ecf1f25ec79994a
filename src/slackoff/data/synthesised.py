"""Training batches of rain laid over a bank of backgrounds."""

import torch
from torch import Tensor

from slackoff.data.batch import RainyBatch
from slackoff.data.image_bank import cpu_generator
from slackoff.rain import RainRange, add_rain, render_streaks
from slackoff.rain.streaks import to_device


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
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
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
