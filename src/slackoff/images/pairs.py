"""(rainy, clean) pairs: found in a folder in any usual layout; their sizes, pixels, digests and fixed crops."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from slackoff.errors import SlackoffError, check_choice, printable
from slackoff.images.files import image_size, images_directly_in, natural, read_rgb, require_folder
from slackoff.images.layouts import Found, in_folder, in_list, in_two_places
from slackoff.images.sources import file_digest, map_in_threads

Layout = Literal["auto", "side_by_side", "side_by_side_clean_left"]
TrainingCrops = Literal["random", "five"]
_SAMPLE = 15  # pairs that are looked at


class Pair(NamedTuple):
    """A rainy image and the same scene without rain; `name` is the rainy file's name without suffix, for people.

    Where both paths are one file, its left half is the rainy image and its right half the clean one, or with
    `clean_left` the other way round. Several pairs may share a clean file, and a name.
    """

    name: str
    rainy_path: Path
    clean_path: Path
    clean_left: bool = False

    @property
    def side_by_side(self) -> bool:
        """Whether one file holds both images."""
        return self.rainy_path == self.clean_path


def find_pairs(
    root: str | os.PathLike[str] | None,
    key: str,
    layout: Layout = "auto",
    darker_rain: bool = False,
    *,
    rainy: str | None = None,
    clean: str | None = None,
    pairs: str | None = None,
) -> list[Pair]:
    """Find all pairs of a set, sorted by name; they are given in one of three ways.

    * `root` is a folder in a layout that `slackoff.images.layouts.in_folder` knows, or the file of a list of pairs, see
      `slackoff.images.layouts.in_list`. With the layout "side_by_side" each image directly in the folder holds a pair:
      its left half is rainy, its right half clean; with "side_by_side_clean_left" the other way round. That is never
      guessed.
    * `rainy` and `clean` are two folders, or two patterns with placeholders such as "rain/{scene}_{version}.png", see
      `slackoff.images.layouts.in_two_places`.
    * `pairs` is the file of a list.

    Rain adds light: a sample of the pairs is looked at, so that none is trained on or measured the wrong way round.

    Args:
        root: the folder or the list; None where the pairs are given otherwise.
        key: the config key that names `root`, for error messages, such as "evaluation.root".
        layout: "auto", "side_by_side" or "side_by_side_clean_left".
        darker_rain: the rainy images may be the darker ones, as of a camera that chose its exposure anew.
        rainy, clean, pairs: see above.

    Returns:
        The pairs; never empty. Sizes within a pair are equal.

    Raises:
        SlackoffError: missing or empty folder, a file without partner, partners of different size, an odd width
            side by side, most rainy images are darker than the clean ones, or the pairs are given in two ways or none.
    """
    check_choice(layout, f"The layout of {key}: layout", get_args(Layout))
    place = f"{key}={root}"
    if rainy is not None or clean is not None or pairs is not None:
        group = key.rpartition(".")[0] or key
        given = {"root": root, "rainy and clean": rainy or clean, "pairs": pairs}
        ways = [name for name, value in given.items() if value is not None]
        if len(ways) > 1:
            raise SlackoffError(f"{group} is given its pairs in two ways, by {' and by '.join(ways)}: leave one out.")
        if pairs is None and (rainy is None or clean is None):
            there, missing = ("clean", "rainy") if rainy is None else ("rainy", "clean")
            raise SlackoffError(f"{group}.{there} is given without {group}.{missing}: give both.")
        place = f"{group}.pairs={pairs}" if pairs is not None else f"{group}.rainy={rainy}"
        listed = in_list(Path(pairs), f"{group}.pairs") if pairs is not None else in_two_places(rainy, clean, group)
        found = _as_pairs(listed)
    elif layout != "auto":
        folder = require_folder(root, key)
        images = images_directly_in(folder, key)
        if not images:
            raise SlackoffError(f"{key}={folder} holds no image: put the images with both halves directly into it.")
        found = [Pair(printable(path.stem), path, path, layout != "side_by_side") for path in images]
    elif root is not None and Path(root).expanduser().is_file():
        found = _as_pairs(in_list(Path(root), key))
    else:
        folder = require_folder(root, key)
        place = f"{key}={folder}"
        found = _as_pairs(in_folder(folder, key))
    pair_sizes(found)
    if not darker_rain:
        _refuse_darker_rain(found, place)
    return found


def _as_pairs(found: Found) -> list[Pair]:
    return sorted(Pair(printable(rainy.stem), rainy, clean) for rainy, clean in found)


def _refuse_darker_rain(pairs: Sequence[Pair], folder: str) -> None:
    sample = Random(0).sample(pairs, min(_SAMPLE, len(pairs)))
    darker = [pair for pair in sample if _is_darker(pair, *map(_changed, pair[1:3]))]
    if len(darker) <= len(sample) / 2:
        return
    first, cure = darker[0], "give the two folders each other's names"
    if first.side_by_side:
        here, there = ("clean", "rainy") if first.clean_left else ("rainy", "clean")
        other = get_args(Layout)[1 if first.clean_left else 2]
        cure = f"if the left half is the {there} one, not the {here} one, set its layout={other}"
    raise SlackoffError(
        f"The rainy images of {folder} are darker than the clean ones in {len(darker)} of {len(sample)} pairs, such as "
        f"{first.rainy_path}, and rain adds light: {cure}, or set its darker_rain=true if they are right."
    )


@lru_cache(maxsize=4096)
def _is_darker(pair: Pair, *changed: tuple[int, int]) -> bool:
    """Whether the rainy image is darker by more than a grey level; `changed` is there to read a changed file again."""
    rainy, clean = read_pair(pair)
    return float(rainy.mean()) < float(clean.mean()) - 1


def _changed(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def chosen_by_place(pairs: Sequence[Pair], places: tuple[int, int], key: str) -> list[Pair]:
    """Take the pairs from one place to another, places counted as people count.

    Args:
        pairs: all pairs.
        places: [first, last], from 1 up, both included, in the order of the numbers in the names: input2 comes before
            input10.
        key: the config key that names the folder, for error messages.

    Raises:
        SlackoffError: not such places, or there are fewer pairs.
    """
    first, last = places
    if not 1 <= first <= last:
        raise SlackoffError(f"numbers={[*places]} of {key} is no choice of pairs: give [first, last], from 1 up.")
    if last > len(pairs):
        raise SlackoffError(
            f"numbers={[*places]} of {key}: there are only {len(pairs)} pairs; give it the whole data set."
        )
    return sorted(pairs, key=lambda pair: natural(pair.name))[first - 1 : last]


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
    return _half(pixels, left=not pair.clean_left) if pair.side_by_side else pixels


def read_clean(pair: Pair) -> NDArray[np.uint8]:
    """Decode the clean image alone; see `read_pair`."""
    pixels = read_rgb(pair.clean_path)
    return _half(pixels, left=pair.clean_left) if pair.side_by_side else pixels


def _half(pixels: NDArray[np.uint8], left: bool) -> NDArray[np.uint8]:
    middle = pixels.shape[1] // 2
    return pixels[:, :middle] if left else pixels[:, middle:]


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
                    "one half for each."
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
