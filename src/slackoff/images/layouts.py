"""Find the (rainy, clean) pairs in the folder of a deraining data set, in any usual layout; leave out tested scenes."""

import os
import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

from slackoff.errors import SlackoffError, check_choice
from slackoff.images.files import images_directly_in, is_folder, require_folder, visible_entries
from slackoff.images.pairs import Pair, pair_sizes, scene_thumbnails, shown_in

LAYOUTS = ("auto", "side_by_side")
RAINY_FOLDERS = ("rainy", "rain", "input", "rainy_image", "input_val")
CLEAN_FOLDERS = ("norain", "clean", "gt", "groundtruth", "target", "ground_truth", "label", "label_val")

_NOT_AN_INPUT = re.compile(r"(rainstreak|rainregion|screenrainy)-", re.IGNORECASE)
_VERSION = re.compile(r"(.+)_\d+")


def find_pairs(root: str | os.PathLike[str] | None, key: str, layout: str = "auto") -> list[Pair]:
    """Find all pairs under `root`, sorted by name.

    With the layout "auto" two are known (names in any case):

    * two folders, one of `RAINY_FOLDERS` and one of `CLEAN_FOLDERS`; partners have the same file name up to the
      suffix, or the same numbers in their names (rain-001.png and norain-001.png), or several rainy images have the
      name of one clean image and a number of their own (1_1.jpg and 1_2.jpg of 1.jpg, as in Rain1400);
    * the original Rain100L/H release: norain-001.png in `root`, rain-001.png beside it or in `root`/rainy. Where no
      file has such a name, further ones that begin with norain and rain are partners (norain12.png, norain-1x2.png).

    The streak layers, masks and screen blends of some releases (rainstreak-*, rainregion-*, screenrainy-*)
    are ignored. With the layout "side_by_side" each image directly in `root` holds a pair: its left half is rainy, its
    right half clean. That is never guessed.

    Args:
        root: the folder.
        key: the config key that names it, for error messages, such as "evaluation.root".
        layout: one of `LAYOUTS`.

    Returns:
        The pairs; never empty. Sizes within a pair are equal.

    Raises:
        SlackoffError: missing or empty folder, unknown layout, a file without partner, partners of different size, or
            an odd width side by side.
    """
    check_choice(layout, f"The layout of {key}: layout", LAYOUTS)
    folder = require_folder(root, key)
    if layout == "side_by_side":
        images = images_directly_in(folder, key)
        if not images:
            raise SlackoffError(f"{key}={folder} holds no image: put the images with both halves directly into it.")
        _by_rule(_stem, images, key)
        pairs = [Pair(path.stem, path, path) for path in images]
    else:
        rainy, clean = _two_folders(folder, key) or _rain100_release(folder, key)
        pairs = sorted(_match(rainy, clean, key))
    pair_sizes(pairs)
    return pairs


def chosen_by_place(pairs: Sequence[Pair], places: Sequence[int], key: str) -> list[Pair]:
    """Take the pairs from one place to another, places counted as people count.

    Args:
        pairs: all pairs.
        places: [first, last], from 1 up, both included, in the order of the numbers in the names: input2 comes before
            input10.
        key: the config key that names the folder, for error messages.

    Raises:
        SlackoffError: not such places, or there are fewer pairs.
    """
    plain = isinstance(places, Sequence) and len(places) == 2 and all(type(place) is int for place in places)
    if not plain or not 1 <= places[0] <= places[1]:
        raise SlackoffError(f"numbers={places} of {key} is no choice of pairs: give [first, last], from 1 up.")
    if places[1] > len(pairs):
        raise SlackoffError(
            f"numbers={list(places)} of {key}: there are only {len(pairs)} pairs; give it the whole data set."
        )

    def in_order(pair: Pair) -> list[tuple[bool, int, str]]:
        pieces = re.findall(r"\d+|\D+", pair.name)
        return [(True, int(piece), piece) if piece[0].isdecimal() else (False, 0, piece) for piece in pieces]

    return sorted(pairs, key=in_order)[places[0] - 1 : places[1]]


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
    rules = ((_stem, _stem), (_numbers, _numbers), (_scene, _stem))  # what partners have in common: rainy, clean
    of_rainy, of_clean = max(rules, key=lambda rule: len(set(map(rule[0], rainy)) & set(map(rule[1], clean))))
    clean_of = _by_rule(of_clean, clean, key)
    _by_rule(_stem if of_rainy is _scene else of_rainy, rainy, key)  # several may show one scene
    wanted = set(map(of_rainy, rainy))
    single = [path for path in rainy if of_rainy(path) not in clean_of]
    single += [path for mark, path in clean_of.items() if mark not in wanted]
    if single:
        others = f" ({len(single) - 1} other files have none either)" if len(single) > 1 else ""
        raise SlackoffError(f"{min(single)} in {key} has no partner{others}: add its partner or remove it.")
    return [Pair(path.stem, path, clean_of[of_rainy(path)]) for path in rainy]


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


def _scene(path: Path) -> Hashable:
    """The name without the number of the rainy version; a name without one has no partner by this rule."""
    version = _VERSION.fullmatch(path.stem)
    return version[1] if version else None


@dataclass(frozen=True)
class Scenes:
    """The clean images of a folder of pairs, such as a test set.

    Args:
        root: the folder; see docs/datasets.md for the layouts.
        key: the config key that names it, for messages.
        layout: see ``find_pairs``.
    """

    root: str
    key: str = "labelled.leave_out.root"
    layout: str = "auto"

    def without(self, pairs: Sequence[Pair]) -> list[Pair]:
        """Those of the pairs whose clean image shows none of the folder's scenes, see ``slackoff.images.pairs``.

        Copies that were cropped a little, mirrored, scaled or saved again with a loss count as the same scene.

        Raises:
            SlackoffError: as for ``find_pairs``, or a file cannot be read.
        """
        shown = shown_in(scene_thumbnails(pairs), scene_thumbnails(find_pairs(self.root, self.key, self.layout)))
        return [pair for pair, known in zip(pairs, shown, strict=True) if not known]
