"""The figure of a runtime study: seconds per image of every network, measured and published."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from slackoff.analysis.axes import INK, MARKERS, QUIET, colours, house_style
from slackoff.analysis.runtime.published import HARDWARE
from slackoff.analysis.runtime.record import RuntimeStudy, label
from slackoff.analysis.runtime.summary import NetworkSummary, summaries
from slackoff.analysis.runtime.tables import absent_networks, published_seconds, significant

_DEVICES = ("cpu", "cuda")


def runtime_figure(study: RuntimeStudy) -> Figure:
    """A row per network, seconds on a logarithmic axis: medians with quartiles filled, published seconds hollow."""
    found, absent = summaries(study), absent_networks(study)
    names = [one.name for one in found] + [row.name for row in absent]
    with house_style():
        layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)
        figure = Figure(figsize=(8.4, 0.29 * len(names) + 1.5), layout=layout)
        ax = figure.add_subplot()
        handles = []
        for device, marker, colour in zip(_DEVICES, MARKERS, colours(len(_DEVICES)), strict=False):
            if device in study.devices:
                _draw_measured(ax, found, device, marker, colour)
                handles.append(_handle(marker, colour, True, f"{label(device)}, here"))
            seconds = [published_seconds(one.name, device) for one in found] + [row.seconds(device) for row in absent]
            ax.plot(seconds, range(len(names)), marker=marker, mfc="none", mec=colour, linestyle="", zorder=2)
            handles.append(_handle(marker, colour, False, f"{label(device)}, published ({HARDWARE[device]})"))
        _dress(ax, names, len(found))
        ax.set_xlabel(f"seconds per image of {study.size_px}\N{MULTIPLICATION SIGN}{study.size_px} px")
        figure.legend(handles=handles, loc="outside upper left", ncols=2, frameon=False, fontsize=8.5)
    return figure


def _dress(ax: Axes, names: list[str], measured: int) -> None:
    """Names of the rows, those that are only published in italics, and a logarithmic axis in plain numbers."""
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.margins(x=0.1)
    ax.set_yticks(range(len(names)), names)
    for text in ax.get_yticklabels()[measured:]:
        text.set(color=QUIET, style="italic")
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(True, axis="both")


def _draw_measured(ax: Axes, found: list[NetworkSummary], device: str, marker: str, colour: object) -> None:
    rows, medians, bars = [], [], []
    for row, one in enumerate(found):
        timed = one.devices[device].timing
        if math.isnan(timed.median):
            ax.annotate("failed", (0.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=QUIET)
            continue
        rows.append(row)
        medians.append(timed.median)
        bars.append([timed.median - timed.lower, timed.upper - timed.median])
        beside = {"xytext": (5, 5), "textcoords": "offset points", "va": "center", "fontsize": 7.5, "color": INK}
        ax.annotate(significant(timed.median), (np.fmax(timed.median, timed.upper), row), **beside)  # type: ignore[arg-type]
    if rows:
        lengths = np.nan_to_num(np.array(bars).T)
        ax.errorbar(medians, rows, xerr=lengths, fmt=marker, color=colour, elinewidth=1.2, capsize=2.5, zorder=3)


def _handle(marker: str, colour: object, filled: bool, text: str) -> Line2D:
    return Line2D([], [], marker=marker, linestyle="", mec=colour, mfc=colour if filled else "none", label=text)
