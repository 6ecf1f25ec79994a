"""What a study cost, device-hours and seconds per cell; what its networks cost; and quality against that.

Quality against cost is for studies whose main axis is the network and which kept what networks cost: each network once
on each test set, over all settings in which it was trained. The settings (ranges of rain, numbers of patches) are taken
as they are: a mean over them weighs them alike, and its interval is over the test images only.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from rich.console import Console

from slackoff.analysis.axes import INK, QUIET, TITLES, colours, draw_level, house_style, label_points, new_figure
from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import TEST_SET, Group, by_test_set, groups
from slackoff.analysis.statistics import joint_means, non_dominated
from slackoff.analysis.tables import (
    DO_NOTHING,
    ORACLES,
    heading,
    interval_columns,
    measures_of,
    print_text,
    row_entry,
    shown_measures,
    untouched_columns,
)
from slackoff.analysis.text import NO_NUMBER, decimals, name, number, quantity, significant
from slackoff.metrics.columns import COLUMNS
from slackoff.record.measurement import MeasurementRecord, load_measurement

NETWORK_COSTS = "network_costs"
"""The folder beside study.json in which a sweep keeps what its networks cost."""

MIN_ROUNDS = 3
"""Fewest rounds of which quartiles are given."""


@dataclass(frozen=True)
class Cost:
    """`device_hours`: training and evaluation of all cells added up; `wall_hours`: from the first start to
    the last end, NaN while nothing has ended or where a clock was set back between the two; `per_cell`: one row per
    cell, seconds and training steps per second."""

    device_hours: float
    wall_hours: float
    per_cell: pd.DataFrame


class Timing(NamedTuple):
    """Seconds per image over the rounds: median and quartiles; NaN where there are too few rounds."""

    median: float
    lower: float
    upper: float
    rounds: int


@dataclass(frozen=True)
class NetworkCost:
    """What one network costs on one device.

    `parameters`: 0 where unknown. `gflops`: 1e9 operations for one image, a multiply-add is two; NaN where unknown.
    `timing`: seconds per image, NaN where timing it failed, and `failure` says why. `seconds`: those of each timed
    round, by round.
    """

    parameters: int
    gflops: float
    timing: Timing
    seconds: "pd.Series[float]"
    failure: str = ""


@dataclass(frozen=True)
class NetworkCosts:
    """The costs by network, for square RGB images of `size_px` one at a time, on the machine that `hardware` names."""

    networks: dict[str, NetworkCost]
    size_px: int
    hardware: str


def cost(frames: Frames) -> Cost:
    """The cost of a study as its cells' status files state it; cells without a status count nothing."""
    cells = frames.cells
    seconds = cells["train_seconds"].fillna(0) + cells["evaluate_seconds"].fillna(0)
    span = cells["finished_at"].max() - cells["started_at"].min()
    columns = ["id", *frames.study.axes, "state", "attempts", "step", "steps_total"]
    times = ["train_seconds", "evaluate_seconds", "seconds_to_first_step"]
    per_cell = cells[[*columns, *times]].copy()
    per_cell["steps_per_second"] = cells["step"] / cells["train_seconds"].where(cells["train_seconds"] > 0)
    wall_hours = span.total_seconds() / 3600
    return Cost(float(seconds.sum()) / 3600, wall_hours if wall_hours >= 0 else math.nan, per_cell)


def timing(seconds: ArrayLike) -> Timing:
    """Median and quartiles (linear between ranks) of the seconds of all rounds."""
    values = np.asarray(seconds, dtype=np.float64)
    if not len(values):
        return Timing(math.nan, math.nan, math.nan, 0)
    lower, upper = np.percentile(values, [25, 75]) if len(values) >= MIN_ROUNDS else (math.nan, math.nan)
    return Timing(float(np.median(values)), float(lower), float(upper), len(values))


