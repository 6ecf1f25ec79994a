"""The files of pairs: sizes, pixels, digests."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from slackoff.backgrounds.images import image_size, read_rgb
from slackoff.backgrounds.sources import file_digest, map_in_threads
from slackoff.errors import SlackoffError


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
    return list(map_in_threads(_pair_size, pairs))


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


def _pair_size(pair: Pair) -> tuple[int, int]:
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
