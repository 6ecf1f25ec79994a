"""Find the image files under a folder, in an order that does not depend on the machine."""

import os
from collections.abc import Iterator
from pathlib import Path

from slackoff.errors import SlackoffError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm"})


def list_images(root: str | os.PathLike[str] | None, key: str) -> list[Path]:
    """List every image under `root`, recursively, sorted by path relative to `root`.

    Hidden files and folders are skipped. Symbolic links are followed; a folder that can be reached in several
    ways, or through a loop, is visited once.

    Args:
        root: the folder.
        key: the config key that named it, for the error message, such as "background.root".

    Returns:
        Paths that begin with `root`; never empty.

    Raises:
        SlackoffError: no folder given, missing, not a folder, not readable, or without an image.
    """
    folder = require_folder(root, key)
    relative = sorted(_walk(folder, "", set(), key))
    if not relative:
        raise SlackoffError(
            f"{key}={folder} holds no image: put files ending in {_suffixes()} there, or name another folder."
        )
    return [folder / name for name in relative]


def require_folder(root: str | os.PathLike[str] | None, key: str) -> Path:
    """Return `root` as the Path of an existing folder, or raise the SlackoffError that says what is wrong."""
    if root is None or not str(root):
        raise SlackoffError(f"{key} is not set: give it the path of a folder of images, {key}=/path/to/images.")
    folder = Path(root).expanduser()
    if not folder.exists():
        raise SlackoffError(f"{key}={folder} does not exist: give it the path of a folder of images.")
    if not folder.is_dir():
        raise SlackoffError(f"{key}={folder} is a file: give it the folder that holds the images.")
    return folder


def images_directly_in(folder: Path, key: str) -> list[Path]:
    """List the images in `folder` itself, without its sub-folders, sorted by name; may be empty."""
    return [folder / entry.name for entry in visible_entries(folder, key) if is_image(entry)]


def _walk(folder: Path, prefix: str, visited: set[tuple[int, int]], key: str) -> Iterator[str]:
    status = folder.stat()
    if (status.st_dev, status.st_ino) in visited:
        return
    visited.add((status.st_dev, status.st_ino))
    for entry in visible_entries(folder, key):
        if is_folder(entry):
            yield from _walk(folder / entry.name, f"{prefix}{entry.name}/", visited, key)
        elif is_image(entry):
            yield prefix + entry.name


def visible_entries(folder: Path, key: str) -> list[os.DirEntry[str]]:
    """List what lies in a folder, sorted by name, without hidden entries."""
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
    except OSError as error:
        raise SlackoffError(
            f"{key}: the folder {folder} cannot be listed ({error.strerror}): make it readable or name another."
        ) from error


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Follow links, but take one that leads nowhere or to itself for no folder."""
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and Path(entry.path).is_dir())


def is_image(entry: os.DirEntry[str]) -> bool:
    """A link that leads nowhere counts, so that reading it says so instead of the image silently missing."""
    if Path(entry.name).suffix.lower() not in IMAGE_SUFFIXES:
        return False
    return entry.is_file(follow_symlinks=False) or (entry.is_symlink() and not Path(entry.path).is_dir())


def _suffixes() -> str:
    return ", ".join(sorted(IMAGE_SUFFIXES))
