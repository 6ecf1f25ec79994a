"""Random state as a function of where one is, not of what was drawn before."""

import hashlib


def derive_seed(seed: int, *path: int | str) -> int:
    """Derive an independent seed for one use of one cell seed, for example ``derive_seed(0, "batch", 17)``.

    Args:
        seed: the cell's seed.
        path: what the seed is for.

    Returns:
        A number in [0, 2^63), the same on every machine.
    """
    text = "/".join(str(part) for part in (seed, *path))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
