"""Choose which square patches become training backgrounds: seeded, nested, spread over the images.

Every image carries a lattice of patch positions a quarter of a patch apart, shifted by a seeded offset. Level
0 is every fourth position in both directions, so its patches do not overlap and fill the image as well as
whole patches can; level 1 adds the half-patch positions, level 2 the quarter-patch positions. A level is used
up before the next begins, and within a level the images take turns. The first n of a selection are therefore
the selection of n.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from slackoff.backgrounds.stable_random import hash_uint64
from slackoff.errors import SlackoffError

COUNT_KEY = "background.patch_count"
SIZE_KEY = "background.patch_size_px"
_STEPS = (4, 2, 1)  # lattice steps of levels 0, 1, 2, in quarters of a patch
_ORDER, _SHIFT, _CELL = range(3)  # what a random number is for

Sizes = Sequence[tuple[int, int]]


class Patch(NamedTuple):
    """A square window: `image` is a position in the list of sizes, `top`, `left` its first row and column."""

    image: int
    top: int
    left: int


class _Lattice(NamedTuple):
    """Lattice of each image: int64 arrays of shape (images, 2), columns (vertical, horizontal)."""

    quarter: int
    cells: NDArray[np.int64]  # number of positions
    phase: NDArray[np.int64]  # first position in pixels
    anchor: NDArray[np.int64]  # number of the first position that belongs to level 0


def select_patches(
    sizes: Sizes,
    patch_size_px: int,
    count: int,
    seed: int,
    *,
    names: Sequence[str] | None = None,
    count_key: str = COUNT_KEY,
    size_key: str = SIZE_KEY,
) -> list[Patch]:
    """Select `count` patches.

    Args:
        sizes: (height, width) of each image in pixels.
        patch_size_px: side of a patch in pixels, a multiple of 4.
        count: how many patches.
        seed: another seed gives another choice; the same seed gives the same, on every machine.
        names: names of the images for error messages.
        count_key, size_key: the config keys to name in error messages.

    Returns:
        `count` different patches. The selection of n is the beginning of every larger one with the same other
        arguments.

    Raises:
        SlackoffError: the images cannot give that many, one is smaller than a patch, or a number is out of
            range.
    """
    available = capacity(sizes, patch_size_px, names=names, size_key=size_key)
    if count < 1:
        raise SlackoffError(f"{count_key}={count} is not a number of patches: set it to 1 or more.")
    if count > available:
        raise SlackoffError(
            f"{count_key}={count} is more than the {available} patches of {patch_size_px} px that "
            f"{len(sizes)} images can give: lower {count_key} to {available} or less, lower {size_key}, or "
            "add images."
        )
    lattice = _lattice(np.asarray(sizes, np.int64), patch_size_px, seed)
    turns = np.argsort(hash_uint64(seed, _ORDER, np.arange(len(sizes))), kind="stable")
    chosen: list[Patch] = []
    for level in range(len(_STEPS)):
        if len(chosen) < count:
            chosen += _select_from_level(lattice, turns, level, count - len(chosen), seed)
    return chosen


def capacity(sizes: Sizes, patch_size_px: int, *, names: Sequence[str] | None = None, size_key: str = SIZE_KEY) -> int:
    """Return how many patches `select_patches` can give at most, whatever the seed.

    Raises:
        SlackoffError: an image is smaller than a patch, or the patch size is not a positive multiple of 4.
    """
    pixels = _checked(sizes, patch_size_px, names, size_key)
    return int(np.prod((pixels - patch_size_px) // (patch_size_px // 4) + 1, axis=1).sum())


def capacity_without_overlap(
    sizes: Sizes, patch_size_px: int, *, names: Sequence[str] | None = None, size_key: str = SIZE_KEY
) -> int:
    """Return how many of the first patches do not overlap, whatever the seed; raises as `capacity` does."""
    return int(np.prod(_checked(sizes, patch_size_px, names, size_key) // patch_size_px, axis=1).sum())


def _checked(sizes: Sizes, patch_size_px: int, names: Sequence[str] | None, size_key: str) -> NDArray[np.int64]:
    if patch_size_px < 4 or patch_size_px % 4:
        raise SlackoffError(f"{size_key}={patch_size_px} does not fit the lattice: use a positive multiple of 4.")
    pixels = np.asarray(sizes, np.int64).reshape(-1, 2)
    small = np.flatnonzero((pixels < patch_size_px).any(axis=1))
    if small.size:
        height, width = pixels[small[0]]
        name = names[small[0]] if names else f"image {small[0]}"
        raise SlackoffError(
            f"{name} ({width} x {height} px) is smaller than a patch, {size_key}={patch_size_px}: remove it "
            f"or lower {size_key} ({small.size} of {len(pixels)} images are too small)."
        )
    return pixels


def _lattice(pixels: NDArray[np.int64], patch_size_px: int, seed: int) -> _Lattice:
    """Shift each image's lattice within the margin that whole patches leave, so that no position is lost."""
    quarter = patch_size_px // 4
    margin = pixels % patch_size_px
    image, axis = np.arange(len(pixels))[:, None], np.arange(2)[None]
    random = hash_uint64(seed, _SHIFT, image, axis)
    phase = random % (margin % quarter + 1).astype(np.uint64)
    anchor = (random >> np.uint64(32)) % (margin // quarter + 1).astype(np.uint64)
    cells = (pixels - patch_size_px) // quarter + 1
    return _Lattice(quarter, cells, phase.astype(np.int64), anchor.astype(np.int64))


def _select_from_level(lattice: _Lattice, turns: NDArray[np.int64], level: int, count: int, seed: int) -> list[Patch]:
    """Take up to `count` positions of one level: one per image in the order of `turns`, then a second, ..."""
    turn, row, column = _positions(lattice, turns, level, count)
    image = turns[turn]
    by_image = np.lexsort((hash_uint64(seed, _CELL, image, row, column), turn))
    turn, row, column = turn[by_image], row[by_image], column[by_image]
    round_ = np.arange(len(turn)) - np.searchsorted(turn, turn)
    first = np.lexsort((turn, round_))[:count]
    image = turns[turn[first]]
    top = lattice.phase[image, 0] + row[first] * lattice.quarter
    left = lattice.phase[image, 1] + column[first] * lattice.quarter
    return list(map(Patch, image.tolist(), top.tolist(), left.tolist()))


def _positions(
    lattice: _Lattice, turns: NDArray[np.int64], level: int, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """List the lattice positions that belong to a level but to no coarser one, as (turn, row, column) arrays.

    Only as many images as can matter are listed: with `count` of them the first round already fills the
    request.
    """
    step = _STEPS[level]
    start = lattice.anchor % step
    shape = (lattice.cells - start + step - 1) // step
    coarser = (lattice.cells - lattice.anchor % (2 * step) + 2 * step - 1) // (2 * step)
    own = shape.prod(axis=1) - (coarser.prod(axis=1) if level else 0)
    useful = np.flatnonzero(own[turns] > 0)[:count]
    total = shape[turns[useful]].prod(axis=1)

    turn = np.repeat(useful, total)
    cell = np.arange(total.sum()) - np.repeat(total.cumsum() - total, total)
    image = turns[turn]
    row = start[image, 0] + step * (cell // shape[image, 1])
    column = start[image, 1] + step * (cell % shape[image, 1])
    if level:
        fresh = ((row - lattice.anchor[image, 0]) % (2 * step) != 0) | (
            (column - lattice.anchor[image, 1]) % (2 * step) != 0
        )
        turn, row, column = turn[fresh], row[fresh], column[fresh]
    return turn, row, column
