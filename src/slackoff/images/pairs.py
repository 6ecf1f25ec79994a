"""(rainy, clean) pairs: found in a folder in any usual layout; their sizes, pixels, digests and fixed crops."""

import hashlib
import os
import re
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from slackoff.errors import SlackoffError, check_choice, printable
from slackoff.images.files import (
    image_size,
    images_directly_in,
    is_folder,
    natural,
    read_rgb,
    require_folder,
    visible_entries,
)
from slackoff.images.sources import file_digest, map_in_threads

Layout = Literal["auto", "side_by_side", "side_by_side_clean_left"]
TrainingCrops = Literal["random", "five"]
RAINY_FOLDERS = ("rainy", "rain", "input", "rainy_image", "input_val")
CLEAN_FOLDERS = ("norain", "clean", "gt", "groundtruth", "target", "ground_truth", "label", "label_val")

_SAMPLE = 15  # pairs that are looked at
_NOT_AN_INPUT = re.compile(r"(rainstreak|rainregion|screenrainy)-", re.IGNORECASE)
_VERSION = re.compile(r"(.+)_\d+")


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
    root: str | os.PathLike[str] | None, key: str, layout: Layout = "auto", darker_rain: bool = False
) -> list[Pair]:
    """Find all pairs under `root`, sorted by name.

    With the layout "auto" two are known (names in any case):

    * two folders, one of `RAINY_FOLDERS` and one of `CLEAN_FOLDERS`; partners have the same file name, or the same up
      to the suffix, or up to case and the form of accents too, or the same numbers in their names (rain-001.png and
      norain-001.png), or several rainy images have the name of one clean image and a number of their own (1_1.jpg and
      1_2.jpg of 1.jpg, as in Rain1400);
    * the original Rain100L/H release: norain-001.png in `root`, rain-001.png beside it or in `root`/rainy. Where no
      file has such a name, further ones that begin with norain and rain are partners (norain12.png, norain-1x2.png).

    The streak layers, masks and screen blends of some releases (rainstreak-*, rainregion-*, screenrainy-*)
    are ignored. With the layout "side_by_side" each image directly in `root` holds a pair: its left half is rainy, its
    right half clean; with "side_by_side_clean_left" the other way round. That is never guessed.

    Rain adds light: a sample of the pairs is looked at, so that none is trained on or measured the wrong way round.

    Args:
        root: the folder.
        key: the config key that names it, for error messages, such as "evaluation.root".
        layout: "auto", "side_by_side" or "side_by_side_clean_left".
        darker_rain: the rainy images may be the darker ones, as of a camera that chose its exposure anew.

    Returns:
        The pairs; never empty. Sizes within a pair are equal.

    Raises:
        SlackoffError: missing or empty folder, a file without partner, partners of different size, an odd width
            side by side, or most rainy images are darker than the clean ones.
    """
    check_choice(layout, f"The layout of {key}: layout", get_args(Layout))
    folder = require_folder(root, key)
    if layout != "auto":
        images = images_directly_in(folder, key)
        if not images:
            raise SlackoffError(f"{key}={folder} holds no image: put the images with both halves directly into it.")
        pairs = [Pair(printable(path.stem), path, path, layout != "side_by_side") for path in images]
    else:
        rainy, clean = _two_folders(folder, key) or _rain100_release(folder, key)
        pairs = sorted(_match(rainy, clean, key))
    pair_sizes(pairs)
    if not darker_rain:
        _refuse_darker_rain(pairs, f"{key}={folder}")
    return pairs


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


def _two_folders(root: Path, key: str) -> tuple[list[Path], list[Path]] | None:
    """List the images of the rainy and of the clean folder; None where `root` does not have both."""
    rainy, clean = _subfolder(root, RAINY_FOLDERS, key), _subfolder(root, CLEAN_FOLDERS, key)
    if rainy is None or clean is None:
        return None

    def images(folder: Path) -> list[Path]:
        found = [path for path in images_directly_in(folder, key) if not _NOT_AN_INPUT.match(path.name)]
        if not found:
            raise SlackoffError(f"{folder}, part of {key}={root}, holds no image: put the images directly into it.")
        return found

    return images(rainy), images(clean)


