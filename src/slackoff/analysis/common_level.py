"""Where several curves break down below one level that is common to all, as the dashed line of a figure in the paper.

A level is a share of what the perfect output has (the oracle), so that it means the same on all test images. The
break-down of a curve is the last N at which it is still above the level. Which level is right nobody says: all are
looked at, in steps of one hundredth, that every curve reaches somewhere and below which one falls. The order in which
the curves break down is told with the band of levels in which it holds.

An order is sure at a level where the 95 % intervals of all distances lie above 0. Since the level is picked after the
fact, the error that an interval may have is divided by the number of places between counts where curves can cross it
(Bonferroni).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from slackoff.analysis.axes import (
    QUIET,
    TITLES,
    Line,
    draw_level,
    draw_main_axis,
    house_style,
    legend_name,
    lines,
    new_figure,
    write_right,
)
from slackoff.analysis.breakdown import FEWEST_COUNTS, PANELS, pairs
from slackoff.analysis.figures import split
from slackoff.analysis.groups import Group, in_order, is_number, means_at
from slackoff.analysis.statistics import LEVEL, MIN_UNITS, Array, Joint
from slackoff.analysis.tables import ORACLES
from slackoff.analysis.text import listing, name, number, symbol

STEP = 0.01
"""Distance of the levels that are looked at."""

Order = Callable[[Array], Array]
"""From (..., curves) places, in doublings of N, to (..., k) distances that are positive where an order holds."""


@dataclass(frozen=True)
class CommonLevels:
    """The break-downs of several curves over the same counts, at every level.

    `ratios` is (curves, counts): mean over the oracle's mean. `levels` (L,) are shares of the oracle; `places`
    (L, curves) hold the last count above each (0: below it at all counts), `draws` (RESAMPLES, L, curves) the same in
    each resample. Without levels where the curves share too few counts or no test image has all values. `joint` has the
    numbers of images.
    """

    measure: str
    axis: str
    names: list[str]
    counts: list[int]
    ratios: Array
    levels: Array
    places: Array
    draws: Array = field(repr=False, compare=False)
    joint: Joint = field(repr=False, compare=False)

    def doublings(self, places: Array) -> Array:
        """Places as doublings of N; below all counts is one doubling before the first."""
        return np.asarray(np.log2(np.where(places > 0, places, self.counts[0] / 2)))

    def verdicts(self, order: Order) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
        """(L,) each: where the order holds for the means, where it surely holds, and where it is surely another."""
        points, draws = order(self.doublings(self.places)), order(self.doublings(self.draws))
        holds = np.asarray((points > 0).all(axis=-1))
        if self.joint.units < MIN_UNITS or not len(self.levels):
            return holds, np.zeros_like(holds), np.zeros_like(holds)
        tail = 50 * (1 - LEVEL) / (len(self.counts) - 1)
        sure = np.asarray(holds & (np.percentile(draws, tail, axis=0) > 0).all(axis=-1))
        against = (points < 0) & (np.percentile(draws, 100 - tail / points.shape[-1], axis=0) < 0)
        return holds, sure, np.asarray(against.any(axis=-1))

    def spans(self, where: NDArray[np.bool_]) -> list[str]:
        """'64 to 256' for each curve: its break-downs at these levels."""
        words = []
        for places in self.places[where].T:
            ends = [self.told(places.min()), self.told(places.max())]
            words.append(" to ".join(dict.fromkeys(ends)))
        return words

    def told(self, place: float) -> str:
        """A break-down in words: '64', 'at least 1024' for a curve above the level to the end, 'below 8'."""
        if not place:
            return f"below {self.counts[0]}"
        return f"at least {place:g}" if place == self.counts[-1] else f"{place:g}"

    def interval(self, level: int, curve: int) -> tuple[float, float]:
        """The ends of the 95 % interval of a break-down, as `places` has it."""
        tail = 50 * (1 - LEVEL)
        low, high = np.percentile(self.draws[:, level, curve], [tail, 100 - tail], method="nearest")
        return float(low), float(high)


def common_levels(compared: Mapping[str, Group], measure: str) -> CommonLevels:
    """The break-downs of groups, by their names, over the counts that they share, at common levels.

    Groups on the same test images are resampled together, others independently; the main axis must be of numbers.
    """
    first, *rest = compared.values()
    counts = [count for count in first.done if all(count in group.done for group in rest)]
    points = [(group, count, measure) for group in compared.values() for count in counts]
    start = counts[0] if counts else first.values[0]
    joint = means_at([*points, *((group, start, ORACLES[measure]) for group in compared.values())])
    shape = (len(compared), len(counts))

    def ratios(means: Array) -> Array:
        curves = means[..., : len(points)].reshape(*means.shape[:-1], *shape)
        return np.asarray(curves / means[..., len(points) :, None])

    found = ratios(joint.means)
    levels = np.empty(0)
    if len(counts) >= FEWEST_COUNTS and np.isfinite(found).all():
        reached = round(np.ceil(found.max(axis=1).min() / STEP))
        levels = np.arange(max(1, round(np.ceil(found.min() / STEP))), reached) * STEP
    drawn = ratios(joint.draws) if len(levels) else np.empty((0, *shape))
    places, draws = _last_above(found, counts, levels), _last_above(drawn, counts, levels)
    return CommonLevels(measure, first.axis, list(compared), counts, found, levels, places, draws, joint)


def _last_above(ratios: Array, counts: Sequence[int], levels: Array) -> Array:
    """(..., L, curves): the last of the counts at which (..., curves, counts) ratios are above each level, else 0."""
    values = np.array(counts, dtype=np.float64)
    found = [np.where(ratios > level, values, 0.0).max(axis=-1, initial=0.0) for level in levels]
    return np.stack(found, axis=-2) if found else np.empty((*ratios.shape[:-2], 0, ratios.shape[-2]))


def widest(where: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The longest run of True, the first one of equal length; nothing of nothing."""
    best = np.zeros_like(where)
    ends = np.flatnonzero(np.diff(np.concatenate([[False], where, [False]]).astype(int)))
    runs = [(stop - start, start, stop) for start, stop in zip(ends[::2], ends[1::2], strict=True)]
    if runs:
        _, start, stop = max(runs, key=lambda run: run[0])
        best[start:stop] = True
    return best


