"""In which order the categories stand, for every window of scales, and how sure that is.

A window holds the scales k0 ... K - 1; its C is the sum of their C_k. C_k is averaged over the patches of a category;
photographs are resampled with all their patches, each category on its own, and every window is judged on the same
resamples. So the interval of a difference knows that the C of two windows share scales.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from slackoff.analysis.complexity.record import ComplexityStudy, Variant
from slackoff.analysis.statistics import LEVEL, RESAMPLES, Interval

PUBLISHED = ("celeba", "div2k", "manga109", "urban100")
"""Figure 6(b), most complex first."""

_DECIMALS = 9
"""Differences beyond are rounding of sums: normalised patches all have C = 1/2 over all scales."""

Array = NDArray[np.float64]


@dataclass(frozen=True, order=True)
class Window:
    """The scales k0 ... depth - 1."""

    k0: int
    depth: int


@dataclass(frozen=True)
class Sample:
    """One category: mean C_k (K,), the same in each resample (RESAMPLES, K), and what they rest on."""

    mean: Array
    resampled: Array
    patches: int
    skipped: int
    photographs: int


@dataclass(frozen=True)
class Spectra:
    """C_k of all categories in one variant."""

    variant: Variant
    samples: dict[str, Sample]
    scales: int

    @property
    def windows(self) -> list[Window]:
        """All windows; those that reach to the full depth first."""
        depths = range(self.scales, 0, -1)
        return [Window(k0, depth) for depth in depths for k0 in range(depth)]

    @property
    def full_windows(self) -> list[Window]:
        """The windows that reach to the full depth, one for each k0."""
        return [Window(k0, self.scales) for k0 in range(self.scales)]

    def level(self, category: str, window: Window) -> Interval:
        """Mean C of a category in a window, with its interval."""
        sample = self.samples[category]
        return _interval(_total(sample.mean, window), _total(sample.resampled, window), [sample])

    def difference(self, first: str, second: str, window: Window) -> Interval:
        """Mean C of one category minus that of another."""
        one, other = self.samples[first], self.samples[second]
        point = _total(one.mean, window) - _total(other.mean, window)
        resampled = _total(one.resampled, window) - _total(other.resampled, window)
        return _interval(point, resampled, [one, other])

    def order(self, window: Window) -> list[str]:
        """The categories by falling mean C."""
        return sorted(self.samples, key=lambda name: -self.level(name, window).mean)

    def rank(self, category: str, window: Window) -> int:
        """1 for the largest mean C; categories with equal means share the better rank."""
        own = self.level(category, window).mean
        return 1 + sum(self.level(name, window).mean > own for name in self.samples)

    def match(self, window: Window) -> "Match | None":
        """How a window stands to the published order; None unless all its four categories were measured."""
        if not set(PUBLISHED) <= set(self.samples):
            return None
        pairs = {pair: self.difference(*pair, window) for pair in combinations(PUBLISHED, 2)}
        return Match(self.variant, window, pairs)


@dataclass(frozen=True)
class Match:
    """A window against the published order: for each two categories the first's C minus the second's, by name."""

    variant: Variant
    window: Window
    pairs: dict[tuple[str, str], Interval]

    @cached_property
    def neighbours(self) -> list[Interval]:
        """The three differences of neighbours, which decide the order."""
        return [self.pairs[pair] for pair in pairwise(PUBLISHED)]

    @property
    def by_means(self) -> bool:
        """Whether the means stand in the published order."""
        return all(step.mean > 0 for step in self.neighbours)

    @property
    def clear(self) -> bool:
        """Whether each interval of a difference of neighbours lies above 0 as well."""
        return all(step.sign > 0 for step in self.neighbours)

    @property
    def refuted(self) -> bool:
        """Whether two categories stand clearly the other way round, or are equal whatever the images."""
        return any(pair.sign < 0 or pair.mean == pair.low == pair.high == 0 for pair in self.pairs.values())

    @property
    def closeness(self) -> tuple[int, ...]:
        """To be sorted by: the whole order first, then pairs by means, clear steps, the widest window."""
        right = sum(pair.mean > 0 for pair in self.pairs.values())
        clear = sum(step.sign > 0 for step in self.neighbours)
        return (self.clear, self.by_means, right, clear, self.window.depth, -self.window.k0)


def spectra(study: ComplexityStudy) -> list[Spectra]:
    """The spectra of every variant of a study."""
    found = []
    for variant in study.variants:
        rows = study.of(variant)
        samples = {
            category: _sample(rows[rows["category"] == category], study.scale_columns, stream)
            for stream, category in enumerate(study.categories)
        }
        found.append(Spectra(variant, samples, len(study.scale_columns)))
    return found


def matches(found: list[Spectra]) -> list[Match]:
    """Every window of every variant against the published order; empty unless its categories were measured."""
    return [match for one in found for window in one.windows if (match := one.match(window))]


def nearest(judged: list[Match]) -> Match:
    """The window that comes nearest to the published order; of equally near ones the deepest, then the smallest k0."""
    return max(judged, key=lambda match: match.closeness)


def worth_showing(found: list[Spectra]) -> list[tuple[Spectra, Window]]:
    """All scales of the first variant, then per normalisation the window to the full depth nearest to the published
    order, where its categories were measured."""
    shown = [(found[0], found[0].full_windows[0])]
    for normalised in (False, True):
        some = [one for one in found if one.variant.normalised == normalised]
        judged = [match for match in matches(some) if match.window.depth == some[0].scales]
        if judged:
            best = nearest(judged)
            place = (next(one for one in some if one.variant == best.variant), best.window)
            shown += [] if place in shown else [place]
    return shown


def _sample(rows: pd.DataFrame, columns: list[str], stream: int) -> Sample:
    """Average and resample one category; a patch without a value (flat, normalised) is left out."""
    used = rows.dropna(subset=columns)
    photographs = used.groupby("photograph", sort=True)[columns]
    sums, sizes = photographs.sum().to_numpy(np.float64), photographs.size().to_numpy(np.float64)
    units = len(sizes)
    if units == 0:
        nothing = np.full(len(columns), np.nan)
        return Sample(nothing, nothing[None], 0, len(rows), 0)
    generator = np.random.default_rng([units, stream])
    weights = generator.multinomial(units, np.full(units, 1 / units), size=RESAMPLES).astype(np.float64)
    resampled = (weights @ sums) / (weights @ sizes)[:, None]
    return Sample(sums.sum(0) / sizes.sum(), resampled, len(used), len(rows) - len(used), units)


def _total(scales: Array, window: Window) -> Array:
    """Sum of C_k over the window, rounded: (...,) from (..., K)."""
    return np.round(scales[..., window.k0 : window.depth].sum(-1), _DECIMALS)


def _interval(point: Array, resampled: Array, samples: list[Sample]) -> Interval:
    units = min(sample.photographs for sample in samples)
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(resampled, [tail, 100 - tail]) if units >= 2 else (np.nan, np.nan)
    patches, skipped = (sum(getattr(sample, key) for sample in samples) for key in ("patches", "skipped"))
    return Interval(float(point), float(low), float(high), patches, skipped, units, 1)
