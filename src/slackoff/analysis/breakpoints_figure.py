"""Break points with their intervals, one line per group."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from slackoff.analysis.axes import INK, QUIET, TITLES, colours, draw_main_axis, house_style
from slackoff.analysis.breakpoints import FALLS
from slackoff.analysis.text import at, decimals, number, symbol
from slackoff.metrics.columns import COLUMNS

_WIDTH = 8.5


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
        figure = Figure(
            figsize=(_WIDTH, 1.5 + 0.42 * len(rows)), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.06)
        )
        ax = figure.add_subplot()
        for place, row in rows.iterrows():
            clear = row["verdict"] == FALLS
            colour = colours(1)[0] if clear else QUIET
            if pd.notna(row["low"]):
                ax.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=5, alpha=0.3, zorder=2)
            if pd.notna(row["last_above"]):
                face = colour if clear else "white"
                ax.plot(row["last_above"], place, "o", color=colour, markerfacecolor=face, markersize=7, zorder=3)
            look: dict[str, Any] = {"va": "center", "fontsize": 8.5, "color": INK if clear else QUIET}
            look |= {"xycoords": ax.get_yaxis_transform(), "xytext": (8, 0), "textcoords": "offset points"}
            ax.annotate(_told(row, axis, measure), (1, place), **look)
        draw_main_axis(ax, axis, values)
        ax.set_yticks(range(len(rows)), [name or "all cells" for name in rows["name"]])
        ax.set_ylim(-0.6, len(rows) - 0.4)
        ax.tick_params(axis="y", length=0)
        ax.grid(True, axis="x")
        ax.grid(False, axis="y")
        ax.set_title(f"Where it breaks down: {TITLES.get(measure, COLUMNS[measure].label)}")
    return figure


def _told(row: pd.Series, axis: str, measure: str) -> str:
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
