"""What is drawn of a runtime study: seconds per image of every network, side by side, and beside the published ones."""

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter
from numpy.typing import ArrayLike
from scipy import stats

from slackoff.analysis.axes import INK, MARKERS, QUIET, colours, house_style, new_figure
from slackoff.analysis.cost import MIN_ROUNDS, costs_on
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


def runtime_table(study: MeasurementRecord) -> pd.DataFrame:
    """One row per network and device: seconds, quartiles, ratio with its interval, rounds, the published seconds.

    The fastest network on the first device comes first; what failed there comes last.
    """
    reference, rows = reference_of(study), []
    for device in study.values("device"):
        costs = costs_on(study, device)
        for name, cost in costs.items():
            timed, against = cost.timing, ratio(cost.seconds, costs[reference or name].seconds)
            row = {"network": name, "device": device, "parameters": cost.parameters, "gflops": cost.gflops}
            row |= {"seconds": timed.median, "quartile_1": timed.lower, "quartile_3": timed.upper}
            row |= {"rounds": timed.rounds, "reference": reference or "", "ratio": against.median}
            row |= {"ratio_low": against.low, "ratio_high": against.high, "common_rounds": against.rounds}
            row |= {"published_seconds": known.seconds[device] if (known := published(name)) else math.nan}
            rows.append(row | {"failure": cost.failure})
    table = pd.DataFrame(rows)
    first = table[table["device"] == table["device"][0]].sort_values("seconds", kind="stable")
    order = list(first["network"])
    return table.sort_values("network", key=lambda names: names.map(order.index), kind="stable", ignore_index=True)


def report(study: MeasurementRecord) -> Report:
    """Figure, table and sentences of a runtime record."""
    table, devices, size = runtime_table(study), study.values("device"), int(study.settings["size_px"])
    names, base = list(dict.fromkeys(table["network"])), reference_of(study)
    absent = [row for row in TABLE if row not in map(published, names)]
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
    failed = table[table["failure"] != ""]
    return Report(
        answers=[("", _answer(study, table, device)) for device in devices],
        figures={"runtime": (runtime_figure(table, absent, size), caption)},
        columns=columns,
        rows=[_row(own) for _, own in table.groupby("network", sort=False)] + unmeasured,
        caption=f"Seconds per image of {size} by {size} pixels: median over rounds (quartiles), and ratio to the "
        "reference (95 % interval).",
        terminal_caption="median over rounds; published: other hardware",
        files={"runtime": table},
        notes=[CAVEAT],
        failures=[f"network={one.network} on the {_DEVICES[one.device]}: {one.failure}" for one in failed.itertuples()],
        unmeasured=len(absent),
        page={
            "absent": listing([row.name for row in absent]) if absent else "",
            "reference": base,
            "no_gpu": "cuda" not in devices,
            "hardware": [(_DEVICES[device], study.hardware(device)) for device in devices],
            "papers": [(name, papers[name]) for name in names if papers[name]],
        },
    )


@house_style()
def runtime_figure(table: pd.DataFrame, absent: list[Published], size_px: int) -> Figure:
    """A row per network, seconds on a logarithmic axis: medians with quartiles filled, published seconds hollow."""
    measured = list(dict.fromkeys(table["network"]))
    names = [*measured, *(row.name for row in absent)]
    known = [*map(published, measured), *absent]
    figure = new_figure(8.4, 0.29 * len(names) + 1.5)
    ax = figure.add_subplot()
    handles = []
    for device, marker, colour in zip(_DEVICES, MARKERS, colours(len(_DEVICES)), strict=False):
        drawn = {"marker": marker, "linestyle": "", "mec": colour}
        if device in set(table["device"]):
            _draw_measured(ax, table[table["device"] == device], marker, colour)
            handles.append(Line2D([], [], **drawn, mfc=colour, label=f"{_DEVICES[device]}, here"))
        seconds = [row.seconds[device] if row else math.nan for row in known]
        label = f"{_DEVICES[device]}, published ({PUBLISHED_HARDWARE[device]})"
        ax.plot(seconds, range(len(names)), **drawn, mfc="none", zorder=2)
        handles.append(Line2D([], [], **drawn, mfc="none", label=label))
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.xaxis.set_minor_formatter(LogFormatter())
    ax.margins(x=0.1)
    ax.set_yticks(range(len(names)), names)
    for text in ax.get_yticklabels()[len(measured) :]:
        text.set(color=QUIET, style="italic")
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(True, axis="both")
    ax.set_xlabel(f"seconds per image of {size_px}\N{MULTIPLICATION SIGN}{size_px} px")
    figure.legend(handles=handles, loc="outside upper left", ncols=2, frameon=False, fontsize=8.5)
    return figure


def _draw_measured(ax: Axes, timed: pd.DataFrame, marker: str, colour: object) -> None:
    for row, one in enumerate(timed.itertuples()):
        if math.isnan(one.seconds):
            ax.annotate("failed", (0.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=QUIET)
            continue
        bar = np.nan_to_num([[one.seconds - one.quartile_1], [one.quartile_3 - one.seconds]])
        ax.errorbar(one.seconds, row, xerr=bar, fmt=marker, color=colour, elinewidth=1.2, capsize=2.5, zorder=3)
        place = (np.fmax(one.seconds, one.quartile_3), row)
        beside: dict[str, Any] = {"xytext": (5, 5), "textcoords": "offset points", "va": "center", "color": INK}
        ax.annotate(significant(one.seconds), place, **beside, fontsize=7.5)


def _answer(study: MeasurementRecord, table: pd.DataFrame, device: str) -> str:
    """A sentence with the fastest and the slowest network on a device."""
    seconds = table[(table["device"] == device) & (table["seconds"] > 0)].set_index("network")["seconds"]
    where = f"On the {_DEVICES[device]} ({study.hardware(device)}, torch {study.torch})"
    if seconds.empty:
        return f"{where} no network could be timed."
    fast, slow, costs = str(seconds.idxmin()), str(seconds.idxmax()), costs_on(study, device)
    times = significant(ratio(costs[slow].seconds, costs[fast].seconds).median)
    size = study.settings["size_px"]
    return (
        f"{where} an image of {size}x{size} takes from {significant(seconds[fast])} s ({fast}) to "
        f"{significant(seconds[slow])} s ({slow}, {times} times as long)."
    )


def _row(own: pd.DataFrame) -> list[Entry]:
    """The table's row of one network, of which `own` are the rows."""
    name, parameters, gflops = own["network"].iloc[0], int(own["parameters"].iloc[0]), float(own["gflops"].iloc[0])
    row = [Entry(name), Entry(f"{parameters:,}" if parameters else NO_NUMBER, sort=parameters or "")]
    row.append(Entry(significant(gflops), sort=gflops))
    for one in own.itertuples():
        quartiles = f"{significant(one.quartile_1)} to {significant(one.quartile_3)}, "
        rounds = f"{one.rounds} round{'s' * (one.rounds != 1)}"
        timed = Entry(significant(one.seconds), quartiles * (one.rounds >= MIN_ROUNDS) + rounds, one.seconds)
        row += [Entry("failed", sort="") if one.failure else timed]
        row += [Entry.of(one.ratio, one.ratio_low, one.ratio_high, _times)]
    return [*row, *_published_entries(published(name))]


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