def _subfolder(root: Path, names: tuple[str, ...], key: str) -> Path | None:
    found = [
        root / entry.name for entry in visible_entries(root, key) if is_folder(entry) and entry.name.lower() in names
    ]
    if len(found) > 1:
        raise SlackoffError(
            f"{key}={root} holds both {found[0].name}/ and {found[1].name}/, which play the same part: "
            "move one of them away."
        )
    return found[0] if found else None


def _rain100_release(root: Path, key: str) -> tuple[list[Path], list[Path]]:
    here = images_directly_in(root, key)
    rainy_folder = _subfolder(root, RAINY_FOLDERS, key)
    candidates = here + (images_directly_in(rainy_folder, key) if rainy_folder else [])
    clean: list[Path] = []
    rainy: list[Path] = []
    for number in (r"-\d+", r"[-_]?\d\w*"):
        if not clean and not rainy:
            clean = [path for path in here if re.fullmatch(f"norain{number}", path.stem, re.IGNORECASE)]
            rainy = [path for path in candidates if re.fullmatch(f"rain{number}", path.stem, re.IGNORECASE)]
    if not clean or not rainy:
        both = "; if each image holds both, rainy left and clean right, set its layout=side_by_side" if here else ""
        raise SlackoffError(
            f"{key}={root} holds no rainy/clean pairs: give it a rainy/ and a norain/ folder with the same "
            f"file names, or the rain-001.png and norain-001.png files of Rain100{both}."
        )
    return rainy, clean


def _match(rainy: list[Path], clean: list[Path], key: str) -> list[Pair]:
    """Pair by the rule that pairs most, the first of equals; refuse a file left over."""
    # What partners have in common: rainy, clean.
    rules = ((_name, _name), (_stem, _stem), (_folded, _folded), (_numbers, _numbers), (_scene, _folded))
    of_rainy, of_clean = max(rules, key=lambda rule: len(set(map(rule[0], rainy)) & set(map(rule[1], clean))))
    clean_of = _by_rule(of_clean, clean, key)
    _by_rule(_stem if of_rainy is _scene else of_rainy, rainy, key)  # several may show one scene
    wanted = set(map(of_rainy, rainy))
    single = [path for path in rainy if of_rainy(path) not in clean_of]
    single += [path for mark, path in clean_of.items() if mark not in wanted]
    if single:
        others = f" ({len(single) - 1} other files have none either)" if len(single) > 1 else ""
        raise SlackoffError(f"{min(single)} in {key} has no partner{others}: add its partner or remove it.")
    return [Pair(printable(path.stem), path, clean_of[of_rainy(path)]) for path in rainy]


def _by_rule(rule: Callable[[Path], Hashable], paths: list[Path], key: str) -> dict[Hashable, Path]:
    found: dict[Hashable, Path] = {}
    for path in paths:
        if (first := found.setdefault(rule(path), path)) is not path:
            raise SlackoffError(f"{first} and {path} in {key} claim the same partner: remove or rename one of them.")
    return found


def _name(path: Path) -> Hashable:
    return path.name


def _stem(path: Path) -> Hashable:
    return path.stem


def _folded(path: Path) -> Hashable:
    """The name whatever its case and the form of its accents, which depend on the machine that wrote the file."""
    return unicodedata.normalize("NFC", path.stem).casefold()


def _numbers(path: Path) -> Hashable:
    return tuple(int(digits) for digits in re.findall(r"\d+", path.stem))


def _scene(path: Path) -> Hashable:
    """The name without the number of the rainy version; a name without one has no partner by this rule."""
    version = _VERSION.fullmatch(path.stem)
    return _folded(Path(version[1])) if version else None


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
