"""The break-down count, drawn: curves stretched to 0 .. 1 as in Figure 6(a) of the paper, and a line per group."""

from collections.abc import Sequence
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
    new_figure,
    write_right,
)
from slackoff.analysis.breakdown import FALLS, FEWEST_COUNTS, RULE, Crossing, crossing, normalised
from slackoff.analysis.groups import Group, in_order
from slackoff.analysis.text import at, decimals, number, symbol
from slackoff.metrics.columns import COLUMNS

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
        ax.plot(curve.values, means, label=_in_legend(line.name, last, measure), **look)
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
