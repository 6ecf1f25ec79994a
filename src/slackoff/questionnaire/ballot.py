"""What a rater sees: which images, in which order, and where each method's result is placed.

Items are ordered by a hash of seed, rater and item. So the same seed and rater give the same ballot on every machine
and under every version of Python, and nothing has to be kept to go on after a restart.
"""

import hashlib
from collections.abc import Sequence


def images_for(rater: str, images: Sequence[str], count: int, seed: int) -> list[str]:
    """`count` of the images, or all where there are fewer, drawn without replacement and in random order."""
    return _shuffled(images, str(seed), "images", rater)[:count]


def placed_methods(rater: str, image: str, methods: Sequence[str], seed: int) -> list[str]:
    """All methods in the random order in which their results are shown to this rater for this image."""
    return _shuffled(methods, str(seed), "methods", rater, image)


def _shuffled(items: Sequence[str], *key: str) -> list[str]:
    def place(item: str) -> bytes:
        return hashlib.sha256("\0".join([*key, item]).encode()).digest()

    return sorted(items, key=place)
