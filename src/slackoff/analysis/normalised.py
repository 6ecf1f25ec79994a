"""Curves stretched to 0 .. 1, as in Figure 6(a) of the paper, and the count at which they fall below one half.

Gu et al. say "normalised to [0, 1]" and no more; taken here as min-max over the counts within a group. Their
break-down points are judged by eye. The rule used here is ours: the largest count whose normalised value is
still above 0.5. Min-max hides how far a curve falls: one that falls by 1 grey level is stretched as much as
one that falls by 30, so the fall in the measure's own unit belongs beside every such number.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from slackoff.analysis.groups import Group, is_number
from slackoff.analysis.statistics import LEVEL, Array, Interval, joint_means

RULE = 0.5
"""The level below which removal counts as broken down: our rule, not the paper's."""


@dataclass(frozen=True)
class Normalised:
    """A measure of a group stretched so that its least mean over the main axis is 0 and its greatest 1.

    `levels` holds one interval per entry of `values` (those with results). Each resample of the images is
    stretched by its own least and greatest mean, so the interval of an extreme ends at 0 or 1. `extent` is
    greatest minus least mean in the measure's unit: where its sign is 0, the curve is stretched noise.
    `draws`: (RESAMPLES, values), the stretched means of each resample. Levels and draws are NaN with fewer
    than two values, or where all means are the same.
    """

    measure: str
    values: list[Any]
    levels: list[Interval]
    extent: Interval
    draws: Array = field(compare=False, repr=False)


@dataclass(frozen=True)
class Crossing:
    """The largest value of the main axis at which a normalised measure is still above a level.

    `value` is None where nothing could be normalised. `low` and `high` are the ends of the 95 % interval,
    values of the main axis too (None where there is no interval). `falls`: whether there are results beyond
    `value`, all at or below the level; if not, the measure has not fallen within the study. `extent`: how far
    the measure moves, in its own unit; with a sign of 0 the crossing is one of stretched noise. `draws`:
    (RESAMPLES,) the crossing in each resample. Those of two groups on the same test images are paired, so
    `(a.draws < b.draws).mean()` is the share of resamples in which a's curve breaks down first.
    """

    value: float | None
    low: float | None
    high: float | None
    falls: bool
    extent: Interval
    draws: Array = field(compare=False, repr=False)


def normalised(group: Group, measure: str) -> Normalised:
    """Stretches the means of `measure` along the main axis of a group to 0 .. 1, with bootstrap intervals.

    Only images with a value at every count are used, so that all counts are compared on the same images.
    """
    values = group.done
    if not values:
        nothing = Interval(np.nan, np.nan, np.nan)
        return Normalised(measure, [], [], nothing, np.empty((1, 0)))
    joint = joint_means([group.table(value, measure) for value in values], group.sources)
    top, bottom = int(joint.means.argmax()), int(joint.means.argmin())
    extent = joint.interval(lambda means: means[..., top] - means[..., bottom])
    levels = [joint.interval(_stretched_at(place)) for place in range(len(values))]
    return Normalised(measure, values, levels, extent, _stretched(joint.draws))


def crossing(group: Group, measure: str, level: float = RULE) -> Crossing:
    """The largest N at which `measure`, normalised within the group, is still above `level` (0 .. 1, our rule).

    Counts between those of the study are not interpolated. The main axis must be of numbers (ValueError).
    """
    if not all(is_number(value) for value in group.values):
        raise ValueError(f"a crossing needs a main axis of numbers, and {group.axis} has names")
    curve = normalised(group, measure)
    draws = _last_above(curve.values, curve.draws, level)
    means = np.array([[interval.mean for interval in curve.levels]])
    value = float(_last_above(curve.values, means, level)[0])
    if not np.isfinite(value):
        return Crossing(None, None, None, False, curve.extent, draws)
    low: float | None = None
    high: float | None = None
    if np.isfinite(draws).all() and curve.extent.units >= 2:
        tail = 50 * (1 - LEVEL)
        low, high = map(float, np.percentile(draws, [tail, 100 - tail], method="nearest"))
    return Crossing(value, low, high, value < max(curve.values), curve.extent, draws)


def _stretched(means: Array) -> Array:
    """Min-max along the last axis; NaN where that is constant."""
    extent = np.ptp(means, axis=-1, keepdims=True)
    shifted: Array = means - means.min(axis=-1, keepdims=True)
    return shifted / np.where(extent > 0, extent, np.nan)


def _stretched_at(place: int) -> Callable[[Array], Array]:
    return lambda means: _stretched(means)[..., place]


def _last_above(values: list[Any], stretched: Array, level: float) -> Array:
    """(R,) the largest of `values` whose column of the (R, values) `stretched` is above `level`, else NaN."""
    above = np.where(stretched > level, np.array(values, dtype=np.float64), -np.inf)
    last = above.max(axis=-1, initial=-np.inf)
    return np.where(np.isfinite(last), last, np.nan)
