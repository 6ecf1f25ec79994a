"""How a measure is spread over the test images: of each variant of a study, beside that of the untouched input.

A mean hides on how many images a network does harm; Figures 8 and 9 of MENET (arXiv 2003.09689) show all of them.
"""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cbook import boxplot_stats
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from slackoff.analysis.axes import INK, QUIET, colours, house_style, new_figure
from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import TEST_SET, Group, by_test_set, groups
from slackoff.analysis.statistics import NOTHING, Array, Interval, mean_interval
from slackoff.analysis.tables import DO_NOTHING, interval_columns
from slackoff.analysis.text import decimals, entry, number, percent, plain_label, short_name, symbol
from slackoff.errors import SlackoffError
from slackoff.metrics.columns import COLUMNS

KNOWN = ("psnr_rgb", "ssim_rgb", "psnr_y", "ssim_y")
"""What `study.options.distributions` may name: measures of which more is better."""


@dataclass(frozen=True, eq=False)
class Distribution:
    """A measure on all test images, of the networks of one variant or of the untouched input.

    `value` of the main axis and `labels` of its group (without the test set) make its `name`.
    `values` (k,) are in the unit of the measure, those of all training seeds together; empty where there is no result,
    and `state` then says why. `worse`: the share of images and seeds on which the network has less than the input, with
    its 95 % interval; NaN for the input itself and where the record has nothing of the input.
    """

    name: str
    value: Any
    labels: dict[str, Any]
    values: Array
    seeds: int
    images: int
    worse: Interval = NOTHING
    state: str = "done"

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """Lower quartile, median and upper quartile (linear between the two nearest values); NaN without values."""
        lower, median, upper = np.percentile(self.values, [25, 50, 75]) if len(self.values) else [math.nan] * 3
        return float(lower), float(median), float(upper)


@dataclass(frozen=True, eq=False)
class Distributions:
    """One measure on one test set: the untouched input (None where it is not recorded), then the variants.

    `labels` names the test set where a study has several. `photographs`: how many the images were cut from, None where
    that is not recorded.
    """

    measure: str
    labels: dict[str, Any]
    untouched: Distribution | None
    variants: list[Distribution]
    photographs: int | None

    @property
    def shown(self) -> list[Distribution]:
        """All of them, the input first."""
        return [*([] if self.untouched is None else [self.untouched]), *self.variants]

    @property
    def images(self) -> int:
        return max(variant.images for variant in self.variants)


def distributions(frames: Frames) -> list[Distributions]:
    """The distributions that the study's option `distributions` asks for, by measure and test set.

    Raises SlackoffError when it names an unknown measure, or one that the record does not have.
    """
    measures = _asked(frames)
    if not len(frames.images):
        return []
    tested = [(labels, found) for labels, found in by_test_set(groups(frames)) if any(group.done for group in found)]
    return [_distributions(measure, labels, found) for measure in measures for labels, found in tested]


def distribution_table(found: Sequence[Distributions], axis: str) -> pd.DataFrame:
    """One row per measure, test set and variant, the input first.

    Columns: measure, the labels (test set and others) where there are several, the main axis, `seeds`, `images`,
    `mean`, `minimum`, `lower_quartile`, `median`, `upper_quartile`, `maximum`, and `worse_than_input`, the share of
    images (of all seeds) on which the network has less than the input, with its 95 % interval _low and _high.
    """
    keys = list(dict.fromkeys(key for some in found for one in some.variants for key in one.labels))
    rows = []
    for some, one in ((part, row) for part in found for row in part.shown):
        values, (lower, median, upper) = one.values if len(one.values) else np.array([np.nan]), one.quartiles
        row = {"measure": some.measure, **some.labels, **{key: one.labels.get(key) for key in keys}, axis: one.value}
        row |= {"seeds": one.seeds, "images": one.images, "mean": values.mean(), "minimum": values.min()}
        row |= {"lower_quartile": lower, "median": median, "upper_quartile": upper, "maximum": values.max()}
        rows.append(row | interval_columns("worse_than_input", one.worse))
    return pd.DataFrame(rows)


def _asked(frames: Frames) -> list[str]:
    """The measures that the study asks for, each once."""
    asked = frames.study.options.get("distributions") or []
    where = f"study.options.distributions of the study '{frames.study.name}'"
    for measure in asked:
        if measure not in KNOWN:
            raise SlackoffError(f"{where} names '{measure}', which cannot be drawn: there are {', '.join(KNOWN)}.")
        if len(frames.images) and measure not in frames.images:
            there = [known for known in KNOWN if known in frames.images]
            raise SlackoffError(f"{where} names '{measure}', which no cell has measured: they have {', '.join(there)}.")
    return list(dict.fromkeys(asked))


