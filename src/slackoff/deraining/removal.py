"""What a network does to a photo, ready to look at: the result, what was taken out, how long it took."""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slackoff.deraining.model import Model
from slackoff.deraining.tiles import derain_array

FULL_SCALE = 64
"""Grey levels of change that a map shows in its brightest colour."""

PREVIEW_PX = 1600
"""The longest side of what a page shows; the file to download has every pixel."""


@dataclass(frozen=True)
class Removal:
    """A photo before and after, uint8 (H, W, 3), and the wall time between the two in seconds."""

    rainy: NDArray[np.uint8]
    derained: NDArray[np.uint8]
    seconds: float

    @property
    def change(self) -> NDArray[np.float64]:
        """What was taken out or put in: mean absolute difference of the channels in grey levels, (H, W)."""
        return np.abs(self.rainy.astype(np.float64) - self.derained).mean(axis=2)


def remove_rain(model: Model, rainy: NDArray[np.uint8]) -> Removal:
    """Run a network on a photo of any size, uint8 (H, W, 3) RGB, in tiles."""
    start = time.perf_counter()
    derained = derain_array(model, rainy)
    return Removal(rainy, derained, time.perf_counter() - start)


def change_map(removal: Removal) -> NDArray[np.uint8]:
    """`change` in colours, uint8 (H, W, 3): black where nothing changed, pale yellow from 64 grey levels on.

    The scale is the same for all photos and networks, so that two maps can be compared.
    """
    import matplotlib

    share = np.clip(removal.change / FULL_SCALE, 0, 1)
    return np.asarray(matplotlib.colormaps["inferno"](share, bytes=True)[..., :3], dtype=np.uint8)


def preview(pixels: NDArray[np.uint8]) -> Image.Image:
    """A picture at most 1600 pixels wide or high, for a browser."""
    image = Image.fromarray(pixels)
    image.thumbnail((PREVIEW_PX, PREVIEW_PX), Image.Resampling.LANCZOS)
    return image
