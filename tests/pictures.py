"""Pictures of noise for the tests of every room."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def noise(height: int, width: int, *seed: int) -> NDArray[np.uint8]:
    """(H, W, 3), the same for the same seed."""
    return np.random.default_rng(seed or 0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, pixels: NDArray[np.uint8], **options: object) -> NDArray[np.uint8]:
    """Write a picture, in a folder that is made for it; the pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return pixels
