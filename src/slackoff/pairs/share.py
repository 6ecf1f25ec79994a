"""Which part of a set of pairs counts as labelled: seeded, nested, by clean image."""

import hashlib
import math
from collections.abc import Sequence

from slackoff.backgrounds.sources import map_in_threads
from slackoff.backgrounds.split import stable_rank
from slackoff.errors import SlackoffError
from slackoff.pairs.files import Pair, file_digests, read_clean


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
    check_share(share, key)
    if share is None or share == 1:
        return list(pairs), []
    ranks = [stable_rank(seed, digest) for digest in _clean_digests(pairs)]
    ordered = sorted(set(ranks))
    last = ordered[max(1, math.floor(share * len(ordered) + 0.5)) - 1]
    labelled = [pair for pair, rank in zip(pairs, ranks, strict=True) if rank <= last]
    rest = [pair for pair, rank in zip(pairs, ranks, strict=True) if rank > last]
    return labelled, rest


def check_share(share: float | None, key: str) -> None:
    """Raise the SlackoffError that says what is wrong with a share."""
    fits = isinstance(share, int | float) and not isinstance(share, bool) and 0 < share <= 1
    if share is not None and not fits:
        raise SlackoffError(f"{key}={share} is no share: give a number above 0 and up to 1, or null for all pairs.")


def _clean_digests(pairs: Sequence[Pair]) -> list[str]:
    files = file_digests(pair.clean_path for pair in pairs if not pair.side_by_side)
    halves = [pair for pair in pairs if pair.side_by_side]
    pixels = dict(zip(halves, map_in_threads(_clean_pixels_digest, halves), strict=True))
    return [pixels[pair] if pair.side_by_side else files[pair.clean_path] for pair in pairs]


def _clean_pixels_digest(pair: Pair) -> str:
    pixels = read_clean(pair)
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()
