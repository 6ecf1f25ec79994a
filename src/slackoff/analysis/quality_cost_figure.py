"""The scatter of quality against cost: what each network removes, and its PSNR, over the seconds of an image."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from slackoff.analysis.groups import TEST_SET
from slackoff.analysis.labels import label_points
from slackoff.analysis.network_costs import NetworkCosts
from slackoff.analysis.panels import TITLES
from slackoff.analysis.quality_cost import NETWORK, headline
from slackoff.analysis.style import INK, QUIET, colours, house_style
from slackoff.analysis.summary import DO_NOTHING
from slackoff.metrics.columns import COLUMNS


def quality_cost_figure(table: pd.DataFrame, costs: NetworkCosts) -> Figure:
    """A column per test set, a row per measure; `table` is a ``quality_cost_table``.

    A dot is the mean over all settings, the line through it reaches from the worst setting to the best, and its area
    grows with the number of parameters. The steps are the front of PSNR: no faster network has as high a mean. Dashed:
    the untouched input. Networks without seconds or results are left out; the table has them.
    """
    test_sets = list(table[TEST_SET].unique())
    with house_style():
        layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)
        figure = Figure(figsize=(1.6 + 5.2 * len(test_sets), 8.4), layout=layout)
        axes = figure.subplots(2, len(test_sets), squeeze=False, sharex=True)
        for column, test_set in enumerate(test_sets):
            rows = table[table[TEST_SET] == test_set]
            for ax, measure in zip(axes[:, column], headline(table), strict=True):
                _draw(ax, rows, measure)
                ax.set_title(f"{TITLES[measure]}, {test_set}")
                unit = COLUMNS[measure].unit
                ax.set_ylabel(f"mean over the settings{f' ({unit})' if unit else ''}" if column == 0 else "")
            axes[-1, column].set_xlabel(
                f"seconds per image of {costs.size_px}\N{MULTIPLICATION SIGN}{costs.size_px} px"
            )
        figure.draw_without_rendering()
        for (row, column), ax in np.ndenumerate(axes):
            _name(ax, table[table[TEST_SET] == test_sets[column]], headline(table)[row])
    return figure


def _draw(ax: Axes, rows: pd.DataFrame, measure: str) -> None:
    found = _drawable(rows, measure)
    colour, front = colours(2)
    ax.vlines(
        found["seconds"], found[f"{measure}_worst"], found[f"{measure}_best"], color=QUIET, linewidth=0.9, alpha=0.7
    )
    ax.scatter(
        found["seconds"], found[measure], s=_areas(found), color=colour, edgecolor="white", linewidth=0.6, zorder=3
    )
    if measure != "removal_share":  # more than all of it is not better
        _steps(ax, found, measure, front)
    untouched = rows.loc[rows[NETWORK] == DO_NOTHING, measure]
    ax.axhline(float(untouched.iloc[0]), color=QUIET, linestyle="--", linewidth=1)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.margins(x=0.2, y=0.12)
    ax.grid(True, axis="both")


def _steps(ax: Axes, found: pd.DataFrame, measure: str, colour: object) -> None:
    """The best mean that so many seconds buy."""
    ordered = found.sort_values("seconds", kind="stable")
    best = ordered[ordered[measure] > ordered[measure].cummax().shift(fill_value=-np.inf)]
    x, y = [*best["seconds"], found["seconds"].max()], [*best[measure], best[measure].max()]
    ax.plot(x, y, drawstyle="steps-post", color=colour, linewidth=1.1, alpha=0.8, zorder=2)


def _name(ax: Axes, rows: pd.DataFrame, measure: str) -> None:
    found = _drawable(rows, measure)
    entries = [(row["seconds"], row[measure], row[NETWORK], INK) for _, row in found.iterrows()]
    label_points(ax, entries, distances=(6, 14, 24, 34), inside=True)


def _drawable(rows: pd.DataFrame, measure: str) -> pd.DataFrame:
    return rows[rows["seconds"].notna() & rows[measure].notna()]


def _areas(found: pd.DataFrame) -> pd.Series:
    """In square points: 16 without parameters, growing with the root of their number."""
    return 16 + 60 * np.sqrt(found["parameters"].fillna(0) / max(found["parameters"].max(), 1))