def costs_on(record: MeasurementRecord, device: str) -> dict[str, NetworkCost]:
    """What each network of a runtime record costs on 'cpu' or 'cuda', in the order in which they were measured."""
    found = {}
    for network, own in record.rows.groupby("network", sort=False):
        rows = own[own["device"] == device]
        seconds = rows[rows["failure"] == ""].set_index("round")["seconds"]
        failure = next(iter(rows.loc[rows["failure"] != "", "failure"]), "")
        numbers = int(own["parameters"].max()), float(own["gflops"].max())
        found[str(network)] = NetworkCost(*numbers, timing(seconds), seconds, str(failure))
    return found


def network_costs(folder: Path) -> NetworkCosts | None:
    """The costs that were kept in a study's folder; None where none were.

    Raises:
        SlackoffError: their record is damaged.
    """
    if not (folder / NETWORK_COSTS).exists():
        return None
    record = load_measurement(folder / NETWORK_COSTS)
    [device] = record.values("device")
    return NetworkCosts(costs_on(record, device), int(record.settings["size_px"]), record.hardware(device))


NETWORK = "network"


def quality_cost_table(frames: Frames) -> pd.DataFrame:
    """One row per test set and network, the rainy input first; empty for a study that kept no costs.

    Columns: `test set`; `network`; `parameters`, `gflops` and `seconds` per image (median; quartiles in `seconds_low`
    and `seconds_high`), NaN where unknown; `done` of `settings`; then each measure m as m, m_low and m_high (mean over
    settings and test images, 95 % interval over the images), m_worst and m_best (the settings' means), and m_oracle,
    what the perfect output has, after E_R and the removal share; `front`: whether no faster network has a better mean
    of PSNR.
    """
    costs = network_costs(frames.study.folder) if frames.study.axis == NETWORK else None
    if costs is None or not len(frames.images):
        return pd.DataFrame()
    shown = shown_measures(frames.images)
    rows: list[dict[str, Any]] = []
    for _, found in by_test_set(groups(frames)):
        test_set = next(group.test_set for group in found if group.test_set)
        networks = dict.fromkeys(str(name) for group in found for name in group.values)
        of_set = [_input_row(found, shown), *(_row(name, found, costs, shown) for name in networks)]
        rows += [{TEST_SET: test_set, **row} for row in of_set]
    table = pd.DataFrame(rows)
    table["front"] = False
    fidelity = headline(table)[1]
    for _, placed in table.dropna(subset=["seconds", fidelity]).groupby(TEST_SET):
        table.loc[placed.index, "front"] = non_dominated(
            placed[fidelity].to_numpy(float), placed["seconds"].to_numpy(float)
        )
    return table


def headline(table: pd.DataFrame) -> tuple[str, str]:
    """The two measures that are drawn against the cost: what is removed, and fidelity."""
    return "removal_share", next(column for column in ("psnr_rgb", "psnr_y") if column in table)


def _row(name: str, found: Sequence[Group], costs: NetworkCosts, shown: Sequence[str]) -> dict[str, Any]:
    done = [group for group in found if name in group.done]
    columns = ("parameters", "gflops", "seconds", "seconds_low", "seconds_high")
    known = costs.networks.get(name)
    values = (known.parameters, known.gflops, *known.timing[:3]) if known else [math.nan] * len(columns)
    row: dict[str, Any] = {NETWORK: name, **dict(zip(columns, values, strict=True))}
    row |= {"done": len(done), "settings": len(found)}
    for measure in shown:
        row |= _over_settings(measure, name, done)
    return row


def _over_settings(measure: str, name: str, done: Sequence[Group]) -> dict[str, float]:
    """The columns of one measure of a network; an image that misses a value in one setting is left out of all."""
    if not done:
        ends = ("", "_low", "_high", "_worst", "_best", *["_oracle"] * (measure in ORACLES))
        return dict.fromkeys([f"{measure}{end}" for end in ends], math.nan)
    joint = joint_means([group.table(name, measure) for group in done], done[0].sources)
    worst, best = float(joint.means.min()), float(joint.means.max())
    if COLUMNS[measure].better == "lower":
        worst, best = best, worst
    columns = interval_columns(measure, joint.interval(lambda means: means.mean(axis=-1)))
    columns |= {f"{measure}_worst": worst, f"{measure}_best": best}
    if measure in ORACLES:
        columns[f"{measure}_oracle"] = done[0].level(name, ORACLES[measure]).mean
    return columns


