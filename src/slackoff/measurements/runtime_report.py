"""What is drawn of a runtime study: seconds per image of every network, side by side, and beside the published ones."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike
from scipy import stats

from slackoff.analysis.axes import INK, MARKERS, QUIET, colours, house_style
from slackoff.analysis.cost import NetworkCost, costs_on
from slackoff.analysis.statistics import LEVEL
from slackoff.analysis.text import NO_NUMBER, listing, number, significant
from slackoff.measurements.study import Column, Entry, Report
from slackoff.record.measurement import MeasurementRecord

PUBLISHED_HARDWARE = {"cpu": "Pentium G645", "cuda": "GTX TITAN X"}
CAVEAT = (
    "The published seconds (MENET, Table III) are from other hardware, a Pentium G645 and a GTX TITAN X, and other "
    "programs, for images of 224x224: ratios between networks can be compared, seconds cannot."
)

_REDUCED = ("_small", "_tiny")
"""Endings of presets that are smaller than the paper's network."""

_DEVICES = {"cpu": "CPU", "cuda": "GPU"}


class Published(NamedTuple):
    """A row of the published table; ``prefix`` begins the names of its presets. NaN where it has no number."""

    name: str
    prefix: str
    seconds: dict[str, float]


TABLE = (
    Published("MENET", "menet", {"cpu": 0.6578, "cuda": 0.0030}),
    Published("DSC", "dsc", {"cpu": 70.43, "cuda": math.nan}),
    Published("DDN", "ddn", {"cpu": 1.8226, "cuda": 0.0084}),
    Published("JORDER-E", "jorder_e", {"cpu": 27.64, "cuda": 0.0151}),
    Published("RESCAN", "rescan", {"cpu": 4.2296, "cuda": 0.0403}),
)
"""Table III of MENET (Fan, Chen, Li; arXiv 2003.09689): seconds per image of 224x224."""


class Ratio(NamedTuple):
    """Median over the common rounds of seconds over the reference's, with its 95 % interval (NaN: too few rounds)."""

    median: float
    low: float
    high: float
    rounds: int


@dataclass(frozen=True)
class Network:
    """A measured network: what it is made of (see ``NetworkCost``), what it costs on each device, the ratio to the
    reference there, and its published row."""

    name: str
    parameters: int
    gflops: float
    costs: dict[str, NetworkCost]
    ratios: dict[str, Ratio]
    published: Published | None


def published(preset: str) -> Published | None:
    """The row of a preset's network; None where there is none, or the preset is a smaller network than the paper's."""
    if preset.endswith(_REDUCED):
        return None
    return next((row for row in TABLE if preset == row.prefix or preset.startswith(f"{row.prefix}_")), None)


def median_interval(values: ArrayLike) -> tuple[float, float]:
    """The 95 % interval of a median from order statistics, without any assumption on the distribution.

    The number of values below the median is binomial (n, 1/2): at either end so many values are left out that the
    coverage is at least 95 %. NaN with fewer than 6 values, of which no such interval exists.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    count = len(ordered)
    tails = stats.binom.cdf(np.arange(count), count, 0.5)
    left_out = int((tails <= (1 - LEVEL) / 2).sum()) - 1
    if left_out < 0:
        return math.nan, math.nan
    return float(ordered[left_out]), float(ordered[count - 1 - left_out])


def ratio(seconds: "pd.Series[float]", reference: "pd.Series[float]") -> Ratio:
    """Seconds over the reference's, round by round; both are indexed by round, and only common rounds count."""
    ratios = (seconds / reference).dropna()
    return Ratio(float(ratios.median()), *median_interval(ratios), len(ratios))


def reference_of(study: MeasurementRecord) -> str | None:
    """The network that ratios refer to: the one asked for, else the fastest on the first device; None if all failed."""
    if study.settings.get("reference") is not None:
        return str(study.settings["reference"])
    costs = costs_on(study, study.values("device")[0])
    medians = {name: cost.timing.median for name, cost in costs.items() if cost.timing.rounds}
    return min(medians, key=lambda name: medians[name]) if medians else None


