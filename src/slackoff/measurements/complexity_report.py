"""What is drawn of a complexity study: its figures, its table, and what its page says beside them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from slackoff.analysis.axes import (
    INK,
    MARKERS,
    QUIET,
    bars,
    colours,
    house_style,
    label_ends,
    new_figure,
    ordered_colours,
)
from slackoff.analysis.axes import Entry as EndLabel
from slackoff.analysis.page import photo_uri
from slackoff.analysis.statistics import Interval
from slackoff.analysis.text import number
from slackoff.measurements.complexity_orders import (
    ANSWER,
    NOT_CLEAR,
    Spectra,
    Window,
    check,
    has_every_scale,
    label,
    order_text,
    spectra,
    worth_showing,
)
from slackoff.measurements.study import Column, Entry, Report
from slackoff.record.measurement import MeasurementRecord

_DECIMALS = 4


def report(study: MeasurementRecord) -> Report:
    """Orders, claims, figures and tables of a complexity record."""
    found = spectra(study.rows)
    claims = check(study, found)
    answers = [claim for claim in claims if claim.id == ANSWER]
    categories = []
    for name, sample in found[0].samples.items():
        pictures = [photo_uri(path) for path in sorted((study.folder / "patches" / name).glob("*.png"))]
        root = study.settings.get("categories", {}).get(name, {}).get("root", "")
        categories.append({"label": label(name), "root": root, "sample": sample, "pictures": pictures})
    return Report(
        answers=[(claim.verdict, claim.sentence) for claim in answers],
        figures=_figures(found, study),
        columns=[
            Column("Patches", text=True),
            Column("k0", text=True),
            *(Column(label(name)) for name in found[0].samples),
            Column("Order", text=True, wide=True),
        ],
        rows=[_row(one, window) for one in found for window in one.full_windows],
        caption="Multi-scale structural complexity: mean over patches, 95 % bootstrap interval over photographs.",
        terminal_caption=f"mean C over patches, scales k0 to the full depth; {NOT_CLEAR}: within the 95 % interval",
        files={"windows": windows_table(found), "scales": scales_table(found)},
        claims=claims,
        page={
            "scope": answers[0].scope,
            "categories": categories,
            "comparable": bool(found[0].matches),
            "scales": found[0].scales,
        },
    )


def windows_table(found: Sequence[Spectra]) -> pd.DataFrame:
    """One row per variant, window and category: C with its interval, its rank, and how the published order stands.

    ``published_order`` is 'clear', 'by means' or 'no' for the window as a whole; empty where not all its categories
    were measured.
    """
    rows = []
    for one in found:
        for window in one.windows:
            match = one.matches.get(window)
            verdict = "clear" if match and match.clear else "by means" if match and match.by_means else "no"
            for name, sample in one.samples.items():
                row = {"colour": one.colour, "normalised": one.normalised, "k0": window.k0, "K": window.depth}
                row |= {"category": name, **_bounds("c", one.level(name, window)), "rank": one.rank(name, window)}
                row |= {"published_order": verdict if match else ""}
                rows.append(row | {"patches": sample.images, "photographs": sample.units})
    return pd.DataFrame(rows)


def scales_table(found: Sequence[Spectra]) -> pd.DataFrame:
    """C_k with its interval, one row per variant, category and scale."""
    return pd.DataFrame(
        {"colour": one.colour, "normalised": one.normalised, "category": name, "k": k}
        | _bounds("c_k", one.level(name, Window(k, k + 1)))
        for one in found
        for name in one.samples
        for k in range(one.scales)
    )


@house_style()
def totals_figure(shown: Sequence[tuple[Spectra, Window]]) -> Figure:
    """C of each category with its 95 % interval, a panel for each variant and window, as in Figure 6(b)."""
    figure = new_figure(3.6 * len(shown) + 0.4, 3.6)
    for place, (one, window) in enumerate(shown):
        ax = figure.add_subplot(1, len(shown), place + 1)
        names, places = list(one.samples), range(len(one.samples))
        levels = [one.level(name, window) for name in names]
        heights, tops = [level.mean for level in levels], [np.fmax(level.high, level.mean) for level in levels]
        ax.bar(places, heights, width=0.62, color=colours(len(names)), zorder=2)
        ax.errorbar(places, heights, yerr=_bars(levels), fmt="none", ecolor=INK, elinewidth=1, capsize=3)
        for at, (level, top) in enumerate(zip(levels, tops, strict=True)):
            text = number(level.mean, _DECIMALS)
            ax.text(at, top + 0.02 * max(tops), text, ha="center", fontsize=8.5, color=INK)
        ax.set_ylim(0, 1.12 * max(tops) or 1)
        ax.set_xticks(places, [label(name) for name in names])
        ax.set_title(f"{one.variant}\nk0 = {window.k0}, K = {window.depth}")
        ax.set_ylabel("C")
    return figure


@house_style()
def scales_figure(found: Sequence[Spectra], filter_size: int) -> Figure:
    """C_k against k with 95 % intervals, a panel a variant: where in scale a category has its contrast."""
    columns = min(2, len(found))
    rows = -(-len(found) // 2)
    figure = new_figure(5.4 * columns, 3.3 * rows)
    axes = [figure.add_subplot(rows, columns, place + 1) for place in range(len(found))]
    ends = [_draw_scales(ax, one, filter_size) for ax, one in zip(axes, found, strict=True)]
    figure.draw_without_rendering()
    for ax, entries in zip(axes, ends, strict=True):
        label_ends(ax, entries)
    return figure


@house_style()
def ranks_figure(found: Sequence[Spectra]) -> Figure:
    """Rank of each category (1: most complex) for every k0 to the full depth, and where the order is the published one.

    A panel a variant. In the margin '✓' stands for the published order by intervals, '(✓)' for by means only.
    """
    names = list(found[0].samples)
    shades = ListedColormap(ordered_colours(len(names)))
    drawn: dict[str, Any] = {"cmap": shades, "vmin": 0.5, "vmax": len(names) + 0.5, "aspect": "auto"}
    margin: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "xytext": (3, 0), "textcoords": "offset points"}
    figure = new_figure(0.4 + 2.75 * len(found), 0.36 * found[0].scales + 1.2)
    for place, one in enumerate(found):
        ax = figure.add_subplot(1, len(found), place + 1)
        table = np.array([[one.rank(name, window) for name in names] for window in one.full_windows])
        tied = (table == 1).all(axis=1)
        ax.imshow(np.ma.masked_where(tied[:, None].repeat(len(names), 1), table), **drawn)
        for (k0, column), rank in np.ndenumerate(table):
            colour = "white" if rank <= len(names) / 2 and not tied[k0] else INK
            ax.text(column, k0, "=" if tied[k0] else rank, ha="center", va="center", color=colour, fontsize=9)
        for window in one.full_windows:
            match = one.matches.get(window)
            mark = "" if match is None or not match.by_means else "✓" if match.clear else "(✓)"
            ax.annotate(mark, (1, window.k0), **margin, va="center", fontsize=9, annotation_clip=False)
        ax.set_title(one.variant)
        ax.set_xticks(range(len(names)), [label(name) for name in names], rotation=35, ha="right")
        ax.set_yticks(range(one.scales), [f"k0 = {k0}" if place == 0 else "" for k0 in range(one.scales)])
        ax.grid(False)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    return figure


def _figures(found: list[Spectra], study: MeasurementRecord) -> dict[str, tuple[Figure, str]]:
    shown = worth_showing(found)
    half = ", where C is half the variance" if has_every_scale(study) else ""
    totals = f"Mean C over the patches with 95 % intervals; first over all scales measured{half}."
    if len(shown) > 1:
        totals += " The other panels show, without and with normalisation, the window to the full depth that comes "
        totals += "nearest to the published order; it was searched for."
    scales = "C_k, the contrast that is lost when blocks of the given side are merged into larger ones, with 95 % "
    scales += "intervals. C is the sum over the scales from k0 on."
    ranks = "Rank by mean C from k0 to the full depth, 1 the most complex; '=': all equal, whatever the images."
    if found[0].matches:
        ranks += " ✓: the published order, each step clear; (✓): the order of the means only."
    return {
        "totals": (totals_figure(shown), totals),
        "scales": (scales_figure(found, int(study.settings["filter_size"])), scales),
        "ranks": (ranks_figure(found), ranks),
    }


def _draw_scales(ax: Axes, one: Spectra, filter_size: int) -> list[EndLabel]:
    """Draws the spectrum of each category; returns where the lines end."""
    ends: list[EndLabel] = []
    places = np.arange(one.scales)
    for count, (name, colour) in enumerate(zip(one.samples, colours(len(one.samples)), strict=True)):
        levels = [one.level(name, Window(k, k + 1)) for k in range(one.scales)]
        means = [level.mean for level in levels]
        marker = MARKERS[count % len(MARKERS)]
        ax.errorbar(places, means, yerr=_bars(levels), color=colour, marker=marker, elinewidth=1.1, capsize=2.5)
        ends.append((float(places[-1]), means[-1], label(name), colour))
    ax.set_ylim(bottom=0)
    ax.set_xlim(-0.3, one.scales - 1 + 0.24 * one.scales)
    ax.set_xticks(places, [f"{k}\n{filter_size**k}" for k in places])
    ax.set_title(one.variant)
    ax.set_ylabel("$C_k$")
    ax.set_xlabel("scale k, and side in px of the blocks that are merged", color=QUIET)
    return ends


def _row(one: Spectra, window: Window) -> list[Entry]:
    levels = (one.level(name, window) for name in one.samples)
    entries = [Entry.of(level.mean, level.low, level.high, lambda c: number(c, _DECIMALS)) for level in levels]
    return [Entry(one.variant), Entry(str(window.k0)), *entries, Entry(order_text(one, window))]


def _bars(levels: Sequence[Interval]) -> Any:
    """(2, n) lengths of the error bars."""
    return bars(pd.DataFrame([_bounds("c", level) for level in levels]), "c")


def _bounds(name: str, level: Interval) -> dict[str, float]:
    return {name: level.mean, f"{name}_low": level.low, f"{name}_high": level.high}
