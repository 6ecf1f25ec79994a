"""Histograms and box plots of a measure over the test images, one row per variant (MENET, Figures 8 and 9)."""

import textwrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cbook import boxplot_stats
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from slackoff.analysis.distributions import Distribution, Distributions
from slackoff.analysis.distributions_wording import percent
from slackoff.analysis.style import INK, QUIET, colours, house_style
from slackoff.analysis.summary import DO_NOTHING
from slackoff.analysis.wording import decimals, number
from slackoff.metrics.columns import COLUMNS

_FEWEST_BINS, _MOST_BINS = 16, 40

_NAME_WIDTH = 26
"""Characters after which a name goes on in the next line."""

_EQUALS = "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}"

_GREY = "#dcdcdc"
_SMALL = 8.5

_COLUMNS = (6, 52)
"""Points right of the axes at which the texts beside the rows begin."""


def distribution_figure(found: Distributions) -> Figure:
    """Histograms of PSNR, box plots of SSIM."""
    return histograms(found) if found.measure.startswith("psnr") else boxes(found)


def histograms(found: Distributions) -> Figure:
    """One histogram per variant below each other, on the same bins and scales; the untouched input is grey.

    The height is the share of the images (of all seeds), so that variants with more seeds are no taller. A line marks
    the median of each, a dashed line through all of them that of the input.
    """
    rows, edges = found.shown, _edges(found)
    with house_style():
        figure = Figure(figsize=(9, 1.1 + _height(found, 0.56) * len(rows)), layout=_layout())
        axes = np.atleast_1d(figure.subplots(len(rows), 1, sharex=True, sharey=True))
        for ax, row in zip(axes, rows, strict=True):
            _draw_histogram(ax, row, edges)
            _draw_untouched(ax, found)
            ax.set_ylabel(_named(row), rotation=0, ha="right", va="center", color=INK, fontsize=_SMALL, labelpad=8)
            _annotate(ax, found, row, 0.5)
            ax.grid(False)
            ax.grid(True, axis="x")
            ax.spines["left"].set_visible(False)
            ax.tick_params(left=False, labelleft=False, bottom=ax is axes[-1])
        axes[0].set_ylim(0, None)
        axes[0].set_title(_title(found))
        _head(axes[0], found)
        axes[-1].set_xlabel(_axis_label(found))
    return figure


def boxes(found: Distributions) -> Figure:
    """One box per variant: quartiles and median, whiskers to the last value within 1.5 IQR, the others as points.

    A diamond marks the mean; the untouched input is the first box, in grey, and its median the dashed line.
    """
    rows = found.shown
    places = list(range(len(rows)))
    with house_style():
        figure = Figure(figsize=(9, 1.3 + _height(found, 0.42) * len(rows)), layout=_layout())
        ax = figure.add_subplot()
        _draw_untouched(ax, found)
        for place, row in zip(places, rows, strict=True):
            _draw_box(ax, row, place)
            _annotate(ax, found, row, place, ax.get_yaxis_transform())
        ax.set_yticks(places, [_named(row) for row in rows])
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.tick_params(axis="y", length=0)
        ax.grid(False)
        ax.grid(True, axis="x")
        ax.set_title(_title(found))
        _head(ax, found)
        ax.set_xlabel(_axis_label(found))
    return figure


def _edges(found: Distributions) -> Any:
    """Edges of bins for all values, at round numbers; the more images, the more bins."""
    values = np.concatenate([row.values for row in found.shown])
    bins = min(max(_FEWEST_BINS, round(5 * found.images ** (1 / 3))), _MOST_BINS)
    return MaxNLocator(bins, steps=[1, 2, 2.5, 5, 10]).tick_values(values.min(), values.max())


def _height(found: Distributions, least: float) -> float:
    """Inches per row: enough for the name with the most lines."""
    return max(least, 0.08 + 0.145 * max(_named(row).count("\n") + 1 for row in found.shown))


def _colour(row: Distribution) -> Any:
    return _GREY if row.name == DO_NOTHING else colours(1)[0]


