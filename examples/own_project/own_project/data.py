"""Training pairs. Item i must be the same whenever it is asked for: batch k is made from (seed, k) alone, which is what
makes a training that was stopped go on as if it had not been."""

import torch
from torch import Generator, Tensor
from torch.utils.data import Dataset


class Stripes(Dataset[tuple[Tensor, Tensor]]):
    """Smooth colours under straight rain: a stand-in for pairs that you read from files."""

    def __init__(self, count: int = 64, side_px: int = 96, seed: int = 0) -> None:
        self.count, self.side_px, self.seed = count, side_px, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """(rainy, clean): float32, (3, H, W), in [0, 1]."""
        own = Generator().manual_seed(self.seed * 1_000_000 + index)  # what item i is
        coarse = torch.rand(1, 3, 6, 6, generator=own)
        clean = torch.nn.functional.interpolate(coarse, (self.side_px, self.side_px), mode="bicubic")[0].clamp(0, 1)
        streaks = torch.rand(1, 1, self.side_px, generator=own).gt(0.9) * torch.rand(1, self.side_px, 1, generator=own)
        if generator is not None and torch.rand(1, generator=generator) < 0.5:  # augmentation: from this generator only
            clean = clean.flip(-1)
        return (clean + 0.5 * streaks).clamp(0, 1), clean
