"""Random 8-bit scenes, as tensors for the code and as arrays for the reference."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Batch(NamedTuple):
    output: Tensor
    background: Tensor
    rain: Tensor
    rainy: Tensor

    def arrays(self, index: int) -> list[np.ndarray]:
        """Output, background, rain, rainy of one image on 0..255: (H, W, 3), the rain (H, W)."""
        images = [x[index].permute(1, 2, 0).double().numpy() * 255 for x in self]
        images[2] = images[2][..., 0]
        return [np.rint(image) for image in images]


def random_batch(count: int = 4, height: int = 24, width: int = 31, seed: int = 0) -> Batch:
    """8-bit scenes with rain of all strengths; the output removes part of it and errs by some levels."""
    generator = np.random.default_rng(seed)
    background = generator.integers(0, 256, (count, 3, height, width))
    rain = generator.integers(0, 120, (count, 1, height, width))
    rain[generator.random(rain.shape) < 0.4] = 0
    rainy = np.clip(background + rain, 0, 255)
    strength = generator.uniform(0.2, 0.9, (count, 1, 1, 1))
    error = generator.normal(0, 6, rainy.shape) + generator.normal(0, 8, (count, 3, 1, 1))
    output = np.clip(np.rint(rainy - strength * rain + error), 0, 255)
    return Batch(*(torch.from_numpy(x / 255).float() for x in (output, background, rain, rainy)))
