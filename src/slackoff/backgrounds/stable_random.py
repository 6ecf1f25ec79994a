"""Random numbers that are a pure function of integers, the same under every NumPy version."""

import numpy as np
from numpy.typing import NDArray

_MASK = 0xFFFF_FFFF_FFFF_FFFF


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
        words = np.atleast_1d(np.asarray(part & _MASK if isinstance(part, int) else part).astype(np.uint64))
        state = splitmix64(state ^ words)
    return state


def splitmix64(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return splitmix64's first output from each state (Steele, Lea and Flood, OOPSLA 2014)."""
    mixed = state + np.uint64(0x9E37_79B9_7F4A_7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return mixed ^ (mixed >> np.uint64(31))
