"""All groups of a study with two labels side by side: a column per value of the first, a line per one of the rest."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from slackoff.analysis.groups import in_order, is_number, ranked
from slackoff.analysis.labels import move_apart
from slackoff.analysis.panels import TITLES, draw_measure, draw_points
from slackoff.analysis.style import house_style
from slackoff.analysis.summary import DO_NOTHING, label_columns
from slackoff.analysis.wording import at
from slackoff.metrics.columns import COLUMNS

ROWS = ("e_r", "removal_share", "e_b")
_MOST_COLUMNS = 5


def fits(table: pd.DataFrame, axis: str) -> bool:
    """Whether a table of one test set has the two labels, and few enough columns, that `grid` needs."""
    labels = label_columns(table, axis)
    return len(labels) > 1 and table[labels[0]].nunique() <= _MOST_COLUMNS


def grid(table: pd.DataFrame, axis: str, points: pd.DataFrame | None = None) -> Figure:
    """E_R, removal share and E_B, one row each on one scale, against the main axis with 95 % intervals.

    `table` is a `study_table` of one test set for which `fits` holds; `points` as for `figures.curves`.
    """
    label = label_columns(table, axis)[0]
    values = table.loc[table["output"] != DO_NOTHING, label].dropna()
    columns = ranked(values) or in_order(values)
    whole = table.drop(columns=label)
    with house_style():
        figure = Figure(figsize=(2.9 * len(columns) + 1.3, 7.6), layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06))
        axes = figure.subplots(len(ROWS), len(columns), squeeze=False)
        for row, measure in enumerate(ROWS):
            for column, value in enumerate(columns):
                ax = axes[row, column]
                own = table[(table[label] == value) | table[label].isna()].drop(columns=label)
                draw_measure(ax, own, axis, measure, whole=whole)
                if points is not None and len(points):
                    draw_points(ax, points[points[label] == value], own, axis, measure, whole=whole)
                _trim(ax, measure, last_row=row == len(ROWS) - 1, first=column == 0, last=column == len(columns) - 1)
                ax.set_title(_headed(label, value) if row == 0 else "")
            _same_scale(list(axes[row]))
        handles, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 6), frameon=False, fontsize=9)
        figure.draw_without_rendering()
        for ax in axes[:, -1]:
            move_apart(ax)
    return figure


def _headed(label: str, value: object) -> str:
    """'N = 64' for a number, which needs its name; names stand by themselves."""
    return at(label, value) if is_number(value) else str(value)


def _trim(ax: Axes, measure: str, last_row: bool, first: bool, last: bool) -> None:
    """Keeps what is said once only at the edges of the grid: names of scales left, of references right."""
    ax.set_title("", loc="right")
    unit = f"\n({COLUMNS[measure].unit})" if COLUMNS[measure].unit else ""
    ax.set_ylabel(f"{TITLES[measure]}{unit}" if first else "")
    ax.tick_params(labelleft=first, labelbottom=last_row)
    if not last_row:
        ax.set_xlabel("")
    for text in [] if last else list(ax.texts):
        text.remove()


def _same_scale(row: list[Axes]) -> None:
    limits = [ax.get_ylim() for ax in row]
    for ax in row:
        ax.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