def _distributions(measure: str, labels: dict[str, Any], found: Sequence[Group]) -> Distributions:
    first = next(group for group in found if group.done)
    variants = [_variant(measure, group, value) for group in found for value in group.values]
    recorded = first.table(first.done[0], f"{measure}_input")[0]
    values = recorded[np.isfinite(recorded)]
    untouched = Distribution(DO_NOTHING, DO_NOTHING, {}, values, 1, len(values)) if len(values) else None
    photographs = None if first.sources is None else len(set(first.sources))
    return Distributions(measure, labels, untouched, variants, photographs)


def _variant(measure: str, group: Group, value: Any) -> Distribution:
    labels = group.own_labels
    name = ", ".join([*map(str, labels.values()), short_name(group.axis, value)])
    if value not in group.done:
        states = group.cells.loc[group.cells[group.axis] == value, "state"]
        return Distribution(name, value, labels, np.empty(0), 0, 0, state=", ".join(dict.fromkeys(map(str, states))))
    table, untouched = group.table(value, measure), group.table(value, f"{measure}_input")
    there = np.isfinite(table)
    worse = mean_interval(np.where(there & np.isfinite(untouched), table < untouched, np.nan), group.sources)
    return Distribution(name, value, labels, table[there], len(table), int(there.any(axis=0).sum()), worse)


def distributions_caption(found: Distributions) -> str:
    """What is drawn, and over how many images and seeds."""
    measured = [one for one in found.variants if len(one.values)]
    seeds = sorted({one.seeds for one in measured})
    of = "" if found.photographs in (None, found.images) else f" from {found.photographs:,} photographs"
    between = " to ".join(dict.fromkeys(map(str, (seeds[0], seeds[-1]))))
    trained = f"{between} training seeds together" if seeds[-1] > 1 else "one training seed"
    drawn = (
        "Histograms on common bins and scales, as shares of the images; the line is the median"
        if found.measure.startswith("psnr")
        else "Boxes: quartiles and median; whiskers: to the last value within 1.5 times their distance; points: what "
        "lies beyond; diamonds: means"
    )
    dashed = "; grey: the untouched input, dashed: its median" if found.untouched is not None else ""
    return f"{drawn}{dashed}. Each row: {found.images:,} test images{of}, {trained}."


def readable_distributions(found: Sequence[Distributions], axis: str) -> pd.DataFrame:
    """`distribution_table` as text: the median over the quartiles, the share that got worse over its interval."""
    rows = []
    for some, one in ((part, row) for part in found for row in part.shown):
        places, (lower, median, upper) = decimals(some.measure), one.quartiles
        mean, minimum = (one.values.mean(), one.values.min()) if len(one.values) else (math.nan, math.nan)
        row = {"measure": plain_label(some.measure)}
        row |= {TEST_SET: str(some.labels[TEST_SET])} if TEST_SET in some.labels else {}
        row |= {symbol(axis): one.name if len(one.values) else f"{one.name} ({one.state})"}
        row |= {"median and quartiles": entry(median, lower, upper, places)}
        row |= {"mean": number(mean, places), "minimum": number(minimum, places)}
        bounds = f"\n{number(100 * one.worse.low, 1)} to {number(100 * one.worse.high, 1)} %"
        worse = percent(one.worse.mean) + (bounds if math.isfinite(one.worse.low) else "")
        rows.append(row | {"worse than input": worse})
    return pd.DataFrame(rows)


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
    rows = found.shown
    values = np.concatenate([row.values for row in rows])
    bins = min(max(_FEWEST_BINS, round(5 * found.images ** (1 / 3))), _MOST_BINS)  # the more images, the more bins
    edges = MaxNLocator(bins, steps=[1, 2, 2.5, 5, 10]).tick_values(values.min(), values.max())
    with house_style():
        figure = new_figure(9, 1.1 + _height(found, 0.56) * len(rows), h_pad=0.04, hspace=0)
        axes = np.atleast_1d(figure.subplots(len(rows), 1, sharex=True, sharey=True))
        for ax, row in zip(axes, rows, strict=True):
            if len(row.values):
                shares = np.histogram(row.values, edges)[0] / len(row.values)
                colour, outline = (_GREY, QUIET) if row.name == DO_NOTHING else colours(1) * 2
                ax.stairs(shares, edges, fill=True, color=colour, alpha=0.75, linewidth=0)
                ax.stairs(shares, edges, color=outline, linewidth=0.9)
                ax.axvline(row.quartiles[1], color=INK, linewidth=1.6)
            _draw_untouched(ax, found)
            ax.set_ylabel(_named(row), rotation=0, ha="right", va="center", color=INK, fontsize=_SMALL, labelpad=8)
            _annotate(ax, found, row, 0.5)
            ax.grid(False)
            ax.grid(True, axis="x")
            ax.spines["left"].set_visible(False)
            ax.tick_params(left=False, labelleft=False, bottom=ax is axes[-1])
        axes[0].set_ylim(0, None)
        _name_all(axes[0], axes[-1], found)
    return figure


