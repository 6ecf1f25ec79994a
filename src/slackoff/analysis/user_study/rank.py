"""Rank-n scores: on how many images a method is among the n best (MOSS, supplement C, Equation 1)."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def in_top(values: ArrayLike, n: int) -> NDArray[np.bool_]:
    """Which methods are among the n best of each image.

    A method is among them if fewer than n methods have strictly more votes (or a strictly higher score) on that image.
    So methods that tie at the n-th place are all in, and more than n methods can be; a method without a vote is in only
    where fewer than n methods have any.

    Args:
        values: (images, methods), votes or scores, finite.
        n: 1 .. methods.

    Returns:
        (images, methods), bool.

    Raises:
        ValueError: `values` is no finite table, or n is out of range.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or not np.isfinite(table).all():
        raise ValueError(f"values must be a finite (images, methods) table, got shape {table.shape}")
    if not 1 <= n <= table.shape[1]:
        raise ValueError(f"n must be 1 .. {table.shape[1]}, got {n}")
    better = (table[:, None, :] > table[:, :, None]).sum(axis=2)
    return np.asarray(better < n, dtype=np.bool_)


def rank_n_scores(values: ArrayLike, n: int) -> NDArray[np.float64]:
    """R_i^n of each method i, (methods,), 0..1: the share of images on which it is among the n best.

    Args and errors are those of `in_top`; at least one image.
    """
    top = in_top(values, n)
    if not len(top):
        raise ValueError("rank-n scores need at least one image")
    return np.asarray(top.mean(axis=0), dtype=np.float64)


def tied_images(values: ArrayLike, n: int) -> int:
    """On how many images a tie at the n-th place puts more than n methods among the n best. Args as for `in_top`."""
    return int((in_top(values, n).sum(axis=1) > n).sum())
