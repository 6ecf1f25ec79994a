"""The break-down count: the last N before a curve, stretched to 0 .. 1, falls below one half of its own range.

Gu et al. say "normalised to [0, 1]" of Figure 6(a) and no more; taken here as min-max over the counts within a group.
Their break-down points are judged by eye. The rule used here is ours: the largest count whose normalised value is
still above 0.5. Min-max hides how far a curve falls: one that falls by 1 grey level is stretched as much as
one that falls by 30, so the fall in the measure's own unit belongs beside every such number, and only a group whose
measure clearly falls from its first to its last count has a break-down. Intervals come from the bootstrap over test
images and training seeds (`slackoff.analysis.statistics`).

`normalised` and `crossing` reckon it for one group, `break_points` for all groups of a study, as a table;
`breakdown_figure` draws both.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import Group, groups, is_number
from slackoff.analysis.statistics import LEVEL, Array, Interval, joint_means
from slackoff.analysis.tables import interval_columns
from slackoff.errors import SlackoffError

RULE = 0.5
"""The level below which removal counts as broken down: our rule, not the paper's."""

FEWEST_COUNTS = 3
"""Fewest counts with results from which a break-down is told."""

FALLS, STAYS, FEW = "breaks down", "no clear fall", "fewer than three values"


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


def break_points(frames: Frames, measure: str = "removal_share", level: float = RULE) -> pd.DataFrame:
    """The break point of each group of a study, with its 95 % interval.

    Args:
        frames: of a study whose main axis is of numbers.
        measure: a column of `frames.images`.
        level: of the stretched measure, 0 .. 1.

    Returns:
        One row per group. Columns: the labels of the group, where there are several; `name`, all of them in words;
        `verdict`: 'breaks down', 'no clear fall' (from first to last value, by its 95 % interval: what is left is
        stretched noise) or 'fewer than three values'; `last_above`, the break point, with `low` and `high`, values of
        the main axis (NaN where there is none); `first` and `last` value with results; `fall`, how far the measure
        falls from first to last in its own unit, with `fall_low` and `fall_high`; `seeds` and `images` behind it.

    Raises:
        SlackoffError: the main axis is of names, or no cell has measured that.
    """
    axis = frames.study.axis
    found = groups(frames)
    if not all(is_number(value) for group in found for value in group.values):
        raise SlackoffError(
            f"The study '{frames.study.name}' has no break points: {axis} is of names. Choose a study along numbers, "
            "such as patchcount"
        )
    if measure not in frames.images:
        raise SlackoffError(f"The study '{frames.study.name}' has no '{measure}': choose a column of frames.images")
    return pd.DataFrame([_row(group, measure, level) for group in found])


def _row(group: Group, measure: str, level: float) -> dict[str, Any]:
    row: dict[str, Any] = {**group.labels, "name": group.name, "verdict": FEW}
    row |= dict.fromkeys(("last_above", "low", "high", "first", "last", "fall", "fall_low", "fall_high"), float("nan"))
    row |= {"seeds": 0, "images": 0}
    if not group.done:
        return row
    first, last = group.done[0], group.done[-1]
    fall = group.change(last, first, measure)
    row |= {"first": first, "last": last, "seeds": fall.seeds, "images": fall.images} | interval_columns("fall", fall)
    if len(group.done) < FEWEST_COUNTS:
        return row
    row["verdict"] = FALLS if fall.sign > 0 else STAYS
    point = crossing(group, measure, level)
    for column, value in (("last_above", point.value), ("low", point.low), ("high", point.high)):
        row[column] = float("nan") if value is None else value
    return row


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
