"""The patch bank of a training run: which square patches are chosen, cut out of their images, and kept on disk.

The choice is seeded, nested and spread over the images. Every image carries a lattice of patch positions a quarter of
a patch apart, shifted by a seeded offset. Level 0 is every fourth position in both directions, so its patches do not
overlap and fill the image as well as whole patches can; level 1 adds the half-patch positions, level 2 the
quarter-patch positions. A level is used up before the next begins, and within a level the images take turns. The
first n of a selection are therefore the selection of n.

Banks are kept as .npy files, so that the cells of a sweep decode images once and share the memory.
"""

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from filelock import FileLock
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from slackoff.errors import SlackoffError
from slackoff.images.sources import SIZE_KEY, ImageSource, Sizes, image_sizes, map_in_threads, refuse_small

_STEPS = (4, 2, 1)  # of the lattice in levels 0, 1, 2, in quarters of a patch
_ORDER, _SHIFT, _CELL = range(3)  # what a random number is for
_SELECTION_VERSION = 1
"""Raise it when `select_patches` changes its choice: banks of the old choice are then not used any more."""


def hash_uint64(*parts: int | NDArray[np.integer]) -> NDArray[np.uint64]:
    """Mix integers into uniform 64-bit numbers: a chain of splitmix64 steps, one per part.

    NumPy's generators may change their streams between versions; a choice of patches must not, since a cell
    is identified by its seed.

    Args:
        parts: integers (any size, the low 64 bits count) or integer arrays that broadcast against each other.

    Returns:
        uint64 array of the broadcast shape, at least one-dimensional.
    """
    state = np.zeros(1, np.uint64)
    for part in parts:
        low = part & 0xFFFF_FFFF_FFFF_FFFF if isinstance(part, int) else part
        state = splitmix64(state ^ np.asarray(low).astype(np.uint64))
    return state