def networks_of(study: MeasurementRecord) -> list[Network]:
    """Every network, the fastest on the first device first; what failed there stands last."""
    devices = study.values("device")
    costs = {device: costs_on(study, device) for device in devices}
    reference = reference_of(study)
    found = []
    for name in study.values("network"):
        own = {device: costs[device][name] for device in devices}
        ratios = {device: ratio(cost.seconds, costs[device][reference or name].seconds) for device, cost in own.items()}
        first = own[devices[0]]
        found.append(Network(name, first.parameters, first.gflops, own, ratios, published(name)))
    return sorted(found, key=lambda one: (math.isnan(first := one.costs[devices[0]].timing.median), first))


def report(study: MeasurementRecord) -> Report:
    """Figure, table and sentences of a runtime record."""
    found, devices = networks_of(study), study.values("device")
    measured = [one.published for one in found]
    absent = [row for row in TABLE if row not in measured]
    size, base = int(study.settings["size_px"]), reference_of(study)
    papers = study.rows.groupby("network")["paper"].max()
    caption = "Medians over the rounds, bars: quartiles. Hollow: the published seconds of the same network, on other "
    caption += "hardware."
    caption += " In italics: networks of the published table that are not measured here." if absent else ""
    columns = [Column("network", text=True), Column("parameters", wide=True), Column("GFLOPs")]
    for device in devices:
        columns += [Column(f"s, {_DEVICES[device]}"), Column(f"ratio to {base or 'reference'}, {_DEVICES[device]}")]
    columns += [Column(f"published s, {name}") for name in _DEVICES.values()]
    blank = [Entry(NO_NUMBER, sort="")] * (2 + 2 * len(devices))
    unmeasured = [[Entry(row.name), *blank, *_published_entries(row)] for row in absent]
    return Report(
        answers=[("", _answer(study, found, device)) for device in devices],
        figures={"runtime": (runtime_figure(found, absent, size), caption)},
        columns=columns,
        rows=[_row(one) for one in found] + unmeasured,
        caption=f"Seconds per image of {size} by {size} pixels: median over rounds (quartiles), and ratio to the "
        "reference (95 % interval).",
        terminal_caption="median over rounds; published: other hardware",
        files={"runtime": runtime_table(found, base)},
        notes=[CAVEAT],
        failures=[
            f"network={one.name} on the {_DEVICES[device]}: {cost.failure}"
            for one in found
            for device, cost in one.costs.items()
            if cost.failure
        ],
        unmeasured=len(absent),
        page={
            "absent": listing([row.name for row in absent]) if absent else "",
            "reference": base,
            "no_gpu": "cuda" not in devices,
            "hardware": [(_DEVICES[device], study.hardware(device)) for device in devices],
            "papers": [(one.name, papers[one.name]) for one in found if papers[one.name]],
        },
    )


def runtime_table(found: list[Network], reference: str | None) -> pd.DataFrame:
    """One row per network and device: seconds, quartiles, ratio with its interval, rounds, the published seconds."""
    rows = []
    for one in found:
        for device, cost in one.costs.items():
            timed, against = cost.timing, one.ratios[device]
            row = {"network": one.name, "device": device, "parameters": one.parameters, "gflops": one.gflops}
            row |= {"seconds": timed.median, "quartile_1": timed.lower, "quartile_3": timed.upper}
            row |= {"rounds": timed.rounds, "reference": reference or "", "ratio": against.median}
            row |= {"ratio_low": against.low, "ratio_high": against.high, "common_rounds": against.rounds}
            row |= {"published_seconds": one.published.seconds[device] if one.published else math.nan}
            rows.append(row | {"failure": cost.failure})
    return pd.DataFrame(rows)


