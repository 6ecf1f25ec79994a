"""The break-down count: the last N before a curve, stretched to 0 .. 1, falls below one half of its own range.

Gu et al. say "normalised to [0, 1]" of Figure 6(a) and no more; taken here as min-max over the counts within a group.
Their break-down points are judged by eye. The rule used here is ours: the largest count whose normalised value is
still above 0.5. Min-max hides how far a curve falls: one that falls by 1 grey level is stretched as much as
one that falls by 30, so the fall in the measure's own unit belongs beside every such number, and only a group whose
measure clearly falls from its first to its last count has a break-down. Intervals come from the bootstrap over test
images and training seeds (`slackoff.analysis.statistics`).

`normalised` and `crossing` reckon it for one group and `normalised_curves` draws them, as in Figure 6(a) of the paper;
`break_points` is the table for all groups of a study, with `break_point_figure`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from slackoff.analysis.axes import (
    INK,
    QUIET,
    TITLES,
    Line,
    colours,
    draw_level,
    draw_main_axis,
    house_style,
    legend_name,
    new_figure,
    write_right,
)
from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import Group, groups, in_order, is_number
from slackoff.analysis.statistics import LEVEL, NOTHING, Array, Interval, joint_means
from slackoff.analysis.tables import interval_columns
from slackoff.analysis.text import at, decimals, number, symbol
from slackoff.errors import SlackoffError
from slackoff.metrics.columns import COLUMNS

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
        return Normalised([], [], NOTHING, np.empty((1, 0)))
    joint = joint_means([group.table(value, measure) for value in values], group.sources)
    top, bottom = int(joint.means.argmax()), int(joint.means.argmin())
    extent = joint.interval(lambda means: means[..., top] - means[..., bottom])
    levels = [joint.interval(_stretched_at(place)) for place in range(len(values))]
    return Normalised(values, levels, extent, _stretched(joint.draws))


def crossing(group: Group, measure: str, level: float = RULE) -> Crossing:
    """The largest N at which `measure`, normalised within the group, is still above `level` (0 .. 1, our rule).

    Counts between those of the study are not interpolated. The main axis must be of numbers.
    """
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


PANELS = ("e_r", "removal_share")


def pairs(lines: Sequence[Line], found: Sequence[Group], labels: dict[str, Any]) -> list[tuple[Line, Group]]:
    """Each line of a part of a study (whose rows share `labels`) with its group, where that has a curve to draw."""
    by_labels = {_key(group.labels): group for group in found if len(group.done) >= FEWEST_COUNTS}
    keys = [(line, _key(labels | line.labels)) for line in lines]
    return [(line, by_labels[key]) for line, key in keys if key in by_labels]


def normalised_curves(drawn: Sequence[tuple[Line, Group]]) -> Figure:
    """E_R and the removal share, 0 .. 1 within each group, against its main axis, which must be of numbers.

    The rule (0.5) is ours; a ring marks the last value of the main axis at which a group is still above it, and
    the list below a panel names that value with its 95 % interval and how far the measure moves unstretched.
    """
    values = in_order(value for _, group in drawn for value in group.values)
    axis = drawn[0][1].axis
    with house_style():
        figure = new_figure(10, 4.3 + 0.2 * len(drawn), h_pad=0.08)
        axes = figure.subplots(1, len(PANELS))
        for ax, measure in zip(axes, PANELS, strict=True):
            _draw(ax, drawn, measure)
            draw_main_axis(ax, axis, values)
            ax.set_ylim(-0.07, 1.09)
            ax.set_title(f"{TITLES[measure]}, normalised")
            draw_level(ax, RULE)
            write_right(ax, f"{RULE}:\nour rule", RULE, QUIET)
            place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (0, -0.24), "borderaxespad": 0}
            legend = ax.legend(**place, frameon=False, fontsize=8.5)
            legend.set_title(f"last {symbol(axis)} above {RULE} (95 % interval); distance from 0 to 1", {"size": 8.5})
            legend.set_alignment("left")
        axes[0].set_ylabel("0: least, 1: greatest of the line")
    return figure


def break_point_figure(table: pd.DataFrame, axis: str, values: list[float], measure: str = "removal_share") -> Figure:
    """The last value of the main axis before each group breaks down, with its 95 % interval.

    A hollow mark stands for a group that does not clearly fall. Right of each line: the break point, and by how much
    the measure falls from the first to the last value, in its own unit.

    Args:
        table: of `break_points`.
        axis: the main axis.
        values: its values, for the ticks.
        measure: what the table is about.
    """
    rows = table[::-1].reset_index(drop=True)
    with house_style():
        figure = new_figure(8.5, 1.5 + 0.42 * len(rows), h_pad=0.06)
        ax = figure.add_subplot()
        for place, row in rows.iterrows():
            clear = row["verdict"] == FALLS
            colour = colours(1)[0] if clear else QUIET
            if pd.notna(row["low"]):
                ax.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=5, alpha=0.3, zorder=2)
            if pd.notna(row["last_above"]):
                face = colour if clear else "white"
                ax.plot(row["last_above"], place, "o", color=colour, markerfacecolor=face, markersize=7, zorder=3)
            write_right(ax, _beside_line(row, axis, measure), place, INK if clear else QUIET, xytext=(8, 0))
        draw_main_axis(ax, axis, values)
        ax.set_yticks(range(len(rows)), [name or "all cells" for name in rows["name"]])
        ax.set_ylim(-0.6, len(rows) - 0.4)
        ax.tick_params(axis="y", length=0)
        ax.grid(True, axis="x")
        ax.grid(False, axis="y")
        ax.set_title(f"Where it breaks down: {TITLES.get(measure, COLUMNS[measure].label)}")
    return figure


def _draw(ax: Axes, drawn: Sequence[tuple[Line, Group]], measure: str) -> None:
    """The lines of a measure with their bands, and a ring at the last value above the rule."""
    for line, group in drawn:
        curve, last = normalised(group, measure), crossing(group, measure)
        means, low, high = np.array([(level.mean, level.low, level.high) for level in curve.levels]).T
        ax.fill_between(curve.values, low, high, color=line.colour, alpha=0.15, linewidth=0)
        look: dict[str, Any] = {"color": line.colour, "linestyle": line.style, "marker": line.marker, "zorder": 3}
        ax.plot(curve.values, means, label=legend_name(_in_legend(line.name, last, measure)), **look)
        if last.value is not None and last.falls:
            ring = float(means[curve.values.index(last.value)])
            ax.plot(last.value, ring, "o", markersize=10, fillstyle="none", color=line.colour, zorder=4)


def _in_legend(name: str, last: Crossing, measure: str) -> str:
    """'small: 16 (16 to 32); 25.4 grey levels'; without the name where there is one line only."""
    name = f"{name}: " if name else ""
    if last.value is None:
        return f"{name}the same everywhere"
    between = "" if last.low is None or last.low == last.high else f" ({last.low:g} to {last.high:g})"
    until = f"{last.value:g}{between}" if last.falls else "never below"
    moves = f"{number(last.extent.mean, decimals(measure))} {COLUMNS[measure].unit}".rstrip()
    return f"{name}{until}; {moves}{'' if last.extent.sign else ', not clear of noise'}"


def _key(labels: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Labels to compare, in whatever order; as text, since NaN is not equal to itself."""
    return tuple(sorted((key, str(value)) for key, value in labels.items()))


def _beside_line(row: pd.Series, axis: str, measure: str) -> str:
    """'after N = 16 (16 to 64), falls by 0.21'."""
    if row["verdict"] != FALLS:
        return str(row["verdict"])
    unit = f" {COLUMNS[measure].unit}" if COLUMNS[measure].unit else ""
    between = ""
    if pd.notna(row["low"]) and row["low"] != row["high"]:
        between = f" ({row['low']:g} to {row['high']:g})"
    never = "" if row["last_above"] < row["last"] else f", the largest {symbol(axis)}"
    fall = number(float(row["fall"]), decimals(measure))
    return f"after {at(axis, format(row['last_above'], 'g'))}{between}{never}\nfalls by {fall}{unit}"