def splitmix64(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return splitmix64's first output from each state (Steele, Lea and Flood, OOPSLA 2014)."""
    mixed = state + np.uint64(0x9E37_79B9_7F4A_7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return mixed ^ (mixed >> np.uint64(31))


class Keys(NamedTuple):
    """The config keys that messages name: of how many patches there are, and of their side."""

    patches: str = "background.patch_count"
    side: str = SIZE_KEY


BACKGROUND = Keys()


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
    names: Sequence[str] | None = None,
    keys: Keys = BACKGROUND,
) -> list[Patch]:
    """Select `count` patches.

    Args:
        sizes: (height, width) of each image in pixels.
        patch_size_px: side of a patch in pixels, a multiple of 4.
        count: how many patches.
        seed: another seed gives another choice; the same seed gives the same, on every machine.
        names: names of the images for error messages.
        keys: the config keys to name in error messages.

    Returns:
        `count` different patches. The selection of n is the beginning of every larger one with the same other
        arguments.

    Raises:
        SlackoffError: the images cannot give that many, one is smaller than a patch, or a number is out of
            range.
    """
    available = capacity(sizes, patch_size_px, names, keys.side)
    if count < 1:
        raise SlackoffError(f"{keys.patches}={count} is not a number of patches: set it to 1 or more.")
    if count > available:
        raise SlackoffError(
            f"{keys.patches}={count} is more than the {available} patches of {patch_size_px} px that {len(sizes)} "
            f"images can give: lower {keys.patches} to {available} or less, lower {keys.side}, or add images."
        )
    pixels, quarter = np.asarray(sizes, np.int64), patch_size_px // 4
    # Each image's lattice is shifted within the margin that whole patches leave, so that no position is lost.
    margin = pixels % patch_size_px
    random = hash_uint64(seed, _SHIFT, np.arange(len(pixels))[:, None], np.arange(2)[None])
    lattice = _Lattice(
        quarter,
        cells=(pixels - patch_size_px) // quarter + 1,
        phase=(random % (margin % quarter + 1).astype(np.uint64)).astype(np.int64),
        anchor=((random >> np.uint64(32)) % (margin // quarter + 1).astype(np.uint64)).astype(np.int64),
    )
    turns = np.argsort(hash_uint64(seed, _ORDER, np.arange(len(sizes))), kind="stable")
    chosen: list[Patch] = []
    for step in _STEPS:
        if len(chosen) < count:
            chosen += _select_from_level(lattice, turns, step, count - len(chosen), seed)
    return chosen


def capacity(sizes: Sizes, patch_size_px: int, names: Sequence[str] | None = None, size_key: str = SIZE_KEY) -> int:
    """Return how many patches `select_patches` can give at most, whatever the seed.

    Raises:
        SlackoffError: an image is smaller than a patch, or the patch size is not a positive multiple of 4.
    """
    if patch_size_px < 4 or patch_size_px % 4:
        raise SlackoffError(f"{size_key}={patch_size_px} does not fit the lattice: use a positive multiple of 4.")
    refuse_small(names or [f"image {number}" for number in range(len(sizes))], sizes, patch_size_px, size_key)
    pixels = np.asarray(sizes, np.int64).reshape(-1, 2)
    return int(np.prod((pixels - patch_size_px) // (patch_size_px // 4) + 1, axis=1).sum())


def _select_from_level(lattice: _Lattice, turns: NDArray[np.int64], step: int, count: int, seed: int) -> list[Patch]:
    """Take up to `count` positions of one level: one per image in the order of `turns`, then a second, ...

    A position belongs to a level but to no coarser one. Only as many images as can matter are listed: with `count` of
    them the first round already fills the request.
    """

    def grid(step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First position and number of positions of each image's lattice with this step."""
        start = lattice.anchor % step
        return start, (lattice.cells - start + step - 1) // step

    start, shape = grid(step)
    coarser = 2 * step if step < _STEPS[0] else 0
    own = shape.prod(axis=1) - (grid(coarser)[1].prod(axis=1) if coarser else 0)
    useful = np.flatnonzero(own[turns] > 0)[:count]
    total = shape[turns[useful]].prod(axis=1)

    turn = np.repeat(useful, total)
    number = np.arange(total.sum()) - np.repeat(total.cumsum() - total, total)
    image = turns[turn]
    cell = start[image] + step * np.stack(np.divmod(number, shape[image, 1]), axis=1)
    if coarser:
        fresh = ((cell - lattice.anchor[image]) % coarser != 0).any(axis=1)
        turn, image, cell = turn[fresh], image[fresh], cell[fresh]

    by_image = np.lexsort((hash_uint64(seed, _CELL, image, cell[:, 0], cell[:, 1]), turn))
    turn, cell = turn[by_image], cell[by_image]
    round_ = np.arange(len(turn)) - np.searchsorted(turn, turn)
    first = np.lexsort((turn, round_))[:count]
    image = turns[turn[first]]
    corners = lattice.phase[image] + cell[first] * lattice.quarter
    return [Patch(*patch) for patch in np.column_stack([image, corners]).tolist()]


class Crop(NamedTuple):
    """A held-out crop: `name` is unique and fit for a file name, `image` the name of the image in its source, `pixels`
    uint8 (S, S, 3), RGB."""

    name: str
    image: str
    pixels: NDArray[np.uint8]


def build_bank(
    source: ImageSource, indices: Sequence[int], patch_size_px: int, count: int, seed: int
) -> NDArray[np.uint8]:
    """Select patches and cut them out; every image is decoded once.

    Args:
        source: the images.
        indices: those of them that may be cropped, such as `split_images(...).train`.
        patch_size_px: side of a patch in pixels, a multiple of 4.
        count: number of patches N.
        seed: of the selection, see `select_patches`.

    Returns:
        uint8 array of shape (N, P, P, 3), RGB, 0..255. The bank of n is the first n rows of every larger one.

    Raises:
        SlackoffError: too few or too small images, or one that cannot be read.
    """
    bank = np.empty((count, patch_size_px, patch_size_px, 3), np.uint8)
    patches = choose(source, indices, patch_size_px, count, seed)
    for row, pixels in cut(source, indices, patches, patch_size_px):
        bank[row] = pixels
    return bank


def held_out_crops(
    source: ImageSource,
    indices: Sequence[int],
    size_px: int,
    count: int,
    seed: int,
) -> list[Crop]:
    """Cut test crops out of held-out images: one of each in turn, without overlap for as long as possible.

    Args:
        source, indices: the held-out images, such as `split_images(...).test`.
        size_px: side of a crop in pixels, a multiple of 4.
        count: number of crops.
        seed: of the selection; keep it apart from the training seed.

    Returns:
        `count` crops. The first n are those of a smaller count, names included.

    Raises:
        SlackoffError: too few or too small images, or one that cannot be read.
    """
    patches = choose(source, indices, size_px, count, seed, Keys("evaluation.count", "evaluation.test_set.size_px"))
    pixels = dict(cut(source, indices, patches, size_px))
    crops = []
    for row, patch in enumerate(patches):
        image = source.names[indices[patch.image]]
        stem = re.sub(r"[^\w-]+", "_", image.rsplit("/", 1)[-1].rsplit(".", 1)[0])
        crops.append(Crop(f"{row:04d}-{stem}-y{patch.top}-x{patch.left}", image, pixels[row]))
    return crops


def choose(
    source: ImageSource,
    indices: Sequence[int],
    patch_size_px: int,
    count: int,
    seed: int,
    keys: Keys = BACKGROUND,
) -> list[Patch]:
    """Select patches of some images; `Patch.image` is a position in `indices`. Raises as `select_patches`."""
    sizes = image_sizes(source, indices)
    names = [source.names[index] for index in indices]
    return select_patches(sizes, patch_size_px, count, seed, names, keys)


def cut(
    source: ImageSource, indices: Sequence[int], patches: Sequence[Patch], patch_size_px: int
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield (position in `patches`, uint8 pixels of shape (P, P, 3)) of every patch, grouped by image."""
    rows_of: dict[int, list[int]] = {}
    for row, patch in enumerate(patches):
        rows_of.setdefault(patch.image, []).append(row)

    def cut_image(image: int) -> list[tuple[int, NDArray[np.uint8]]]:
        pixels, found = source.read(indices[image]), []
        for row in rows_of[image]:
            _, top, left = patches[row]
            window = pixels[top : top + patch_size_px, left : left + patch_size_px]
            found.append((row, window.copy()))  # so that the whole image can be forgotten
        return found

    for crops in map_in_threads(cut_image, list(rows_of)):
        yield from crops


def cached_bank(
    cache_dir: str | os.PathLike[str],
    source: ImageSource,
    indices: Sequence[int],
    patch_size_px: int,
    count: int,
    seed: int,
    *,
    fingerprint: str | None = None,
    key: str = "background.cache_dir",
) -> NDArray[np.uint8]:
    """Return the patch bank of `build_bank` as a read-only memory map, building its file where it is missing.

    One file serves every count up to its own, because selections are nested. Several processes may ask at
    once: one builds, the others wait. A file that is not a whole bank is rebuilt; it appears only when it is
    complete.

    Args:
        cache_dir: folder for the files; created where missing.
        source, indices, patch_size_px, count, seed: as for `build_bank`.
        fingerprint: `source.fingerprint()` where it is known already, which saves reading every image file.
        key: the config key of `cache_dir`, for error messages.

    Returns:
        uint8 array of shape (count, P, P, 3), RGB, 0..255, read-only.

    Raises:
        SlackoffError: as for `build_bank`; or the folder is full or cannot be written.
    """
    folder = Path(cache_dir).expanduser()
    # All that decides the rows; JPEG decoders of two Pillow versions may differ a little.
    parts = [_SELECTION_VERSION, PIL.__version__, fingerprint or source.fingerprint(), list(map(int, indices))]
    name = hashlib.sha256(json.dumps([*parts, patch_size_px, seed]).encode()).hexdigest()[:24]
    path = folder / f"{name}.npy"
    if (bank := _open_bank(path, patch_size_px, count)) is not None:
        return bank
    shape = (count, patch_size_px, patch_size_px, 3)
    patches = choose(source, indices, patch_size_px, count, seed)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{name}.lock"):
            if _open_bank(path, patch_size_px, count) is None:
                _write_bank(path, shape, cut(source, indices, patches, patch_size_px))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SlackoffError(
                f"No space left in {folder} for a patch bank of {int(np.prod(shape)) / 1e6:.1f} MB: free some, or set "
                f"{key} to a folder on another disk."
            ) from error
        raise SlackoffError(
            f"The patch bank cannot be written to {folder} ({error.strerror or error}): make that folder "
            f"writable, or set {key} to another one."
        ) from error
    if (bank := _open_bank(path, patch_size_px, count)) is not None:
        return bank
    raise SlackoffError(f"{path} was damaged right after it was written: check that disk, or set {key} to another one.")


def _open_bank(path: Path, patch_size_px: int, count: int) -> NDArray[np.uint8] | None:
    """Map the first `count` rows; None where there is no such file, or it is damaged or smaller."""
    try:
        bank = npy_format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError, SyntaxError, TypeError, KeyError, OverflowError):
        return None
    fits = bank.dtype == np.uint8 and bank.ndim == 4 and bank.shape[1:] == (patch_size_px, patch_size_px, 3)
    return bank[:count] if fits and len(bank) >= count else None


def _write_bank(path: Path, shape: tuple[int, ...], rows: Iterable[tuple[int, NDArray[np.uint8]]]) -> None:
    """Write rows in any order, then put the file in place in one step: a crash leaves no half bank."""
    partial = path.with_suffix(".npy.partial")  # one name: the lock is held, and a crashed build is overwritten
    row_bytes = int(np.prod(shape[1:]))
    try:
        with partial.open("wb") as file:
            npy_format.write_array_header_2_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            start = file.tell()
            for row, pixels in rows:
                file.seek(start + row * row_bytes)
                file.write(pixels.tobytes())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
