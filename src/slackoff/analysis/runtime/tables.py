"""The numbers of a runtime study as tables: for files, the page, LaTeX and the terminal."""

import math
from dataclasses import dataclass
from itertools import chain

import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from slackoff.analysis.runtime.published import TABLE, Published, published
from slackoff.analysis.runtime.record import RuntimeStudy, label
from slackoff.analysis.runtime.summary import NetworkSummary, OnDevice, reference_of, summaries
from slackoff.analysis.text import NO_NUMBER, number, warn

FAILED = "failed"
_DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class Entry:
    """A cell of the readable table: its first line, a second one, and a value to sort by."""

    main: str
    note: str = ""
    sort: float | str = ""


def significant(value: float) -> str:
    """A number with three significant digits, never in powers of ten: '0.0251', '104', '1,310'."""
    if not math.isfinite(value) or value <= 0:
        return NO_NUMBER if value else "0"
    places = max(0, 2 - math.floor(math.log10(value)))
    return f"{value:,.{places}f}"


def as_printed(seconds: float) -> str:
    """Published seconds with the digits of the paper."""
    return NO_NUMBER if math.isnan(seconds) else f"{seconds:g}"


def absent_networks(study: RuntimeStudy) -> list[Published]:
    """Rows of the published table of which no preset was measured."""
    measured = {found.name for name in study.networks if (found := published(name))}
    return [row for row in TABLE if row.name not in measured]


def runtime_table(study: RuntimeStudy) -> pd.DataFrame:
    """One row per network and device: seconds, quartiles, ratio with its interval, rounds, the published seconds."""
    rows = []
    reference = reference_of(study)
    for one in summaries(study):
        for device, found in one.devices.items():
            row = {"network": one.name, "device": device, "parameters": one.parameters, "gflops": one.gflops}
            row |= {"seconds": found.timing.median, "quartile_1": found.timing.lower, "quartile_3": found.timing.upper}
            row |= {"rounds": found.timing.rounds, "reference": reference or "", "ratio": found.ratio.median}
            row |= {"ratio_low": found.ratio.low, "ratio_high": found.ratio.high, "common_rounds": found.ratio.rounds}
            row |= {"published_seconds": published_seconds(one.name, device), "failure": found.failure}
            rows.append(row)
    return pd.DataFrame(rows)


def published_seconds(preset: str, device: str) -> float:
    """The published seconds of a preset's network; NaN where there are none."""
    found = published(preset)
    return found.seconds(device) if found else math.nan


def headings(study: RuntimeStudy) -> list[str]:
    """Of the readable table."""
    base = reference_of(study) or "reference"
    measured = [(f"s, {label(device)}", f"ratio to {base}, {label(device)}") for device in study.devices]
    return [
        "network",
        "parameters",
        "GFLOPs",
        *chain(*measured),
        *(f"published s, {label(device)}" for device in _DEVICES),
    ]


def readable(study: RuntimeStudy) -> list[list[Entry]]:
    """The table of the page: the measured networks, then those of the published table that the project has not."""
    rows = []
    for one in summaries(study):
        row = [Entry(one.name), _count(one), Entry(significant(one.gflops), sort=one.gflops)]
        for found in one.devices.values():
            row += [_seconds(found), _ratio(found)]
        rows.append([*row, *_published(published(one.name))])
    blank = [Entry(NO_NUMBER)] * (2 + 2 * len(study.devices))
    return rows + [[Entry(row.name), *blank, *_published(row)] for row in absent_networks(study)]


def to_latex(study: RuntimeStudy) -> str:
    """The readable table for a paper that loads booktabs; all text is escaped."""
    texts = [[f"{entry.main} ({entry.note})" if entry.note else entry.main for entry in row] for row in readable(study)]
    frame = pd.DataFrame(texts, columns=headings(study))
    style = frame.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
    latex = style.to_latex(
        hrules=True,
        column_format="l" + "r" * (len(frame.columns) - 1),
        caption=f"Seconds per image of {study.size_px} by {study.size_px} pixels: median over rounds (quartiles), and "
        "ratio to the reference (95 \\% interval).",
        label=f"tab:{study.name}",
        position_float="centering",
    )
    return str(latex)


def print_table(study: RuntimeStudy, console: Console) -> None:
    """Prints seconds and ratio of each network, and the published seconds."""
    warn(study.size, console)
    shown = Table(
        title=escape(study.title or study.name),
        caption=f"median over rounds; ratio to {reference_of(study)}; published: other hardware",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    shown.add_column("network", no_wrap=True)
    shown.add_column("GFLOPs", justify="right")
    for device in study.devices:
        for heading in (f"s, {label(device)}", "ratio", f"published, {label(device)}"):
            shown.add_column(heading, justify="right")
    for one in summaries(study):
        cells = []
        for device, found in one.devices.items():
            cells += [_seconds(found).main, _ratio(found).main, as_printed(published_seconds(one.name, device))]
        shown.add_row(escape(one.name), significant(one.gflops), *cells)
    console.print(shown)


def _count(one: NetworkSummary) -> Entry:
    return Entry(f"{one.parameters:,}" if one.parameters else NO_NUMBER, sort=one.parameters or "")


def _seconds(found: OnDevice) -> Entry:
    if found.failure:
        return Entry(FAILED)
    timed = found.timing
    rounds = f"{timed.rounds} round{'s' * (timed.rounds != 1)}"
    quartiles = "" if math.isnan(timed.lower) else f"{significant(timed.lower)} to {significant(timed.upper)}, "
    return Entry(significant(timed.median), quartiles + rounds, timed.median)


def _ratio(found: OnDevice) -> Entry:
    ratio = found.ratio
    note = "" if math.isnan(ratio.low) or ratio.low == ratio.high else f"{_times(ratio.low)} to {_times(ratio.high)}"
    return Entry(_times(ratio.median), note, "" if math.isnan(ratio.median) else ratio.median)


def _times(value: float) -> str:
    return number(value, 2) if value < 10 else significant(value)


def _published(row: Published | None) -> list[Entry]:
    """Published seconds on each device, and what multiple that is of the table's own network."""
    entries = []
    for device in _DEVICES:
        seconds = row.seconds(device) if row else math.nan
        multiple = seconds / TABLE[0].seconds(device)
        note = f"{_times(multiple)} times {TABLE[0].name}" if row not in (None, TABLE[0]) and seconds > 0 else ""
        entries.append(Entry(as_printed(seconds), note, "" if math.isnan(seconds) else seconds))
    return entries
