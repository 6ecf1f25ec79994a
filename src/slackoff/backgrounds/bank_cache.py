"""Keep patch banks as .npy files, so that the cells of a sweep decode images once and share the memory."""

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import PIL
from filelock import FileLock
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from slackoff.backgrounds.bank import choose, cut
from slackoff.backgrounds.sources import ImageSource
from slackoff.errors import SlackoffError

_SELECTION_VERSION = 1
"""Raise it when `select_patches` changes its choice: banks of the old choice are then not used any more."""

_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


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
    name = _bank_name(fingerprint or source.fingerprint(), indices, patch_size_px, seed)
    path = folder / f"{name}.npy"
    bank = _open_bank(path, patch_size_px, count)
    if bank is not None:
        return bank
    shape = (count, patch_size_px, patch_size_px, 3)
    patches = choose(source, indices, patch_size_px, count, seed)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{name}.lock"):
            if _open_bank(path, patch_size_px, count) is None:
                _write_bank(path, shape, cut(source, indices, patches, patch_size_px))
    except OSError as error:
        raise _unwritable(folder, error, int(np.prod(shape)), key) from error
    bank = _open_bank(path, patch_size_px, count)
    if bank is None:
        raise SlackoffError(
            f"{path} was damaged right after it was written: check that disk, or set {key} to another one."
        )
    return bank


def _bank_name(fingerprint: str, indices: Sequence[int], patch_size_px: int, seed: int) -> str:
    """Name a bank by all that decides its rows; JPEG decoders of two Pillow versions may differ a little."""
    parts = [
        _SELECTION_VERSION,
        PIL.__version__,
        fingerprint,
        [int(index) for index in indices],
        patch_size_px,
        seed,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


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
            npy_format.write_array_header_2_0(
                file,
                {
                    "descr": npy_format.dtype_to_descr(np.dtype(np.uint8)),
                    "fortran_order": False,
                    "shape": shape,
                },
            )
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


def _unwritable(folder: Path, error: OSError, size: int, key: str) -> SlackoffError:
    if error.errno in _FULL_DISK:
        return SlackoffError(
            f"No space left in {folder} for a patch bank of {size / 1e6:.1f} MB: free some, or set {key} to "
            "a folder on another disk."
        )
    return SlackoffError(
        f"The patch bank cannot be written to {folder} ({error.strerror or error}): make that folder "
        f"writable, or set {key} to another one."
    )
