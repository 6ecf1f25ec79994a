"""The figure of a user study: selection percentages as bars, rank-n scores as curves, one colour a method."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from slackoff.analysis.statistics import Interval
from slackoff.analysis.style import INK, MARKERS, QUIET, colours, house_style
from slackoff.analysis.user_study.summary import Summary
from slackoff.analysis.wording import number

_SPREAD = 0.24
"""Width over which the methods stand side by side at one n, so that their intervals do not hide each other."""


def user_study_figure(summary: Summary) -> Figure:
    """Averaged selection percentage (where there are votes) and rank-n scores, each with 95 % intervals."""
    voted = summary.shares is not None
    names = summary.methods
    palette = dict(zip(names, colours(len(names)), strict=True))
    with house_style():
        height = max(3.2, 0.42 * len(names) + 1.2)
        layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)
        figure = Figure(figsize=(10.4 if voted else 6.2, height), layout=layout)
        widths = [1.0, 1.25] if voted else [1.0]
        axes = figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
        if voted:
            _selection(axes[0], summary, palette)
        _ranks(axes[-1], summary, palette)
    return figure


def _selection(ax: Axes, summary: Summary, palette: dict[str, Any]) -> None:
    names = summary.methods
    levels = [summary.selection(name) for name in names]
    means, rows = [level.mean for level in levels], range(len(names))
    ax.barh(rows, means, height=0.62, color=list(palette.values()), zorder=2)
    ax.errorbar(means, rows, xerr=_bars(levels), fmt="none", ecolor=INK, elinewidth=1, capsize=3, zorder=3)
    ends = [level.high if np.isfinite(level.high) else level.mean for level in levels]
    chance = 100 / len(names)
    right = 1.16 * max(*ends, chance)
    for row, level, end in zip(rows, levels, ends, strict=True):
        ax.text(end + 0.02 * right, row, number(level.mean, 1), va="center", fontsize=8.5, color=INK)
    ax.axvline(chance, color=QUIET, linestyle="--", linewidth=1, zorder=1)
    ax.set_xlim(0, right)
    ax.set_yticks(rows, names)
    ax.invert_yaxis()
    ax.grid(False)
    ax.tick_params(axis="y", length=0)
    ax.set_title("Averaged selection percentage")
    ax.set_xlabel(f"% of an image's votes; dashed: by chance ({number(chance, 0)} %)")


def _ranks(ax: Axes, summary: Summary, palette: dict[str, Any]) -> None:
    places = np.array(summary.places)
    offsets = np.linspace(-_SPREAD / 2, _SPREAD / 2, len(palette))
    for position, (name, colour) in enumerate(palette.items()):
        levels = [summary.rank(name, n) for n in places]
        ax.errorbar(
            places + offsets[position],
            [level.mean for level in levels],
            yerr=_bars(levels),
            color=colour,
            marker=MARKERS[position % len(MARKERS)],
            elinewidth=1.1,
            capsize=2.5,
            label=name,
            clip_on=False,
        )
    ax.set_ylim(0, 102)
    ax.set_xticks(places)
    ax.set_title("Rank-n score: among the n best of an image")
    ax.set_xlabel("n")
    ax.set_ylabel("% of images")
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))


def _bars(levels: list[Interval]) -> Any:
    """(2, n) lengths of the error bars; 0 where there is no interval."""
    lengths = [[level.mean - level.low for level in levels], [level.high - level.mean for level in levels]]
    return np.clip(np.nan_to_num(np.array(lengths)), 0, None)
