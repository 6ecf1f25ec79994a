"""Where images come from: a numbered list of photos that can be measured, read and fingerprinted."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from slackoff.backgrounds.images import image_size, read_rgb
from slackoff.backgrounds.listing import list_images
from slackoff.errors import SlackoffError

_T = TypeVar("_T")


class Split(NamedTuple):
    """Indices of the images to crop for training, and of those held out for testing; both ascending."""

    train: list[int]
    test: list[int]


class ImageSource(Protocol):
    """A fixed list of images. Image i is the same picture for as long as `fingerprint()` stays the same."""

    @property
    def names(self) -> Sequence[str]:
        """Unique stable name of each image, with "/" between folders, wherever the images lie."""

    @property
    def digests(self) -> Sequence[str]:
        """SHA-256 of the bytes of each image's file, in hexadecimal."""

    @property
    def fixed_split(self) -> Split | None:
        """The train/test split that comes with the source, if it has one."""

    def read(self, index: int) -> NDArray[np.uint8]:
        """Decode an image: uint8, (H, W, 3), RGB, 0..255. Raises as `read_rgb` does."""

    def size(self, index: int) -> tuple[int, int]:
        """Return (height, width) in pixels, from the file's header. Raises as `image_size` does."""

    def fingerprint(self) -> str:
        """SHA-256 over all names and file bytes, in hexadecimal: what a cell's identity is made from."""


class FileSource:
    """An ImageSource over given files."""

    fixed_split: Split | None = None

    def __init__(self, names: Sequence[str], paths: Sequence[Path]) -> None:
        self.names = tuple(names)
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> NDArray[np.uint8]:
        return read_rgb(self.paths[index])

    def size(self, index: int) -> tuple[int, int]:
        return image_size(self.paths[index])

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """SHA-256 of each file's bytes; read once, by several threads, then remembered."""
        return tuple(map_in_threads(file_digest, self.paths))

    def fingerprint(self) -> str:
        total = hashlib.sha256()
        for name, digest in zip(self.names, self.digests, strict=True):
            total.update(os.fsencode(name) + b"\0" + digest.encode() + b"\n")
        return total.hexdigest()


class FolderSource(FileSource):
    """All images under a folder, recursively, sorted by path; named by their path relative to it.

    Args:
        root: the folder.
        key: the config key that names it, for error messages.

    Raises:
        SlackoffError: see `list_images`.
    """

    def __init__(self, root: str | os.PathLike[str] | None, key: str = "background.root") -> None:
        paths = list_images(root, key)
        self.root = Path(root or "").expanduser()
        super().__init__([path.relative_to(self.root).as_posix() for path in paths], paths)


def image_sizes(source: ImageSource, indices: Sequence[int]) -> list[tuple[int, int]]:
    """Return (height, width) of the given images, reading headers in several threads."""
    return list(map_in_threads(source.size, indices))


def map_in_threads(function: Callable[..., _T], items: Sequence[object]) -> Iterator[_T]:
    """Apply `function` to each item in a few threads, in order, with only a few results held at a time."""
    workers = min(8, os.cpu_count() or 1)
    batch = 8 * workers
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(items), batch):
            yield from pool.map(function, items[start : start + batch])


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal; raises SlackoffError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SlackoffError(f"{path} cannot be read ({error.strerror}): restore that file or remove it.") from error
