"""One measure of a study drawn into one pair of axes: lines per group, intervals, references, gaps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from slackoff.analysis.groups import in_order, is_number
from slackoff.analysis.style import LINE_STYLES, MARKERS, QUIET, colours, draw_main_axis, positions
from slackoff.analysis.summary import DO_NOTHING, INPUTS, ORACLES, label_columns
from slackoff.analysis.wording import decimals, number
from slackoff.metrics.columns import COLUMNS

TITLES = {
    "e_r": "$E_R$: change in the rain",
    "removal_share": "Removal share",
    "e_b": "$E_B$: error outside the rain",
    "psnr_rgb": "PSNR (RGB)",
    "ssim_rgb": "SSIM (RGB)",
}
_DIRECTIONS = {"higher": "higher is better", "lower": "lower is better"}


@dataclass(frozen=True)
class Line:
    """One group of a study table and how it is drawn; `name` is empty where there is one group only."""

    rows: pd.DataFrame
    name: str
    colour: Any
    style: str
    marker: str


def lines(table: pd.DataFrame, axis: str) -> list[Line]:
    """The groups of a table; the first label sets the colour, the others together dash and marker."""
    rows = table[table["output"] != DO_NOTHING]
    labels = label_columns(table, axis)
    if not labels:
        return [Line(rows, "", colours(1)[0], "-", "o")]
    found: list[Line] = []
    firsts = list(dict.fromkeys(rows[labels[0]]))
    others = list(dict.fromkeys(rows[labels[1:]].itertuples(index=False, name=None)))
    palette = colours(len(firsts))
    for key, group in rows.groupby(labels, sort=False, dropna=False):
        colour, other = palette[firsts.index(key[0])], others.index(key[1:])
        style, marker = LINE_STYLES[other % len(LINE_STYLES)], MARKERS[other % len(MARKERS)]
        found.append(Line(group, ", ".join(map(str, key)), colour, style, marker))
    return found


def draw_measure(ax: Axes, table: pd.DataFrame, axis: str, measure: str, room: float = 0.0) -> None:
    """Draws a measure with its 95 % intervals and its reference against the main axis.

    `room`: share of the width to keep free on the right, for names of the groups.
    """
    networks = table[table["output"] != DO_NOTHING]
    values = in_order(networks[axis])
    place, ordered = positions(values), all(is_number(value) for value in values)
    groups = lines(table, axis)
    for line in groups:
        rows = line.rows.dropna(subset=[measure])
        x = rows[axis].map(place).astype(float)
        ax.errorbar(
            x,
            rows[measure],
            yerr=bars(rows, measure),
            color=line.colour,
            linestyle=line.style if ordered else "",
            marker=line.marker,
            elinewidth=1.1,
            capsize=2.5,
            label=line.name,
            zorder=3,
        )
        if ordered and len(groups) == 1:
            low, high = rows[f"{measure}_low"], rows[f"{measure}_high"]
            ax.fill_between(x, low, high, color=line.colour, alpha=0.15, linewidth=0)
    draw_main_axis(ax, axis, values, _gaps(networks, axis), room)
    ax.set_title(TITLES[measure])
    ax.set_ylabel(COLUMNS[measure].unit)
    direction = _DIRECTIONS.get(str(COLUMNS[measure].better), "")
    if measure == "e_r":
        direction = "higher: removal or damage"
    ax.set_title(direction, loc="right", fontsize=8.5, color=QUIET, fontweight="normal")
    _draw_references(ax, table, measure)


def draw_points(ax: Axes, points: pd.DataFrame, values: Sequence[Any], axis: str, measure: str) -> None:
    """Open circles, one per cell, at those values that several training seeds share."""
    labels = [column for column in points if column not in TITLES]
    repeated = points[points.duplicated(labels, keep=False)]
    x = repeated[axis].map(positions(values))
    ax.scatter(x, repeated[measure], s=16, facecolors="none", edgecolors=QUIET, linewidths=0.9, zorder=4)


def bars(rows: pd.DataFrame, measure: str) -> Any:
    """(2, n) lengths of the error bars below and above the mean; 0 where there is no interval."""
    below = (rows[measure] - rows[f"{measure}_low"]).clip(lower=0)
    above = (rows[f"{measure}_high"] - rows[measure]).clip(lower=0)
    return pd.DataFrame([below, above]).fillna(0.0).to_numpy()


def _draw_references(ax: Axes, table: pd.DataFrame, measure: str) -> None:
    """Dashed lines for the perfect output or the untouched input, named beyond the right edge.

    One that is far off would flatten the curve: it is named at the edge on its side, with its value.
    """
    if measure in ORACLES:
        name, found = "oracle", table.loc[table["output"] != DO_NOTHING, f"{measure}_oracle"]
    elif measure in INPUTS:
        name, found = "input", table.loc[table["output"] == DO_NOTHING, measure]
    else:
        return
    for value in sorted(set(found.dropna().round(4))):
        low, high = ax.get_ylim()
        near = low - (high - low) <= value <= high + (high - low)
        text = f"{name} {number(value, decimals(measure))}"
        edge = 1.0 if value > high else 0.0
        if near:
            ax.axhline(value, color=QUIET, linestyle=(0, (5, 3)), linewidth=1.1, zorder=1)
            margin = 0.06 * (max(high, value) - min(low, value))
            ax.set_ylim(min(low, value - margin), max(high, value + margin))
        ax.annotate(
            text.replace(" ", "\n") if near else f"{text}\n{'above' if edge else 'below'}",
            (1, value) if near else (1, edge),
            xycoords=ax.get_yaxis_transform() if near else "axes fraction",
            xytext=(4, 0),
            textcoords="offset points",
            va="center" if near else ("top" if edge else "bottom"),
            fontsize=8.5,
            color=QUIET,
            annotation_clip=False,
        )


def _gaps(networks: pd.DataFrame, axis: str) -> dict[Any, str]:
    """The values without any result, and the state of their cells."""
    gaps = {}
    for value, rows in networks.groupby(axis, sort=False):
        if not rows["done"].any():
            gaps[value] = ", ".join(dict.fromkeys(rows["state"]))
    return gaps
