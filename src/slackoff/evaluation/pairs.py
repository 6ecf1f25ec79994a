"""Find the rainy/clean pairs in a folder of a deraining test set, whatever its usual layout."""

import os
import re
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from slackoff.backgrounds.images import image_size, read_rgb
from slackoff.backgrounds.listing import images_directly_in, is_folder, require_folder, visible_entries
from slackoff.errors import SlackoffError

RAINY_FOLDERS = ("rainy", "rain", "input")
CLEAN_FOLDERS = ("norain", "clean", "gt", "groundtruth", "target")

_CLEAN_FILE = re.compile(r"norain-\d+", re.IGNORECASE)
_RAINY_FILE = re.compile(r"rain-\d+", re.IGNORECASE)
_NOT_AN_INPUT = re.compile(r"(rainstreak|rainregion|screenrainy)-", re.IGNORECASE)


class Pair(NamedTuple):
    """A rainy image and the same scene without rain; `name` is the rainy file's name without suffix."""

    name: str
    rainy_path: Path
    clean_path: Path


def find_pairs(root: str | os.PathLike[str] | None, key: str) -> list[Pair]:
    """Find all pairs under `root`, sorted by name.

    Two layouts are known (names in any case):

    * two folders, one of `RAINY_FOLDERS` and one of `CLEAN_FOLDERS`; partners have the same file name up to
    the
      suffix, or the same numbers in their names (rain-001.png and norain-001.png);
    * the original Rain100L/H release: norain-001.png in `root`, rain-001.png beside it or in `root`/rainy.

    The streak layers, masks and screen blends of some releases (rainstreak-*, rainregion-*, screenrainy-*)
    are ignored.

    Args:
        root: the folder.
        key: the config key that names it, for error messages, such as "evaluation.root".

    Returns:
        The pairs; never empty. Sizes within a pair are equal.

    Raises:
        SlackoffError: missing or empty folder, unknown layout, a file without partner, or partners of
            different size.
    """
    folder = require_folder(root, key)
    rainy, clean = _two_folders(folder, key) or _rain100_release(folder, key)
    pairs = sorted(_match(rainy, clean, key))
    for pair in pairs:
        _check_sizes(pair)
    return pairs


def read_pair(pair: Pair) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Decode a pair.

    Returns:
        (rainy, clean): uint8 arrays of the same shape (H, W, 3), RGB, 0..255.

    Raises:
        SlackoffError: as for `read_rgb`.
    """
    return read_rgb(pair.rainy_path), read_rgb(pair.clean_path)


def _two_folders(root: Path, key: str) -> tuple[list[Path], list[Path]] | None:
    """List the images of the rainy and of the clean folder; None where `root` does not have both."""
    rainy, clean = _subfolder(root, RAINY_FOLDERS, key), _subfolder(root, CLEAN_FOLDERS, key)
    if rainy is None or clean is None:
        return None
    listed = []
    for folder in (rainy, clean):
        images = [path for path in images_directly_in(folder, key) if not _NOT_AN_INPUT.match(path.name)]
        if not images:
            raise SlackoffError(f"{folder}, part of {key}={root}, holds no image: put the images directly into it.")
        listed.append(images)
    return listed[0], listed[1]


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
    clean = [path for path in here if _CLEAN_FILE.fullmatch(path.stem)]
    rainy_folder = _subfolder(root, RAINY_FOLDERS, key)
    candidates = here + (images_directly_in(rainy_folder, key) if rainy_folder else [])
    rainy = [path for path in candidates if _RAINY_FILE.fullmatch(path.stem)]
    if not clean or not rainy:
        raise SlackoffError(
            f"{key}={root} holds no rainy/clean pairs: give it a rainy/ and a norain/ folder with the same "
            "file names, or the rain-001.png and norain-001.png files of Rain100."
        )
    return rainy, clean


def _match(rainy: list[Path], clean: list[Path], key: str) -> list[Pair]:
    """Pair by file name, or by the numbers in the names where that pairs more; refuse a file left over."""

    def number_of_partners(rule: Callable[[Path], Hashable]) -> int:
        return len(set(map(rule, rainy)) & set(map(rule, clean)))

    rule = max(_stem, _numbers, key=number_of_partners)
    rainy_of, clean_of = _by_rule(rule, rainy, key), _by_rule(rule, clean, key)
    single = [rainy_of.get(mark) or clean_of[mark] for mark in rainy_of.keys() ^ clean_of.keys()]
    if single:
        others = f" ({len(single) - 1} other files have none either)" if len(single) > 1 else ""
        raise SlackoffError(f"{min(single)} in {key} has no partner{others}: add its partner or remove it.")
    return [Pair(path.stem, path, clean_of[mark]) for mark, path in rainy_of.items()]


def _by_rule(rule: Callable[[Path], Hashable], paths: list[Path], key: str) -> dict[Hashable, Path]:
    found: dict[Hashable, Path] = {}
    for path in paths:
        if (first := found.setdefault(rule(path), path)) is not path:
            raise SlackoffError(f"{first} and {path} in {key} claim the same partner: remove or rename one of them.")
    return found


def _stem(path: Path) -> Hashable:
    return path.stem


def _numbers(path: Path) -> Hashable:
    return tuple(int(digits) for digits in re.findall(r"\d+", path.stem))


def _check_sizes(pair: Pair) -> None:
    (rainy_height, rainy_width), (clean_height, clean_width) = map(image_size, pair[1:])
    if (rainy_height, rainy_width) != (clean_height, clean_width):
        raise SlackoffError(
            f"{pair.rainy_path} ({rainy_width} x {rainy_height} px) and {pair.clean_path} ({clean_width} x "
            f"{clean_height} px) are a pair but differ in size: crop them to the same region or remove both."
        )
