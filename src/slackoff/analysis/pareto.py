"""The Pareto front of points that gain something at a cost, and one recommended among them. Plain arrays.

The rule behind the recommendation is ours: among the points whose cost is within a margin of the lowest cost, the
one that gains most (at the same gain, the cheaper one). It always lies on the front.
"""

import numpy as np
from numpy.typing import NDArray

from slackoff.analysis.statistics import Array


def non_dominated(gain: Array, cost: Array) -> NDArray[np.bool_]:
    """(..., k): which of k points no other beats, with as much gain at as little cost and one of them better."""
    dominated = np.zeros(gain.shape, dtype=np.bool_)
    for other in range(gain.shape[-1]):
        more, less = gain[..., [other]], cost[..., [other]]
        dominated |= (more >= gain) & (less <= cost) & ((more > gain) | (less < cost))
    return ~dominated


def recommend(gain: Array, cost: Array, margin: float) -> NDArray[np.int64]:
    """(...,): the number of that one of k points which the rule names; `margin` in the unit of the cost."""
    affordable = cost <= cost.min(axis=-1, keepdims=True) + margin
    most = np.where(affordable, gain, -np.inf).max(axis=-1, keepdims=True)
    return np.asarray(np.where(affordable & (gain == most), cost, np.inf).argmin(axis=-1), dtype=np.int64)