def _input_row(found: Sequence[Group], shown: Sequence[str]) -> dict[str, Any]:
    """The output that does nothing: removes nothing, costs nothing, and has the PSNR and SSIM of the input."""
    row = {NETWORK: DO_NOTHING, "parameters": math.nan, "gflops": math.nan, "seconds": math.nan}
    return row | untouched_columns(next(group for group in found if group.done), shown)


def quality_cost_figure(table: pd.DataFrame, costs: NetworkCosts) -> Figure:
    """A column per test set, a row per measure; `table` is a ``quality_cost_table``.

    A dot is the mean over all settings, the line through it reaches from the worst setting to the best, and its area
    grows with the number of parameters. The steps are the front of PSNR: no faster network has as high a mean. Dashed:
    the untouched input. Networks without seconds or results are left out; the table has them.
    """
    test_sets = list(table[TEST_SET].unique())
    with house_style():
        figure = new_figure(1.6 + 5.2 * len(test_sets), 8.4)
        axes = figure.subplots(2, len(test_sets), squeeze=False, sharex=True)
        for column, test_set in enumerate(test_sets):
            rows = table[table[TEST_SET] == test_set]
            for ax, measure in zip(axes[:, column], headline(table), strict=True):
                _draw(ax, rows, measure)
                ax.set_title(f"{TITLES[measure]}, {test_set}")
                unit = COLUMNS[measure].unit
                ax.set_ylabel(f"mean over the settings{f' ({unit})' if unit else ''}" if column == 0 else "")
            axes[-1, column].set_xlabel(
                f"seconds per image of {costs.size_px}\N{MULTIPLICATION SIGN}{costs.size_px} px"
            )
        figure.draw_without_rendering()
        for (row, column), ax in np.ndenumerate(axes):
            measure = headline(table)[row]
            found = _drawable(table[table[TEST_SET] == test_sets[column]], measure)
            entries = [(row["seconds"], row[measure], row[NETWORK], INK) for _, row in found.iterrows()]
            label_points(ax, entries, distances=(6, 14, 24, 34), inside=True)
    return figure


def _draw(ax: Axes, rows: pd.DataFrame, measure: str) -> None:
    found = _drawable(rows, measure)
    seconds, (colour, front) = found["seconds"], colours(2)
    areas = 16 + 60 * np.sqrt(found["parameters"].fillna(0) / max(found["parameters"].max(), 1))  # square points
    ax.vlines(seconds, found[f"{measure}_worst"], found[f"{measure}_best"], color=QUIET, linewidth=0.9, alpha=0.7)
    ax.scatter(seconds, found[measure], s=areas, color=colour, edgecolor="white", linewidth=0.6, zorder=3)
    if measure != "removal_share":  # more than all of it is not better
        ordered = found.sort_values("seconds", kind="stable")
        best = ordered[ordered[measure] > ordered[measure].cummax().shift(fill_value=-np.inf)]
        x, y = [*best["seconds"], seconds.max()], [*best[measure], best[measure].max()]
        ax.plot(x, y, drawstyle="steps-post", color=front, linewidth=1.1, alpha=0.8, zorder=2)
    untouched = rows.loc[rows[NETWORK] == DO_NOTHING, measure]
    draw_level(ax, float(untouched.iloc[0]))
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.margins(x=0.2, y=0.12)
    ax.grid(True, axis="both")


def _drawable(rows: pd.DataFrame, measure: str) -> pd.DataFrame:
    return rows.dropna(subset=["seconds", measure])


