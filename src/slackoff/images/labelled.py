"""The labelled pairs of a training run: a folder, less the scenes it is tested on, and the share used with its truth.

The share is seeded, nested and drawn by clean image. Two images show one scene also where one of them was cropped a
little, mirrored, scaled, or saved again with a loss.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slackoff.errors import SlackoffError, check_choices
from slackoff.images.pairs import (
    Layout,
    Pair,
    TrainingCrops,
    chosen_by_place,
    file_digests,
    find_pairs,
    fingerprint,
    pair_sizes,
    read_clean,
)
from slackoff.images.sources import map_in_threads, refuse_small, rounded_share, stable_rank

SIDE_PX = 32
ALIKE = 0.98
"""Correlation of thumbnails from which two images count as one scene.

Copies of BSDS500 photos in Rain100L and DDN-SIRR, a row and a column apart, have 0.997 and more; different scenes of
the two at most 0.71.
"""

Thumbnails = NDArray[np.float32]
"""(n, SIDE_PX * SIDE_PX), each of mean 0 and length 1; an image of one grey level is all 0 and like no other."""


def limited(
    pairs: Sequence[Pair], share: float | None, seed: int, *, key: str = "labelled.share"
) -> tuple[list[Pair], list[Pair]]:
    """Divide pairs into labelled ones and the rest.

    Clean images are ranked by a hash of the seed and of their file's bytes (of their pixels, where one file holds both
    images), and the first ones are labelled. So the choice depends neither on names, order nor folders, all rainy
    versions of one clean image stay on one side, and the pairs of a smaller share are among those of a larger one.

    Args:
        pairs: all pairs.
        share: of the clean images that are labelled, above 0 and up to 1 (rounded, at least one image); None is 1.
        seed: of the choice; not the training seed.
        key: the config key of `share`, for error messages.

    Returns:
        (labelled, rest), each in the order of `pairs`; together all of them.

    Raises:
        SlackoffError: `share` is out of range, or a file cannot be read.
    """
    _check_share(share, key)
    if share is None or share == 1:
        return list(pairs), []
    ranks = [stable_rank(seed, digest) for digest in _clean_digests(pairs)]
    ordered = sorted(set(ranks))
    last = ordered[rounded_share(share, len(ordered)) - 1]
    labelled: list[Pair] = []
    rest: list[Pair] = []
    for pair, rank in zip(pairs, ranks, strict=True):
        (labelled if rank <= last else rest).append(pair)
    return labelled, rest


def _check_share(share: float | None, key: str) -> None:
    if share is not None and not 0 < share <= 1:
        raise SlackoffError(f"{key}={share} is no share: give a number above 0 and up to 1, or null for all pairs.")


def _clean_digests(pairs: Sequence[Pair]) -> list[str]:
    files = file_digests(pair.clean_path for pair in pairs if not pair.side_by_side)

    def digest(pair: Pair) -> str:
        if not pair.side_by_side:
            return files[pair.clean_path]
        pixels = read_clean(pair)
        return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()

    return list(map_in_threads(digest, pairs))


@dataclass(frozen=True)
class Scenes:
    """The clean images of a folder of pairs, such as a test set.

    Args:
        root: the folder; see docs/datasets.md for the layouts.
        key: the config key that names it, for messages.
        layout, darker_rain: see ``find_pairs``.
    """

    root: str
    key: str = "labelled.leave_out.root"
    layout: Layout = "auto"
    darker_rain: bool = False

    def __post_init__(self) -> None:
        check_choices(Scenes, layout=self.layout)

    def without(self, pairs: Sequence[Pair]) -> list[Pair]:
        """Those of the pairs whose clean image shows none of the folder's scenes, see `shown_in`.

        Copies that were cropped a little, mirrored, scaled or saved again with a loss count as the same scene.

        Raises:
            SlackoffError: as for ``find_pairs``, or a file cannot be read.
        """
        scenes = find_pairs(self.root, self.key, self.layout, self.darker_rain)
        shown = shown_in(scene_thumbnails(pairs), scene_thumbnails(scenes))
        return [pair for pair, known in zip(pairs, shown, strict=True) if not known]


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


@dataclass(frozen=True)
class LabelledPairs:
    """Training pairs from a folder, instead of rain that is laid over backgrounds.

    Args:
        root: the folder, or a list of pairs; see docs/datasets.md for the layouts.
        share: of the clean images whose pairs are labelled, see `limited`; None takes all.
        seed: of that choice; not the training seed.
        layout, darker_rain: see `find_pairs`.
        mirror: turn half of the crops left to right.
        key: the config key that names `root`, for messages.
        numbers: [first, last] of the pairs that may be used at all, in the order of the numbers in their names, see
            `chosen_by_place`; None takes all. For folders of which the rest is tested on.
        crops: "random" places, or "five": only the corners and the centre of each image and, with `mirror`, those of
            the mirrored image, see `five_crops`.
        rainy, clean, pairs: in the place of `root`, see `find_pairs`.
        memory_gb: what the pairs may take while training, 3 bytes a pixel, in GB; more is drawn from a file. None is
            half of what is free.
        leave_out: pairs with one of these clean images are not trained on; None leaves out none.

    Raises:
        SlackoffError: a value is out of range.
    """

    root: str | None = None
    share: float | None = None
    seed: int = 0
    layout: Layout = "auto"
    mirror: bool = True
    key: str = "labelled.root"
    numbers: tuple[int, int] | None = None
    crops: TrainingCrops = "random"
    leave_out: Scenes | None = None
    darker_rain: bool = False
    rainy: str | None = None
    clean: str | None = None
    pairs: str | None = None
    memory_gb: float | None = None

    def __post_init__(self) -> None:
        _check_share(self.share, "labelled.share")
        check_choices(LabelledPairs, layout=self.layout, crops=self.crops)

    @cached_property
    def all_pairs(self) -> list[Pair]:
        """Every pair that may be used.

        Raises:
            SlackoffError: as `find_pairs` and `chosen_by_place`; or `leave_out` leaves none.
        """
        kept = self._found if self.leave_out is None else self.leave_out.without(self._found)
        if self.leave_out and not kept:
            raise SlackoffError(
                f"Every pair of {self.key}={self.root} shows a scene of {self.leave_out.key}={self.leave_out.root}: "
                "none is left to train on, so give other training pairs or set labelled.leave_out=null."
            )
        return kept

    @property
    def notes(self) -> list[str]:
        """What a person should know about the choice of pairs, in sentences."""
        if self.leave_out is None:
            return []
        count, total = len(self._found) - len(self.all_pairs), len(self._found)
        return [f"{count} of {total} pairs in {self.key} are left out: they show a scene of {self.leave_out.key}"]

    @cached_property
    def _found(self) -> list[Pair]:
        found = find_pairs(
            self.root,
            self.key,
            self.layout,
            self.darker_rain,
            rainy=self.rainy,
            clean=self.clean,
            pairs=self.pairs,
        )
        return found if self.numbers is None else chosen_by_place(found, self.numbers, self.key)

    @cached_property
    def split(self) -> tuple[list[Pair], list[Pair]]:
        """(labelled, rest), as `limited` gives them."""
        return limited(self.all_pairs, self.share, self.seed)

    def fingerprint(self) -> str:
        """Digest of every pair that may be used, for a cell's identity."""
        return fingerprint(self.all_pairs)

    def check(self, patch_size_px: int) -> None:
        """Refuse pairs that are smaller than a training patch.

        Raises:
            SlackoffError: naming the first such file.
        """
        names = [str(pair.rainy_path) for pair in self.all_pairs]
        refuse_small(names, pair_sizes(self.all_pairs), patch_size_px)