def boxes(found: Distributions) -> Figure:
    """One box per variant: quartiles and median, whiskers to the last value within 1.5 IQR, the others as points.

    A diamond marks the mean; the untouched input is the first box, in grey, and its median the dashed line.
    """
    rows = found.shown
    with house_style():
        figure = new_figure(9, 1.3 + _height(found, 0.42) * len(rows), h_pad=0.04, hspace=0)
        ax = figure.add_subplot()
        _draw_untouched(ax, found)
        for place, row in enumerate(rows):
            _draw_box(ax, row, place)
            _annotate(ax, found, row, place, ax.get_yaxis_transform())
        ax.set_yticks(range(len(rows)), [_named(row) for row in rows])
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.tick_params(axis="y", length=0)
        ax.grid(False)
        ax.grid(True, axis="x")
        _name_all(ax, ax, found)
    return figure


def _height(found: Distributions, least: float) -> float:
    """Inches per row: enough for the name with the most lines."""
    return max(least, 0.08 + 0.145 * max(_named(row).count("\n") + 1 for row in found.shown))


def _draw_box(ax: Axes, row: Distribution, place: float) -> None:
    if not len(row.values):
        return
    face, point = (_GREY, QUIET) if row.name == DO_NOTHING else ((*colours(1)[0], 0.45), colours(1)[0])
    thin = {"color": INK, "linewidth": 0.9}
    ax.bxp(
        boxplot_stats(row.values, whis=1.5),
        positions=[place],
        widths=0.56,
        orientation="horizontal",
        manage_ticks=False,
        patch_artist=True,
        showmeans=True,
        boxprops={"facecolor": face, "edgecolor": INK, "linewidth": 0.9},
        medianprops={"color": INK, "linewidth": 2, "solid_capstyle": "butt"},
        whiskerprops=thin,
        capprops=thin,
        meanprops={"marker": "D", "markersize": 4, "markerfacecolor": "white", "markeredgecolor": INK},
        flierprops={"marker": "o", "markersize": 2.4, "markerfacecolor": point, "markeredgewidth": 0, "alpha": 0.5},
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


def _name_all(first: Axes, last: Axes, found: Distributions) -> None:
    """Above the first axes what is shown, 'PSNR (RGB) of each test image: rain100h', and what the texts right of the
    rows are; below the last the unit."""
    column = COLUMNS[found.measure]
    first.set_title(": ".join([f"{column.label} of each test image", *map(str, found.labels.values())]))
    heads = ["median", "worse than input" if found.untouched is not None else ""]
    _write(first, heads, (1, 1), first.transAxes, QUIET, up=10)
    last.set_xlabel(f"{column.label}{f', {column.unit}' if column.unit else ''}: higher is better")


def _write(ax: Axes, texts: list[str], at: tuple[float, float], coordinates: Any, colour: str, up: float = 0) -> None:
    for text, right in zip(texts, _COLUMNS, strict=True):
        look: dict[str, Any] = {"va": "center", "ha": "left", "fontsize": _SMALL, "color": colour}
        ax.annotate(text, at, xycoords=coordinates, xytext=(right, up), textcoords="offset points", **look)


def _named(row: Distribution) -> str:
    """The name in lines of limited length, and how much it is of."""
    lines = textwrap.wrap(row.name.replace(" = ", _EQUALS), _NAME_WIDTH)
    seeds = f" \N{MULTIPLICATION SIGN} {row.seeds} seeds" if row.seeds > 1 else ""
    return "\n".join([*lines, *[f"{row.images:,} images{seeds}"] * (len(row.values) > 0)])
