"""Files whose pixels tell where they came from: red is the image, green the row, blue the column."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

SIZES = [(40, 70), (33, 32), (50, 36), (64, 48)]
RAIN = 90


def coordinates(image: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    rows, columns = np.indices(size, dtype=np.uint8)
    return np.stack([np.full(size, image, np.uint8), rows, columns], axis=2)


def write_photos(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for number, size in enumerate(SIZES):
        Image.fromarray(coordinates(number, size)).save(folder / f"{number}.png")
    return folder


def write_pairs(root: Path, versions: int = 1) -> Path:
    """Clean images as above; version v of a rainy image is brighter by ``RAIN`` + v everywhere."""
    (root / "rainy_image").mkdir(parents=True)
    (root / "ground_truth").mkdir()
    for number, size in enumerate(SIZES):
        clean = coordinates(number, size)
        Image.fromarray(clean).save(root / "ground_truth" / f"{number}.png")
        for version in range(versions):
            rainy = clean + np.uint8(RAIN + version)
            Image.fromarray(rainy).save(root / "rainy_image" / f"{number}_{version}.png")
    return root


def origin(crop: Tensor) -> tuple[int, int, int, bool]:
    """Image, top, left and whether it is mirrored, of a crop (3, P, P); fails if it is no crop of one image."""
    red, green, blue = np.round(crop.numpy() * 255).astype(int)
    side = crop.shape[-1]
    mirrored = bool(blue[0, 0] > blue[0, -1])
    image, top, left = red[0, 0], green[0, 0], blue[0, -1 if mirrored else 0]
    expected = coordinates(image, SIZES[image])[top : top + side, left : left + side]
    pixels = np.stack([red, green, blue], axis=2)
    np.testing.assert_array_equal(pixels[:, ::-1] if mirrored else pixels, expected)
    return int(image), int(top), int(left), mirrored
