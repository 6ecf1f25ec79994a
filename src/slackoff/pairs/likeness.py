"""Which clean images show the same scene, even where one was cropped a little, scaled or saved again with a loss."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slackoff.backgrounds.sources import map_in_threads
from slackoff.pairs.files import Pair, read_clean

SIDE_PX = 32
ALIKE = 0.98
"""Correlation of thumbnails from which two images count as one scene.

Copies of BSDS500 photos in Rain100L and DDN-SIRR, a row and a column apart, have 0.997 and more; different scenes of
the two at most 0.71.
"""

Thumbnails = NDArray[np.float32]
"""(n, SIDE_PX * SIDE_PX), each of mean 0 and length 1; an image of one grey level is all 0 and like no other."""


def scene_thumbnails(pairs: Sequence[Pair]) -> Thumbnails:
    """Of each pair's clean image; one that several pairs share is read once.

    Raises:
        SlackoffError: an image cannot be read.
    """
    first: dict[Path, Pair] = {}
    for pair in pairs:
        first.setdefault(pair.clean_path, pair)
    made = map_in_threads(lambda pair: thumbnail(read_clean(pair)), list(first.values()))
    found = dict(zip(first, made, strict=True))
    return np.stack([found[pair.clean_path] for pair in pairs])


def thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """One row of ``Thumbnails``; ``pixels`` is (H, W, 3)."""
    grey = Image.fromarray(pixels).convert("L").resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX)
    values = np.asarray(grey, dtype=np.float32).ravel()
    values = values - values.mean()
    length = float(np.linalg.norm(values))
    return values / length if length else values


def shown_in(pictures: Thumbnails, scenes: Thumbnails) -> NDArray[np.bool_]:
    """(n,) whether each of n pictures is one of the scenes, upright or mirrored left to right."""
    mirrored = scenes.reshape(-1, SIDE_PX, SIDE_PX)[:, :, ::-1].reshape(scenes.shape)
    likeness = np.maximum(pictures @ scenes.T, pictures @ mirrored.T)
    return likeness.max(axis=1, initial=-1.0) > ALIKE