def band(levels: Array, where: NDArray[np.bool_]) -> str:
    """'0.97 to 1.01 of the oracle (a band 0.05 wide)' of the widest run, with the whole width where there are more."""
    run = levels[widest(where)]
    more = f", {where.sum() * STEP:.2f} with levels outside it" if where.sum() > len(run) else ""
    ends = " to ".join(dict.fromkeys([f"{run[0]:.2f}", f"{run[-1]:.2f}"]))
    return f"{ends} of the oracle (a band {len(run) * STEP:.2f} wide{more})"


def observed_order(found: CommonLevels) -> tuple[list[int], NDArray[np.bool_]]:
    """The curves in the order in which they break down over most levels, the first to do so first, and where that is.

    Of all orders those that tell most curves apart; curves that break down together stay in the order given.
    """
    ranks = [tuple(np.unique(row, return_inverse=True)[1].tolist()) for row in found.places]
    most = max(len(set(rank)) for rank in ranks)
    telling = [rank for rank in ranks if len(set(rank)) == most]
    commonest = max(dict.fromkeys(telling), key=telling.count)
    where = np.array([rank == commonest for rank in ranks])
    return sorted(range(len(commonest)), key=lambda curve: commonest[curve]), where


@dataclass(frozen=True)
class Together:
    """The curves of a figure, which share `labels`, and their break-downs at common levels by measure."""

    labels: dict[str, Any]
    drawn: list[tuple[Line, Group]]
    found: dict[str, CommonLevels]

    @property
    def any_level(self) -> bool:
        """Whether one of the measures has a level to draw."""
        return any(len(one.levels) for one in self.found.values())


def curves_together(table: pd.DataFrame, axis: str, groups: Sequence[Group]) -> list[Together]:
    """The parts of a study with two curves or more over numbers; `table` is its `study_table`."""
    made = []
    for labels, rows in split(table, axis):
        drawn = pairs(lines(rows, axis), groups, labels)
        if len(drawn) > 1 and all(is_number(value) for _, group in drawn for value in group.values):
            compared = {line.name: group for line, group in drawn}
            made.append(Together(labels, drawn, {measure: common_levels(compared, measure) for measure in PANELS}))
    return made


