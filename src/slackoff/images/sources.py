"""Image sources: numbered photos that can be measured, read and fingerprinted, and their split by whole image.

Sources are a folder of photos, and the colour photos that ship inside scikit-image, scikit-learn and matplotlib, for
a first run: found as files, so that no package is imported and nothing is fetched (licences: docs/datasets.md).
"""

import hashlib
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from slackoff.errors import SlackoffError, printable
from slackoff.images.files import image_size, list_images, read_rgb

_T = TypeVar("_T")
Sizes = Sequence[tuple[int, int]]
"""(height, width) of images in pixels."""

SIZE_KEY = "background.patch_size_px"
SPLIT_SEED = 20230524


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
        names = [printable(path.relative_to(self.root).as_posix()) for path in paths]
        times = Counter(names)
        super().__init__([f"{n} ({i})" if times[n] > 1 else n for i, n in enumerate(names)], paths)


def image_sizes(source: ImageSource, indices: Sequence[int]) -> list[tuple[int, int]]:
    """Return (height, width) of the given images, reading headers in several threads."""
    return list(map_in_threads(source.size, indices))


def refuse_small(names: Sequence[str], sizes: Sizes, patch_size_px: int, key: str = SIZE_KEY) -> None:
    """Raise the SlackoffError that names the first image smaller than a patch, and the config key of its side."""
    small = [number for number, size in enumerate(sizes) if min(size) < patch_size_px]
    if small:
        (height, width), count = sizes[small[0]], len(small)
        raise SlackoffError(
            f"{names[small[0]]} ({width} x {height} px) is smaller than a patch, {key}={patch_size_px}: remove it or "
            f"lower {key} ({count} of {len(sizes)} images {'is' if count == 1 else 'are'} too small)."
        )


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


def split_images(
    source: ImageSource,
    held_out: float | int | None,
    *,
    seed: int = SPLIT_SEED,
    key: str = "background.held_out",
) -> Split:
    """Divide the images of a source into training and test images.

    Images are ranked by a hash of the seed and of their file's bytes, and the first ones are held out. So the
    split depends neither on names nor on folders, copies of one file stay on the same side, and adding images
    to a folder moves few of the others.

    Args:
        source: the images. One with a `fixed_split` gives that; `held_out` must then be None.
        held_out: a float in [0, 1) is the share to hold out (rounded, but at least one image if above 0), an
            int is the number of images. Copies of the last one held out go with it.
        seed: of the ranking; fixed, so that every training seed is judged on the same images.
        key: the config key of `held_out`, for error messages.

    Returns:
        `Split(train, test)`: ascending indices, disjoint, together all images. `test` is empty for 0.

    Raises:
        SlackoffError: `held_out` is out of range, not given where it is needed, or leaves no image for
            training.
    """
    if source.fixed_split is not None:
        if held_out is not None:
            raise SlackoffError(f"{key}={held_out} does not apply, these photos have a fixed split: set {key}=null.")
        return source.fixed_split
    total = len(source.names)
    if held_out is None:
        raise SlackoffError(f"{key}={held_out} is not a number: give a share such as 0.1 or a count such as 10.")
    if isinstance(held_out, int):
        if held_out < 0:
            raise SlackoffError(f"{key}={held_out} is negative: give the number of images to hold out, 0 or more.")
        wanted = min(held_out, total)
    elif 0 <= held_out < 1:  # not NaN either
        wanted = rounded_share(held_out, total) if held_out else 0
    else:
        raise SlackoffError(f"{key}={held_out} is not a share: give a number from 0 up to, but not including, 1.")
    ranks = [stable_rank(seed, digest) for digest in source.digests]
    last = sorted(ranks)[wanted - 1] if wanted else b""
    split = Split(
        train=[index for index, rank in enumerate(ranks) if rank > last],
        test=[index for index, rank in enumerate(ranks) if rank <= last],
    )
    if not split.train:
        raise SlackoffError(
            f"{key}={held_out} leaves none of the {total} images for training: lower {key} or add images."
        )
    return split


def stable_rank(seed: int, digest: str) -> bytes:
    """Where an image stands in a seeded order that depends on its content alone; equal for copies."""
    return hashlib.sha256(f"{seed}:{digest}".encode()).digest()


def rounded_share(share: float, total: int) -> int:
    """How many of ``total`` a share above 0 is: halves are rounded up, and at least one."""
    return max(1, math.floor(share * total + 0.5))


class BuiltinPhoto(NamedTuple):
    """One photo: the module whose folder holds it, its path in there, and whether it is kept for testing."""

    module: str
    path: str
    held_out: bool

    @property
    def name(self) -> str:
        return f"{self.module}/{Path(self.path).name}"

    def locate(self) -> Path:
        """Its file; raises as `BuiltinSource`."""
        distribution = _DISTRIBUTIONS[self.module]
        instead = "or use your own images with background=folder background.root=..."
        spec = find_spec(self.module)  # of a top-level module: finds it without importing it
        if spec is None or not spec.submodule_search_locations:
            raise SlackoffError(
                f"The built-in photo {self.name} needs {distribution}, which is not installed: install it with "
                f"`pip install {distribution}`, {instead}"
            )
        path = Path(spec.submodule_search_locations[0], self.path)
        if not path.is_file():
            raise SlackoffError(
                f"The built-in photo {self.name} is not part of the installed {distribution} ({path} is missing): "
                f"reinstall it with `pip install --force-reinstall {distribution}`, {instead}"
            )
        return path


# The test photos are textured and free of any condition (CC0 or public domain), so that pictures
# made from them may be published as they are. The order is part of the fingerprint.
PHOTOS = (
    BuiltinPhoto("skimage", "data/astronaut.png", held_out=True),
    BuiltinPhoto("skimage", "data/chelsea.png", held_out=True),
    BuiltinPhoto("skimage", "data/coffee.png", held_out=False),
    BuiltinPhoto("skimage", "data/ihc.png", held_out=False),
    BuiltinPhoto("skimage", "data/motorcycle_left.png", held_out=False),
    BuiltinPhoto("skimage", "data/rocket.jpg", held_out=True),
    BuiltinPhoto("sklearn", "datasets/images/china.jpg", held_out=False),
    BuiltinPhoto("sklearn", "datasets/images/flower.jpg", held_out=False),
    BuiltinPhoto("matplotlib", "mpl-data/sample_data/grace_hopper.jpg", held_out=False),
)

_DISTRIBUTIONS = {"skimage": "scikit-image", "sklearn": "scikit-learn", "matplotlib": "matplotlib"}


class BuiltinSource(FileSource):
    """The photos of `PHOTOS`, with a fixed split into train and test.

    Raises:
        SlackoffError: a package is not installed, or its installed version lacks a photo.
    """

    def __init__(self) -> None:
        super().__init__([photo.name for photo in PHOTOS], [photo.locate() for photo in PHOTOS])
        self.fixed_split = Split([], [])
        for index, photo in enumerate(PHOTOS):
            (self.fixed_split.test if photo.held_out else self.fixed_split.train).append(index)
