"""The figures of a complexity study. Each function returns a matplotlib Figure made without pyplot."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from slackoff.analysis.axes import INK, MARKERS, QUIET, Entry, colours, house_style, label_ends, ordered_colours
from slackoff.analysis.complexity.orders import Spectra, Window
from slackoff.analysis.complexity.record import label
from slackoff.analysis.statistics import Interval
from slackoff.analysis.text import number

DECIMALS = 4


def totals(shown: list[tuple[Spectra, Window]]) -> Figure:
    """C of each category with its 95 % interval, a panel for each variant and window, as in Figure 6(b)."""
    with house_style():
        figure = Figure(figsize=(3.6 * len(shown) + 0.4, 3.6), layout=_layout())
        for place, (spectra, window) in enumerate(shown):
            ax = figure.add_subplot(1, len(shown), place + 1)
            names = list(spectra.samples)
            levels = [spectra.level(name, window) for name in names]
            heights = [level.mean for level in levels]
            ax.bar(range(len(names)), heights, width=0.62, color=colours(len(names)), zorder=2)
            ax.errorbar(range(len(names)), heights, yerr=_bars(levels), fmt="none", ecolor=INK, elinewidth=1, capsize=3)
            top = max((level.high if np.isfinite(level.high) else level.mean) for level in levels)
            for at, level in enumerate(levels):
                height = level.high if np.isfinite(level.high) else level.mean
                ax.text(at, height + 0.02 * top, number(level.mean, DECIMALS), ha="center", fontsize=8.5, color=INK)
            ax.set_ylim(0, 1.12 * top or 1)
            ax.set_xticks(range(len(names)), [label(name) for name in names])
            ax.set_title(f"{spectra.variant.name}\nk0 = {window.k0}, K = {window.depth}")
            ax.set_ylabel("C")
    return figure


def scales(found: list[Spectra], filter_size: int) -> Figure:
    """C_k against k with 95 % intervals, a panel a variant: where in scale a category has its contrast."""
    rows = -(-len(found) // 2)
    with house_style():
        figure = Figure(figsize=(5.4 * min(2, len(found)), 3.3 * rows), layout=_layout())
        ends = [
            _draw_scales(figure.add_subplot(rows, min(2, len(found)), place + 1), one, filter_size)
            for place, one in enumerate(found)
        ]
        figure.draw_without_rendering()
        for ax, entries in zip(figure.axes, ends, strict=True):
            label_ends(ax, entries)
    return figure


def ranks(found: list[Spectra]) -> Figure:
    """Rank of each category (1: most complex) for every k0 to the full depth, and where the order is the published one.

    A panel a variant. In the margin '✓' stands for the published order by intervals, '(✓)' for by means only.
    """
    names = list(found[0].samples)
    shades = ListedColormap(ordered_colours(len(names)))
    drawn: dict[str, Any] = {"cmap": shades, "vmin": 0.5, "vmax": len(names) + 0.5, "aspect": "auto"}
    with house_style():
        figure = Figure(figsize=(0.4 + 2.75 * len(found), 0.36 * found[0].scales + 1.2), layout=_layout())
        for place, one in enumerate(found):
            ax = figure.add_subplot(1, len(found), place + 1)
            table = np.array([[one.rank(name, window) for name in names] for window in one.full_windows])
            tied = (table == 1).all(axis=1)
            ax.imshow(np.ma.masked_where(tied[:, None].repeat(len(names), 1), table), **drawn)
            for (k0, column), rank in np.ndenumerate(table):
                colour = "white" if rank <= len(names) / 2 and not tied[k0] else INK
                ax.text(column, k0, "=" if tied[k0] else rank, ha="center", va="center", color=colour, fontsize=9)
            for window in one.full_windows:
                match = one.match(window)
                mark = "" if match is None or not match.by_means else "✓" if match.clear else "(✓)"
                ax.annotate(
                    mark,
                    (1, window.k0),
                    xycoords=("axes fraction", "data"),
                    xytext=(3, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=9,
                    annotation_clip=False,
                )
            ax.set_title(one.variant.name)
            ax.set_xticks(range(len(names)), [label(name) for name in names], rotation=35, ha="right")
            ax.set_yticks(range(one.scales), [f"k0 = {k0}" if place == 0 else "" for k0 in range(one.scales)])
            ax.grid(False)
            ax.tick_params(length=0)
            ax.spines[:].set_visible(False)
    return figure


def _draw_scales(ax: Axes, one: Spectra, filter_size: int) -> list[Entry]:
    """Draws the spectrum of each category; returns where the lines end."""
    ends: list[Entry] = []
    places = np.arange(one.scales)
    for number_, (name, colour) in enumerate(zip(one.samples, colours(len(one.samples)), strict=True)):
        levels = [one.level(name, Window(k, k + 1)) for k in range(one.scales)]
        means = [level.mean for level in levels]
        marker = MARKERS[number_ % len(MARKERS)]
        ax.errorbar(places, means, yerr=_bars(levels), color=colour, marker=marker, elinewidth=1.1, capsize=2.5)
        ends.append((float(places[-1]), means[-1], label(name), colour))
    ax.set_ylim(bottom=0)
    ax.set_xlim(-0.3, one.scales - 1 + 0.24 * one.scales)
    ax.set_xticks(places, [f"{k}\n{filter_size**k}" for k in places])
    ax.set_title(one.variant.name)
    ax.set_ylabel("$C_k$")
    ax.set_xlabel("scale k, and side in px of the blocks that are merged", color=QUIET)
    return ends


def _bars(levels: list[Interval]) -> Any:
    """(2, n) lengths of the error bars; 0 where there is no interval."""
    lengths = [[level.mean - level.low for level in levels], [level.high - level.mean for level in levels]]
    return np.clip(np.nan_to_num(np.array(lengths)), 0, None)


def _layout() -> ConstrainedLayoutEngine:
    return ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)