def describe_common(found: CommonLevels) -> str:
    """The order in which the curves break down, between which levels that is so, and where it is sure."""
    subject = name(found.measure)
    if not len(found.levels):
        return f"There is no level that {subject} of all of them reaches and one falls below."
    places, where = observed_order(found)
    spans, run = found.spans(widest(where)), widest(where)
    words = [f"{spans[curve]} for {found.names[curve]}" for curve in places]
    text = f"At a level of {band(found.levels, where)} the last {symbol(found.axis)} with {subject} above it is "
    text += f"{listing(words)}."
    first = found.places[run][0]
    steps = [(late, early) for early, late in pairwise(places) if first[late] > first[early]]
    if not steps:
        return f"{text} No level tells them apart."
    _, sure, _ = found.verdicts(distances(steps))
    if not sure.any():
        return f"{text} At no level the intervals decide that order."
    return f"{text} The intervals decide that order at {band(found.levels, sure)}."


def distances(steps: Sequence[tuple[int, int]]) -> Order:
    """The distances between pairs of curves, (later, earlier)."""
    later, earlier = (list(places) for places in zip(*steps, strict=True))
    return lambda places: np.asarray(places[..., later] - places[..., earlier])


def common_level_table(made: Sequence[Together]) -> pd.DataFrame:
    """One row per measure, level and curve.

    Columns: `measure`; `level`, a share of the oracle; the labels that the curves of a figure share; `curve`;
    `last_above`, the last value of the main axis above the level (0: below it everywhere), with `low` and `high`, its
    95 % interval; `within`: whether it falls below the level within the study.
    """
    rows = []
    for part in made:
        for measure, found in part.found.items():
            for level, curve in np.ndindex(found.places.shape):
                low, high = found.interval(level, curve)
                place = float(found.places[level, curve])
                row: dict[str, Any] = {"measure": measure, "level": round(float(found.levels[level]), 2), **part.labels}
                row |= {"curve": found.names[curve] or "all cells", "last_above": place, "low": low, "high": high}
                rows.append(row | {"within": place < found.counts[-1]})
    return pd.DataFrame(rows)


def readable_common(found: CommonLevels) -> pd.DataFrame:
    """About ten levels as text, each break-down over its interval."""
    rows = []
    for level in range(0, len(found.levels), max(1, len(found.levels) // 10)):
        row = {f"{name(found.measure)}, share of the oracle": f"{found.levels[level]:.2f}"}
        for curve, label in enumerate(found.names):
            low, high = found.interval(level, curve)
            ends = "" if low == high else f"\n{found.told(low)} to {found.told(high)}"
            row[label] = f"{found.told(found.places[level, curve])}{ends}"
        rows.append(row)
    return pd.DataFrame(rows)


def common_level_figure(part: Together) -> Figure:
    """E_R and the removal share as shares of their oracles against the main axis, and one dashed level for all curves.

    The level is the middle of the widest band in which the curves break down in one order (shaded); a ring marks the
    last value of the main axis at which a curve is above it. A panel without a common level says so.
    """
    values = in_order(value for _, group in part.drawn for value in group.values)
    with house_style():
        figure = new_figure(10, 4.3 + 0.2 * len(part.drawn), h_pad=0.08)
        for ax, (measure, found) in zip(figure.subplots(1, len(part.found)), part.found.items(), strict=True):
            run = widest(observed_order(found)[1]) if len(found.levels) else np.zeros(0, dtype=np.bool_)
            middle = int(np.flatnonzero(run)[run.sum() // 2]) if run.any() else None
            for curve, (line, _) in enumerate(part.drawn):
                last = "" if middle is None else f": {found.told(found.places[middle, curve])}"
                look: dict[str, Any] = {"color": line.colour, "linestyle": line.style, "marker": line.marker}
                ax.plot(found.counts, found.ratios[curve], label=legend_name(f"{line.name}{last}"), zorder=3, **look)
                if middle is not None and 0 < (place := found.places[middle, curve]) < found.counts[-1]:
                    ring = float(found.ratios[curve, found.counts.index(int(place))])
                    ax.plot(place, ring, "o", markersize=10, fillstyle="none", color=line.colour, zorder=4)
            if middle is not None:
                level = float(found.levels[middle])
                ax.axhspan(*found.levels[run][[0, -1]], color=QUIET, alpha=0.15, linewidth=0)
                draw_level(ax, level)
                write_right(ax, number(level, 2), level, QUIET)
            draw_main_axis(ax, found.axis, values)
            ax.set_title(f"{TITLES[measure]}, share of the oracle")
            place_of: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (0, -0.24), "borderaxespad": 0}
            legend = ax.legend(**place_of, frameon=False, fontsize=8.5)
            heading = "no level for all: none that all reach and one falls below"
            if middle is not None:
                heading = f"last {symbol(found.axis)} above the dashed level"
            legend.set_title(heading, {"size": 8.5})
            legend.set_alignment("left")
    return figure
