"""One measure of a study drawn into one pair of axes: lines per group, intervals, references, gaps."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from slackoff.analysis.groups import in_order, is_number
from slackoff.analysis.lines import Line, lines
from slackoff.analysis.reference_lines import draw_references
from slackoff.analysis.style import QUIET, draw_main_axis, positions
from slackoff.analysis.summary import DO_NOTHING
from slackoff.metrics.columns import COLUMNS

TITLES = {
    "e_r": "$E_R$: change in the rain",
    "removal_share": "Removal share",
    "e_b": "$E_B$: error outside the rain",
    "psnr_rgb": "PSNR (RGB)",
    "ssim_rgb": "SSIM (RGB)",
    "psnr_y": "PSNR (Y)",
    "ssim_y": "SSIM (Y)",
}
_DIRECTIONS = {"higher": "higher is better", "lower": "lower is better"}


_MOST_BANDS = 6
"""Up to this many lines have a band each; more would be one grey area."""

_ASIDE, _WIDTH = 0.22, 0.72
"""Distance of groups at one name, and what they take at most together, in names."""


def draw_measure(
    ax: Axes, table: pd.DataFrame, axis: str, measure: str, room: float = 0.0, whole: pd.DataFrame | None = None
) -> None:
    """Draws a measure with its 95 % intervals and its references against the main axis.

    Intervals are bands along numbers (bars too where there is one line, bars alone where there are very many)
    and bars at names, where groups stand side by side. `room`: share of the width to keep free on the right,
    for names of the groups. `whole`: as for `lines`.
    """
    networks = table[table["output"] != DO_NOTHING]
    values = in_order(networks[axis])
    ordered = all(is_number(value) for value in values)
    groups = lines(table, axis, whole)
    banded = ordered and len(groups) <= _MOST_BANDS
    for line in groups:
        rows = line.rows.dropna(subset=[measure])
        x = _places(rows, axis, values, groups, line)
        if banded:
            low, high = rows[f"{measure}_low"], rows[f"{measure}_high"]
            ax.fill_between(x, low, high, color=line.colour, alpha=0.15, linewidth=0)
        ax.errorbar(
            x,
            rows[measure],
            yerr=None if banded and len(groups) > 1 else bars(rows, measure),
            color=line.colour,
            linestyle=line.style if ordered else "",
            marker=line.marker,
            elinewidth=1.1,
            capsize=2.5,
            label=line.name,
            zorder=3,
        )
    draw_main_axis(ax, axis, values, _gaps(networks, axis), room)
    ax.set_title(TITLES[measure])
    ax.set_ylabel(COLUMNS[measure].unit)
    direction = _DIRECTIONS.get(str(COLUMNS[measure].better), "")
    if measure == "e_r":
        direction = "higher: removal or damage"
    ax.set_title(direction, loc="right", fontsize=8.5, color=QUIET, fontweight="normal")
    draw_references(ax, table, groups, measure)


def draw_points(
    ax: Axes,
    points: pd.DataFrame,
    table: pd.DataFrame,
    axis: str,
    measure: str,
    whole: pd.DataFrame | None = None,
) -> None:
    """Open circles in the colour of their group, one per cell, at those values that several training seeds share."""
    values, groups = in_order(table.loc[table["output"] != DO_NOTHING, axis]), lines(table, axis, whole)
    for line in groups:
        own = line.where(points)
        repeated = own[own.duplicated(axis, keep=False)].dropna(subset=[measure])
        if len(repeated):
            x = _places(repeated, axis, values, groups, line)
            ax.scatter(
                x, repeated[measure], s=16, facecolors="none", edgecolors=[line.colour], linewidths=0.9, zorder=4
            )


def _places(rows: pd.DataFrame, axis: str, values: list[Any], groups: list[Line], line: Line) -> pd.Series:
    """Where rows stand along the axis: at names the groups stand side by side."""
    aside = 0.0
    if not all(is_number(value) for value in values):
        aside = min(_ASIDE, _WIDTH / len(groups)) * (groups.index(line) - (len(groups) - 1) / 2)
    return rows[axis].map(positions(values)).astype(float) + aside


def bars(rows: pd.DataFrame, measure: str) -> Any:
    """(2, n) lengths of the error bars below and above the mean; 0 where there is no interval."""
    below = (rows[measure] - rows[f"{measure}_low"]).clip(lower=0)
    above = (rows[f"{measure}_high"] - rows[measure]).clip(lower=0)
    return pd.DataFrame([below, above]).fillna(0.0).to_numpy()


def _gaps(networks: pd.DataFrame, axis: str) -> dict[Any, str]:
    """The values without any result, and the state of their cells."""
    gaps = {}
    for value, rows in networks.groupby(axis, sort=False):
        if not rows["done"].any():
            gaps[value] = ", ".join(dict.fromkeys(rows["state"]))
    return gaps
