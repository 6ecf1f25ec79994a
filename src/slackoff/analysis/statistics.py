"""Bootstrap intervals over test images, and over training seeds where a study has several; rank correlation.

The design behind the numbers: S networks that differ only in their training seed are tested on the same n
images, which gives an (S, n) table per cell group. An image can be hard for all networks and a seed bad on
all images, so the two are crossed, and both are resampled, with replacement and independently: the pigeonhole
bootstrap (Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1, 2007), which errs on the wide
side. With S = 1 it is the plain percentile bootstrap over images, and the interval then holds nothing about
other training seeds. With few seeds it is still too narrow in that direction, so figures also show each seed
as a point.

Images that were cut from one photograph are not independent: where `sources` names the photograph of each
image, whole photographs are resampled. All resampling is seeded; the same table gives the same interval on
every machine.

The Pareto front of points that gain something at a cost, and one recommended among them. Plain arrays.

The rule behind the recommendation is ours: among the points whose cost is within a margin of the lowest cost, the
one that gains most (at the same gain, the cheaper one). It always lies on the front.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

LEVEL = 0.95
RESAMPLES = 4000
MIN_UNITS = 5
"""Fewest independent test images (or photographs) from which an interval is taken as deciding anything: the
percentile bootstrap of four values or fewer covers far less than it says."""

_STREAMS = 1000
"""Random streams that a block of tables may use: one for its images, one for the seeds of each table."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % percentile interval; all three NaN where there was nothing to average.

    `images` counts the test images used, `skipped` those left out because a value was missing (for E_R: no
    rain there), `units` the independent ones among those used (photographs where known, else images), `seeds`
    the networks. `low` and `high` are NaN with fewer than two units: one image says nothing about the next.
    """

    mean: float
    low: float
    high: float
    images: int = 0
    skipped: int = 0
    units: int = 0
    seeds: int = 0

    @property
    def sign(self) -> int:
        """+1 or -1 where the interval lies above or below 0 and rests on at least MIN_UNITS units, else 0."""
        if self.units < MIN_UNITS or not (self.low > 0 or self.high < 0):
            return 0
        return 1 if self.low > 0 else -1


NOTHING = Interval(np.nan, np.nan, np.nan)
"""Of what there is nothing of."""


@dataclass(frozen=True)
class Joint:
    """The means of V tables, as measured and in each resample, so that any function of them has an interval.

    `means` is (V,), `draws` (RESAMPLES, V), both NaN where there is nothing to average. The counts are those of
    `Interval`, the smallest among tables of different images.
    """

    means: Array
    draws: Array
    images: int
    skipped: int
    units: int
    seeds: int

    def interval(self, statistic: Callable[[Array], Array]) -> Interval:
        """The interval of `statistic`, which takes (..., V) means to (...) numbers."""
        low, high = np.nan, np.nan
        if self.units >= 2:
            tail = 100 * (1 - LEVEL) / 2
            low, high = np.percentile(statistic(self.draws), [tail, 100 - tail])
        point = float(statistic(self.means))
        return Interval(point, float(low), float(high), self.images, self.skipped, self.units, self.seeds)

    def beside(self, other: "Joint") -> "Joint":
        """Both, this one's tables first."""
        return Joint(
            np.concatenate([self.means, other.means]),
            np.concatenate([self.draws, other.draws], axis=1),
            min(self.images, other.images),
            max(self.skipped, other.skipped),
            min(self.units, other.units),
            min(self.seeds, other.seeds),
        )


def joint_means(tables: Sequence[ArrayLike], sources: ArrayLike | None = None, block: int = 0) -> Joint:
    """The means of `tables` of the same images, each (n,) or (S, n), with joint resamples.

    An image that misses a value in one table is left out of all. Tables of other images need another `block`,
    whose images and seeds are then resampled independently of this one's.
    """
    arrays = [np.atleast_2d(np.asarray(table, dtype=np.float64)) for table in tables]
    if len(widths := {array.shape[1] for array in arrays}) > 1:
        raise ValueError(f"paired tables need the same images, got {' and '.join(map(str, sorted(widths)))}")
    used = np.logical_and.reduce([_complete(array) for array in arrays])
    images, seeds, first = int(used.sum()), min(len(array) for array in arrays), _STREAMS * block
    if images == 0:
        nothing = np.full(len(arrays), np.nan)
        return Joint(nothing, np.broadcast_to(nothing, (RESAMPLES, len(arrays))), 0, len(used), 0, seeds)
    if sources is None:
        units, per_image = images, draw_counts(images, first)
    else:  # whole photographs are drawn
        names, codes = np.unique(np.asarray(sources).astype(str)[used], return_inverse=True)
        units, per_image = len(names), draw_counts(len(names), first)[:, codes]
    arrays = [array[:, used] for array in arrays]
    draws = [_resample(array, per_image, stream=first + 1 + number) for number, array in enumerate(arrays)]
    means = np.array([array.mean() for array in arrays])
    return Joint(means, np.stack(draws, axis=1), images, len(used) - images, units, seeds)


def mean_interval(values: ArrayLike, sources: ArrayLike | None = None) -> Interval:
    """Mean of `values`, (n,) or (S, n) for S training seeds, with its interval.

    An image with a missing value for any seed is left out for all. `sources`: (n,) names of the photographs.
    """
    return joint_means([values], sources).interval(lambda means: means[..., 0])


def difference_interval(first: ArrayLike, second: ArrayLike, sources: ArrayLike | None = None) -> Interval:
    """Mean of `first` - `second` with its interval, paired: both are of the same images, column by column.

    Each is (n,) or (S, n); the numbers of seeds may differ. An image that misses a value in either is left
    out of both. Images are resampled together, seeds each on their own.
    """
    return joint_means([first, second], sources).interval(lambda means: means[..., 0] - means[..., 1])


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rank correlation of the finite pairs, NaN with fewer than two or where one is constant."""
    pairs = np.array([x, y], dtype=np.float64)
    pairs = pairs[:, _complete(pairs)]
    if pairs.shape[1] < 2 or (np.ptp(pairs, axis=1) == 0).any():
        return float("nan")
    return float(stats.spearmanr(pairs[0], pairs[1]).statistic)


def _complete(table: Array) -> NDArray[np.bool_]:
    """(n,): the columns without a missing value."""
    return np.asarray(np.isfinite(table).all(axis=0), dtype=np.bool_)


@lru_cache(maxsize=64)
def draw_counts(units: int, stream: int) -> Array:
    """(RESAMPLES, units): how often each unit is drawn per resample, the same for all tables of a size."""
    generator = np.random.default_rng([units, stream])
    return generator.multinomial(units, np.full(units, 1 / units), size=RESAMPLES).astype(np.float64)


def _resample(table: Array, per_image: Array, stream: int) -> Array:
    """(RESAMPLES,): mean of the (S, n) table in each resample of its seeds; `per_image` says how often each image is
    drawn."""
    seeds = len(table)
    per_seed = draw_counts(seeds, stream) if seeds > 1 else np.ones((1, 1))
    sums = ((per_seed @ table) * per_image).sum(axis=1)
    return sums / (per_image.sum(axis=1) * seeds)


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