def _draw_histogram(ax: Axes, row: Distribution, edges: Any) -> None:
    if not len(row.values):
        return
    shares = np.histogram(row.values, edges)[0] / len(row.values)
    ax.stairs(shares, edges, fill=True, color=_colour(row), alpha=0.75, linewidth=0)
    ax.stairs(shares, edges, color=QUIET if row.name == DO_NOTHING else _colour(row), linewidth=0.9)
    ax.axvline(row.quartiles[1], color=INK, linewidth=1.6)


def _draw_box(ax: Axes, row: Distribution, place: float) -> None:
    if not len(row.values):
        return
    quiet = row.name == DO_NOTHING
    ax.bxp(
        boxplot_stats(row.values, whis=1.5),
        positions=[place],
        widths=0.56,
        orientation="horizontal",
        manage_ticks=False,
        patch_artist=True,
        showmeans=True,
        boxprops={"facecolor": (*colours(1)[0], 0.45) if not quiet else _GREY, "edgecolor": INK, "linewidth": 0.9},
        medianprops={"color": INK, "linewidth": 2, "solid_capstyle": "butt"},
        whiskerprops={"color": INK, "linewidth": 0.9},
        capprops={"color": INK, "linewidth": 0.9},
        meanprops={"marker": "D", "markersize": 4, "markerfacecolor": "white", "markeredgecolor": INK},
        flierprops={
            "marker": "o",
            "markersize": 2.4,
            "markerfacecolor": QUIET if quiet else colours(1)[0],
            "markeredgewidth": 0,
            "alpha": 0.5,
        },
    )


def _draw_untouched(ax: Axes, found: Distributions) -> None:
    """The median of the input, as the mark that a network should pass."""
    if found.untouched is not None:
        ax.axvline(found.untouched.quartiles[1], color=QUIET, linestyle=(0, (4, 3)), linewidth=1, zorder=1)


def _annotate(ax: Axes, found: Distributions, row: Distribution, place: float, coordinates: Any = None) -> None:
    """The median and the share of images that got worse, right of a row."""
    texts = [number(row.quartiles[1], decimals(found.measure)), percent(row.worse.mean)]
    if not len(row.values):
        texts = [f"no result: {row.state}", ""]
    _write(ax, texts, (1, place), coordinates or ax.transAxes, INK)


def _head(ax: Axes, found: Distributions) -> None:
    """What the texts right of the rows are."""
    heads = ["median", "worse than input" if found.untouched is not None else ""]
    _write(ax, heads, (1, 1), ax.transAxes, QUIET, up=10)


def _write(ax: Axes, texts: list[str], at: tuple[float, float], coordinates: Any, colour: str, up: float = 0) -> None:
    for text, right in zip(texts, _COLUMNS, strict=True):
        look: dict[str, Any] = {"va": "center", "ha": "left", "fontsize": _SMALL, "color": colour}
        ax.annotate(text, at, xycoords=coordinates, xytext=(right, up), textcoords="offset points", **look)


def _named(row: Distribution) -> str:
    """The name in lines of limited length, and how much it is of."""
    lines = textwrap.wrap(row.name.replace(" = ", _EQUALS), _NAME_WIDTH)
    return "\n".join([*lines, _counted(row)]) if len(row.values) else "\n".join(lines)


def _counted(row: Distribution) -> str:
    seeds = f" \N{MULTIPLICATION SIGN} {row.seeds} seeds" if row.seeds > 1 else ""
    return f"{row.images:,} images{seeds}"


def _title(found: Distributions) -> str:
    """'PSNR (RGB) of each test image: rain100h'."""
    return ": ".join([f"{COLUMNS[found.measure].label} of each test image", *map(str, found.labels.values())])


def _axis_label(found: Distributions) -> str:
    column = COLUMNS[found.measure]
    return f"{column.label}{f', {column.unit}' if column.unit else ''}: higher is better"


def _layout() -> ConstrainedLayoutEngine:
    return ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.04, hspace=0)
