"""Hold images out for testing: by whole source image, never by patch."""

import hashlib
import math

from slackoff.backgrounds.sources import ImageSource, Split
from slackoff.errors import SlackoffError

SPLIT_SEED = 20230524
"""Fixed, so that every training seed is judged on the same images."""


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
        seed: of the ranking; not the training seed.
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
    wanted = _number_held_out(held_out, len(source.names), key)
    ranks = [stable_rank(seed, digest) for digest in source.digests]
    last = sorted(ranks)[wanted - 1] if wanted else b""
    split = Split(
        train=[index for index, rank in enumerate(ranks) if rank > last],
        test=[index for index, rank in enumerate(ranks) if rank <= last],
    )
    if not split.train:
        raise SlackoffError(
            f"{key}={held_out} leaves none of the {len(ranks)} images for training: lower {key} or add images."
        )
    return split


def stable_rank(seed: int, digest: str) -> bytes:
    """Where an image stands in a seeded order that depends on its content alone; equal for copies."""
    return hashlib.sha256(f"{seed}:{digest}".encode()).digest()


def _number_held_out(held_out: float | int | None, total: int, key: str) -> int:
    if isinstance(held_out, bool) or not isinstance(held_out, int | float):
        raise SlackoffError(f"{key}={held_out} is not a number: give a share such as 0.1 or a count such as 10.")
    if isinstance(held_out, int):
        if held_out < 0:
            raise SlackoffError(f"{key}={held_out} is negative: give the number of images to hold out, 0 or more.")
        return min(held_out, total)
    if not 0 <= held_out < 1:  # also refuses NaN
        raise SlackoffError(f"{key}={held_out} is not a share: give a number from 0 up to, but not including, 1.")
    return max(1, math.floor(held_out * total + 0.5)) if held_out > 0 else 0