def quality_cost_caption(costs: NetworkCosts, settings: int) -> str:
    """What dots, lines and steps are, and where the seconds come from."""
    over = f"the {settings} settings" if settings > 1 else "the one setting"
    return (
        f"A dot is a network: its mean over {over} and the test images; the line reaches from its worst setting to its "
        "best. The larger a dot, the more parameters. The steps are the highest PSNR that so many seconds buy. Dashed: "
        f"the untouched input. Seconds: one image of {costs.size_px} px a side at a time, {costs.hardware}, networks "
        "in turn, median of the rounds. Also as tables/quality_cost.csv."
    )


def quality_cost_answers(table: pd.DataFrame) -> list[str]:
    """For each test set: which network removes most, which has the best PSNR, how many are better than the input."""
    found = []
    for test_set, rows in table.groupby(TEST_SET, sort=False):
        networks = rows[rows[NETWORK] != DO_NOTHING]
        _, fidelity = headline(table)
        untouched = float(rows.loc[rows[NETWORK] == DO_NOTHING, fidelity].iloc[0])
        more = f"{int((networks[fidelity] > untouched).sum())} of {networks[fidelity].notna().sum()} networks have more"
        found.append(
            f"On {test_set}, {_most_removed(networks)}, and {_best(networks, fidelity)}, where the untouched input has "
            f"{number(untouched, decimals(fidelity))}; {more}."
        )
    return found


def readable_quality_cost(table: pd.DataFrame) -> pd.DataFrame:
    """The table as text: of each measure the mean over settings, with the oracle in brackets, over its interval."""
    rows = []
    several = table[TEST_SET].nunique() > 1
    for _, row in table.iterrows():
        text = {TEST_SET: row[TEST_SET]} if several else {}
        whole = row[NETWORK] == DO_NOTHING or row["done"] == row["settings"]
        some = "" if whole else f" ({row['done']:.0f} of {row['settings']:.0f} settings)"
        parameters = NO_NUMBER if math.isnan(row["parameters"]) else f"{row['parameters']:,.0f}"
        text |= {NETWORK: f"{row[NETWORK]}{some}", "parameters": parameters}
        text |= {"GFLOPs": significant(row["gflops"]), "s/image": significant(row["seconds"])}
        text |= {heading(measure): row_entry(row, measure) for measure in measures_of(table)}
        rows.append(text)
    return pd.DataFrame(rows)


def _most_removed(networks: pd.DataFrame) -> str:
    """As `_best`, with what the perfect output has, which more is not better than, and with E_B, which it costs."""
    if networks["removal_share"].isna().all():
        return "no network has a removal share"
    row = networks.loc[networks["removal_share"].idxmax()]
    oracle, cost = number(float(row["removal_share_oracle"]), 2), number(float(row["e_b"]), 1)
    return f"{_best(networks, 'removal_share')}, where the perfect output has {oracle}, at an E_B of {cost} grey levels"


def _best(networks: pd.DataFrame, measure: str) -> str:
    """'spdnet has the highest removal share, 0.81 (0.79 to 0.83)'."""
    if networks[measure].isna().all():
        return f"no network has {name(measure)}"
    row = networks.loc[networks[measure].idxmax()]
    mean, low, high = (float(row[f"{measure}{end}"]) for end in ("", "_low", "_high"))
    level = quantity(mean, low, high, COLUMNS[measure].unit, decimals(measure))
    return f"{row[NETWORK]} has the highest {name(measure).removeprefix('the ')}, {level}"


def print_quality_cost(table: pd.DataFrame, console: Console) -> None:
    """Prints the table to a terminal, a line a network and a table a test set, without the intervals."""
    for test_set, rows in table.groupby(TEST_SET, sort=False):
        text = readable_quality_cost(rows.reset_index(drop=True))
        title = f"Quality against cost on {test_set}"
        short = text.map(lambda entry: str(entry).partition("\n")[0].partition(" (")[0])
        short.columns = [column.partition(" (")[0] for column in text]
        print_text(short, title, console, numbers=list(short.columns[short.columns.get_loc(NETWORK) + 1 :]))