@house_style()
def runtime_figure(found: list[Network], absent: list[Published], size_px: int) -> Figure:
    """A row per network, seconds on a logarithmic axis: medians with quartiles filled, published seconds hollow."""
    names = [*(one.name for one in found), *(row.name for row in absent)]
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)
    figure = Figure(figsize=(8.4, 0.29 * len(names) + 1.5), layout=layout)
    ax = figure.add_subplot()
    handles = []
    published = [one.published for one in found] + absent
    for device, marker, colour in zip(_DEVICES, MARKERS, colours(len(_DEVICES)), strict=False):
        drawn = {"marker": marker, "linestyle": "", "mec": colour}
        if device in found[0].costs:
            _draw_measured(ax, [one.costs[device] for one in found], marker, colour)
            handles.append(Line2D([], [], **drawn, mfc=colour, label=f"{_DEVICES[device]}, here"))
        seconds = [row.seconds[device] if row else math.nan for row in published]
        label = f"{_DEVICES[device]}, published ({PUBLISHED_HARDWARE[device]})"
        ax.plot(seconds, range(len(names)), **drawn, mfc="none", zorder=2)
        handles.append(Line2D([], [], **drawn, mfc="none", label=label))
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.margins(x=0.1)
    ax.set_yticks(range(len(names)), names)
    for text in ax.get_yticklabels()[len(found) :]:
        text.set(color=QUIET, style="italic")
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(True, axis="both")
    ax.set_xlabel(f"seconds per image of {size_px}\N{MULTIPLICATION SIGN}{size_px} px")
    figure.legend(handles=handles, loc="outside upper left", ncols=2, frameon=False, fontsize=8.5)
    return figure


def _draw_measured(ax: Axes, costs: list[NetworkCost], marker: str, colour: object) -> None:
    for row, timed in enumerate(cost.timing for cost in costs):
        if math.isnan(timed.median):
            ax.annotate("failed", (0.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=QUIET)
            continue
        bar = np.nan_to_num([[timed.median - timed.lower], [timed.upper - timed.median]])
        ax.errorbar(timed.median, row, xerr=bar, fmt=marker, color=colour, elinewidth=1.2, capsize=2.5, zorder=3)
        place = (np.fmax(timed.median, timed.upper), row)
        beside: dict[str, Any] = {"xytext": (5, 5), "textcoords": "offset points", "va": "center", "color": INK}
        ax.annotate(significant(timed.median), place, **beside, fontsize=7.5)


def _answer(study: MeasurementRecord, found: list[Network], device: str) -> str:
    """A sentence with the fastest and the slowest network on a device."""
    costs = {one.name: one.costs[device] for one in found if one.costs[device].timing.median > 0}
    where = f"On the {_DEVICES[device]} ({study.hardware(device)}, torch {study.torch})"
    if not costs:
        return f"{where} no network could be timed."
    fast = min(costs, key=lambda name: costs[name].timing.median)
    slow = max(costs, key=lambda name: costs[name].timing.median)
    least, most = (significant(costs[name].timing.median) for name in (fast, slow))
    times = significant(ratio(costs[slow].seconds, costs[fast].seconds).median)
    size = study.settings["size_px"]
    return (
        f"{where} an image of {size}x{size} takes from {least} s ({fast}) to {most} s ({slow}, {times} times as long)."
    )


def _row(one: Network) -> list[Entry]:
    parameters = Entry(f"{one.parameters:,}" if one.parameters else NO_NUMBER, sort=one.parameters or "")
    row = [Entry(one.name), parameters, Entry(significant(one.gflops), sort=one.gflops)]
    for device, cost in one.costs.items():
        against = one.ratios[device]
        row += [_seconds_entry(cost), Entry.of(against.median, against.low, against.high, _times)]
    return [*row, *_published_entries(one.published)]


def _seconds_entry(cost: NetworkCost) -> Entry:
    if cost.failure:
        return Entry("failed", sort="")
    timed = cost.timing
    rounds = f"{timed.rounds} round{'s' * (timed.rounds != 1)}"
    quartiles = "" if math.isnan(timed.lower) else f"{significant(timed.lower)} to {significant(timed.upper)}, "
    return Entry(significant(timed.median), quartiles + rounds, timed.median)


def _published_entries(row: Published | None) -> list[Entry]:
    """Published seconds on each device, and what multiple that is of the table's own network."""
    entries = []
    for device in _DEVICES:
        if row is None or math.isnan(seconds := row.seconds[device]):
            entries.append(Entry(NO_NUMBER, sort=""))
        else:
            note = f"{_times(seconds / TABLE[0].seconds[device])} times {TABLE[0].name}" if row is not TABLE[0] else ""
            entries.append(Entry(f"{seconds:g}", note, seconds))
    return entries


def _times(value: float) -> str:
    return number(value, 2) if value < 10 else significant(value)
