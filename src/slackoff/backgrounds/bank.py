"""Cut chosen patches out of their images: the bank of a training run, the test crops of held-out images."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from slackoff.backgrounds.patches import COUNT_KEY, SIZE_KEY, Patch, select_patches
from slackoff.backgrounds.sources import ImageSource, image_sizes, map_in_threads


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
    *,
    count_key: str = "evaluation.count",
    size_key: str = "evaluation.test_set.size_px",
) -> list[Crop]:
    """Cut test crops out of held-out images: one of each in turn, without overlap for as long as possible.

    Args:
        source, indices: the held-out images, such as `split_images(...).test`.
        size_px: side of a crop in pixels, a multiple of 4.
        count: number of crops.
        seed: of the selection; keep it apart from the training seed.
        count_key, size_key: the config keys to name in error messages.

    Returns:
        `count` crops. The first n are those of a smaller count, names included.

    Raises:
        SlackoffError: too few or too small images, or one that cannot be read.
    """
    patches = choose(source, indices, size_px, count, seed, count_key=count_key, size_key=size_key)
    pixels = dict(cut(source, indices, patches, size_px))
    names = [source.names[indices[patch.image]] for patch in patches]
    return [Crop(_crop_name(row, names[row], patch), names[row], pixels[row]) for row, patch in enumerate(patches)]


def choose(
    source: ImageSource,
    indices: Sequence[int],
    patch_size_px: int,
    count: int,
    seed: int,
    *,
    count_key: str = COUNT_KEY,
    size_key: str = SIZE_KEY,
) -> list[Patch]:
    """Select patches of some images; `Patch.image` is a position in `indices`. Raises as `select_patches`."""
    sizes = image_sizes(source, indices)
    names = [source.names[index] for index in indices]
    return select_patches(sizes, patch_size_px, count, seed, names=names, count_key=count_key, size_key=size_key)


def cut(
    source: ImageSource, indices: Sequence[int], patches: Sequence[Patch], patch_size_px: int
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield (position in `patches`, uint8 pixels of shape (P, P, 3)) of every patch, grouped by image."""
    rows_of: dict[int, list[int]] = {}
    for row, patch in enumerate(patches):
        rows_of.setdefault(patch.image, []).append(row)

    def cut_image(image: int) -> list[tuple[int, NDArray[np.uint8]]]:
        pixels = source.read(indices[image])
        return [(row, _window(pixels, patches[row], patch_size_px)) for row in rows_of[image]]

    for crops in map_in_threads(cut_image, list(rows_of)):
        yield from crops


def _window(pixels: NDArray[np.uint8], patch: Patch, size_px: int) -> NDArray[np.uint8]:
    """Copy the window, so that the whole image can be forgotten."""
    return pixels[patch.top : patch.top + size_px, patch.left : patch.left + size_px].copy()


def _crop_name(row: int, image: str, patch: Patch) -> str:
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", image.rsplit("/", 1)[-1].rsplit(".", 1)[0])
    return f"{row:04d}-{stem}-y{patch.top}-x{patch.left}"
