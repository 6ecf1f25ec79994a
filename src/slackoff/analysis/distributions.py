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
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from slackoff.analysis.axes import INK, QUIET, colours, house_style
from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import TEST_SET, Group, groups, is_number
from slackoff.analysis.statistics import Array, Interval, mean_interval
from slackoff.analysis.tables import DO_NOTHING, interval_columns
from slackoff.analysis.text import at, decimals, number, plain_label, symbol
from slackoff.errors import SlackoffError
from slackoff.metrics.columns import COLUMNS

KNOWN = ("psnr_rgb", "ssim_rgb", "psnr_y", "ssim_y")
"""What `study.options.distributions` may name: measures of which more is better."""

_NOWHERE = Interval(float("nan"), float("nan"), float("nan"))


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
    worse: Interval = _NOWHERE
    state: str = "done"

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """Lower quartile, median and upper quartile (linear between the two nearest values); NaN without values."""
        if not len(self.values):
            return (float("nan"),) * 3
        lower, median, upper = (float(value) for value in np.percentile(self.values, [25, 50, 75]))
        return lower, median, upper


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
    on_sets: dict[str, list[Group]] = {}
    for group in groups(frames):
        on_sets.setdefault(str(group.labels.get(TEST_SET, "")), []).append(group)
    tested = [found for found in on_sets.values() if any(group.done for group in found)]
    return [_distributions(measure, found) for measure in measures for found in tested]


def distribution_table(found: Sequence[Distributions], axis: str) -> pd.DataFrame:
    """One row per measure, test set and variant, the input first.

    Columns: measure, the labels (test set and others) where there are several, the main axis, `seeds`, `images`,
    `mean`, `minimum`, `lower_quartile`, `median`, `upper_quartile`, `maximum`, and `worse_than_input`, the share of
    images (of all seeds) on which the network has less than the input, with its 95 % interval _low and _high.
    """
    keys = list(dict.fromkeys(key for some in found for one in some.variants for key in one.labels))
    return pd.DataFrame(
        [
            {"measure": some.measure, **some.labels, **{key: one.labels.get(key) for key in keys}, axis: one.value}
            | _numbers(one)
            for some in found
            for one in some.shown
        ]
    )


def _numbers(one: Distribution) -> dict[str, float]:
    values = one.values if len(one.values) else np.array([np.nan])
    lower, median, upper = one.quartiles
    return {
        "seeds": one.seeds,
        "images": one.images,
        "mean": float(values.mean()),
        "minimum": float(values.min()),
        "lower_quartile": lower,
        "median": median,
        "upper_quartile": upper,
        "maximum": float(values.max()),
        **interval_columns("worse_than_input", one.worse),
    }


def _asked(frames: Frames) -> list[str]:
    """The measures that the study asks for, each once."""
    asked = frames.study.options.get("distributions") or []
    where = f"study.options.distributions of the study '{frames.study.name}'"
    if not isinstance(asked, list):
        raise SlackoffError(f"{where} must be a list of measures, and is {asked!r}: there are {', '.join(KNOWN)}.")
    for measure in asked:
        if measure not in KNOWN:
            raise SlackoffError(f"{where} names '{measure}', which cannot be drawn: there are {', '.join(KNOWN)}.")
        if len(frames.images) and measure not in frames.images:
            there = [known for known in KNOWN if known in frames.images]
            raise SlackoffError(f"{where} names '{measure}', which no cell has measured: they have {', '.join(there)}.")
    return list(dict.fromkeys(asked))


def _distributions(measure: str, found: Sequence[Group]) -> Distributions:
    first = next(group for group in found if group.done)
    variants = [_variant(measure, group, value) for group in found for value in group.values]
    values = _finite(first.table(first.done[0], f"{measure}_input")[:1])
    untouched = Distribution(DO_NOTHING, DO_NOTHING, {}, values, 1, len(values)) if len(values) else None
    labels = {key: label for key, label in first.labels.items() if key == TEST_SET}
    photographs = None if first.sources is None else len(set(first.sources))
    return Distributions(measure, labels, untouched, variants, photographs)


def _variant(measure: str, group: Group, value: Any) -> Distribution:
    labels = {key: label for key, label in group.labels.items() if key != TEST_SET}
    own_name = at(group.axis, value) if is_number(value) else str(value)
    name = ", ".join([*map(str, labels.values()), own_name])
    if value not in group.done:
        states = group.cells.loc[group.cells[group.axis] == value, "state"]
        return Distribution(name, value, labels, np.empty(0), 0, 0, state=", ".join(dict.fromkeys(map(str, states))))
    table, untouched = group.table(value, measure), group.table(value, f"{measure}_input")
    worse = np.where(np.isfinite(table) & np.isfinite(untouched), table < untouched, np.nan)
    seeds, images = len(table), int(np.isfinite(table).any(axis=0).sum())
    return Distribution(name, value, labels, _finite(table), seeds, images, mean_interval(worse, group.sources))


def _finite(table: Array) -> Array:
    return table[np.isfinite(table)]


def distributions_caption(found: Distributions) -> str:
    """What is drawn, over how many images and seeds, and where the most and the fewest images got worse."""
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
    return f"{drawn}{dashed}. Each row: {found.images:,} test images{of}, {trained}. {harm(found)}".rstrip()


def harm(found: Distributions) -> str:
    """'PSNR is below that of the input on 0.5 % of the images with A (the fewest) and on 12.0 % with B (the most).'"""
    known = [one for one in found.variants if math.isfinite(one.worse.mean)]
    if not known:
        return ""
    fewest, most = min(known, key=_worse), max(known, key=_worse)
    label = plain_label(found.measure)
    text = f"{label} is below that of the input on {percent(fewest.worse.mean)} of the images with {fewest.name}"
    if fewest.worse.mean == most.worse.mean:
        others = " and with all others" if len(known) > 1 else ""
        return f"{text}{others}."
    return f"{text} (the fewest) and on {percent(most.worse.mean)} with {most.name} (the most)."


def readable_distributions(found: Sequence[Distributions], axis: str) -> pd.DataFrame:
    """`distribution_table` as text: the median over the quartiles, the share that got worse over its interval."""
    rows = []
    for some in found:
        places = decimals(some.measure)
        for one in some.shown:
            lower, median, upper = (number(value, places) for value in one.quartiles)
            mean, minimum = (one.values.mean(), one.values.min()) if len(one.values) else (math.nan, math.nan)
            row = {"measure": plain_label(some.measure)}
            row |= {TEST_SET: str(some.labels[TEST_SET])} if TEST_SET in some.labels else {}
            row |= {symbol(axis): one.name if len(one.values) else f"{one.name} ({one.state})"}
            row |= {"median and quartiles": f"{median}\n{lower} to {upper}" if len(one.values) else median}
            row |= {"mean": number(mean, places), "minimum": number(minimum, places)}
            rows.append(row | {"worse than input": _interval(one)})
    return pd.DataFrame(rows)


def percent(share: float) -> str:
    """'12.0 %'; what is not quite 0 or 100 does not read so; empty where there is no number."""
    if not math.isfinite(share):
        return ""
    if 0 < share < 0.0005:
        return "<0.1 %"
    return ">99.9 %" if 0.9995 <= share < 1 else f"{number(100 * share, 1)} %"


def _worse(one: Distribution) -> float:
    return one.worse.mean


def _interval(one: Distribution) -> str:
    if not math.isfinite(one.worse.mean):
        return ""
    bounds = f"\n{number(100 * one.worse.low, 1)} to {number(100 * one.worse.high, 1)} %"
    return percent(one.worse.mean) + (bounds if math.isfinite(one.worse.low) else "")


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
