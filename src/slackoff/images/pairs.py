"""(rainy, clean) pairs: sizes, pixels, digests and fixed crops of their files, and which clean images show one scene.

One scene: also where a clean image was cropped a little, scaled, or saved again with a loss.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slackoff.errors import SlackoffError
from slackoff.images.files import image_size, read_rgb
from slackoff.images.sources import file_digest, map_in_threads

TrainingCrops = Literal["random", "five"]
SIDE_PX = 32
ALIKE = 0.98
"""Correlation of thumbnails from which two images count as one scene.

Copies of BSDS500 photos in Rain100L and DDN-SIRR, a row and a column apart, have 0.997 and more; different scenes of
the two at most 0.71.
"""

Thumbnails = NDArray[np.float32]
"""(n, SIDE_PX * SIDE_PX), each of mean 0 and length 1; an image of one grey level is all 0 and like no other."""


class Pair(NamedTuple):
    """A rainy image and the same scene without rain; `name` is the rainy file's name without suffix.

    Where both paths are one file, its left half is the rainy image and its right half the clean one. Several pairs
    may share a clean file.
    """

    name: str
    rainy_path: Path
    clean_path: Path

    @property
    def side_by_side(self) -> bool:
        """Whether one file holds both images."""
        return self.rainy_path == self.clean_path


def read_pair(pair: Pair) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Decode a pair.

    Returns:
        (rainy, clean): uint8 arrays of the same shape (H, W, 3), RGB, 0..255.

    Raises:
        SlackoffError: as for `read_rgb`.
    """
    return read_rainy(pair), read_clean(pair)


def read_rainy(pair: Pair) -> NDArray[np.uint8]:
    """Decode the rainy image alone; see `read_pair`."""
    pixels = read_rgb(pair.rainy_path)
    return pixels[:, : pixels.shape[1] // 2] if pair.side_by_side else pixels


def read_clean(pair: Pair) -> NDArray[np.uint8]:
    """Decode the clean image alone; see `read_pair`."""
    pixels = read_rgb(pair.clean_path)
    return pixels[:, pixels.shape[1] // 2 :] if pair.side_by_side else pixels


def pair_sizes(pairs: Sequence[Pair]) -> list[tuple[int, int]]:
    """Return (height, width) in pixels of one image of each pair, from the files' headers.

    Raises:
        SlackoffError: partners differ in size, a side-by-side image has an odd width, or as for `image_size`.
    """

    def size(pair: Pair) -> tuple[int, int]:
        height, width = image_size(pair.rainy_path)
        if pair.side_by_side:
            if width % 2:
                raise SlackoffError(
                    f"{pair.rainy_path} is {width} px wide: an image that holds a pair side by side has an even width, "
                    "the rainy half left and the clean half right."
                )
            return height, width // 2
        clean_height, clean_width = image_size(pair.clean_path)
        if (height, width) != (clean_height, clean_width):
            raise SlackoffError(
                f"{pair.rainy_path} ({width} x {height} px) and {pair.clean_path} ({clean_width} x "
                f"{clean_height} px) are a pair but differ in size: crop them to the same region or remove both."
            )
        return height, width

    return list(map_in_threads(size, pairs))


def file_digests(paths: Iterable[Path]) -> dict[Path, str]:
    """SHA-256 of the bytes of each file, in hexadecimal; each is read once. Raises where one cannot be read."""
    once = list(dict.fromkeys(paths))
    return dict(zip(once, map_in_threads(file_digest, once), strict=True))


def fingerprint(pairs: Sequence[Pair]) -> str:
    """SHA-256 over the names and file bytes of pairs, in hexadecimal: for a cell's identity."""
    digests = file_digests(path for pair in pairs for path in (pair.rainy_path, pair.clean_path))
    total = hashlib.sha256()
    for pair in pairs:
        total.update(pair.name.encode() + b"\0")
        for path in (pair.rainy_path, pair.clean_path):
            total.update(bytes.fromhex(digests[path]))
    return total.hexdigest()


class CropPlace(NamedTuple):
    """A square of an image.

    ``top`` and ``left``: corner in px, in the image as it is stored; ``mirrored``: the square is then turned left to
    right. ``name`` says where it lies in the image that it is a crop of, which for some is the mirrored one.
    """

    name: str
    top: int
    left: int
    mirrored: bool


def five_crops(height: int, width: int, side: int, mirror: bool = True) -> list[CropPlace]:
    """The four corners and the centre of an image; with ``mirror`` also those of the image turned left to right.

    The training and test crops of MENET (Fan, Chen, Li, 2020). The centre begins at round((size - side) / 2), halves to
    the even number, in the mirrored image as well: where width - side is odd, the mirrored centre is not the mirror
    image of the centre but lies a pixel beside it.

    Args:
        height, width: of the image in px, at least ``side``.
        side: of the crops in px.
        mirror: ten crops instead of five.
    """
    bottom, right = height - side, width - side
    corners = {"top_left": (0, 0), "top_right": (0, right), "bottom_left": (bottom, 0), "bottom_right": (bottom, right)}
    places = corners | {"centre": (round(bottom / 2), round(right / 2))}
    crops = [CropPlace(name, top, left, False) for name, (top, left) in places.items()]
    if mirror:
        crops += [CropPlace(f"mirrored_{name}", top, right - left, True) for name, (top, left) in places.items()]
    return crops


def crops_per_image(crops: TrainingCrops, mirror: bool) -> int:
    """Into how many training images one is made; 1 where places are drawn."""
    return (10 if mirror else 5) if crops == "five" else 1


def scene_thumbnails(pairs: Sequence[Pair]) -> Thumbnails:
    """Of each pair's clean image; one that several pairs share is read once.

    Raises:
        SlackoffError: an image cannot be read.
    """
    one_of = {pair.clean_path: pair for pair in pairs}
    made = map_in_threads(lambda pair: thumbnail(read_clean(pair)), list(one_of.values()))
    found = dict(zip(one_of, made, strict=True))
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
