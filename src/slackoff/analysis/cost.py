"""What a study cost, device-hours and seconds per cell; what its networks cost; and quality against that.

Quality against cost is for studies whose main axis is the network and which kept what networks cost: each network once
on each test set, over the settings (ranges of rain, numbers of patches) in which all networks have results, on the same
test images. Else a network whose cells failed where it is hard would look better for that. One that lacks so many
settings that too few would be left to compare in has no quality, and that is said. The settings are taken as they are:
a mean over them weighs them alike, and its interval is over the test images only.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from numpy.typing import ArrayLike
from rich.console import Console

from slackoff.analysis.axes import INK, QUIET, TITLES, colours, draw_level, house_style, label_points, new_figure
from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import TEST_SET, Group, by_test_set, groups, means_at
from slackoff.analysis.statistics import NOTHING, Array, Interval, non_dominated
from slackoff.analysis.tables import (
    DO_NOTHING,
    INPUTS,
    ORACLES,
    heading,
    interval_columns,
    measures_of,
    print_text,
    row_entry,
    shown_measures,
)
from slackoff.analysis.text import NO_NUMBER, decimals, first_of, name, number, quantity, significant
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
    and `seconds_high`), NaN where unknown; `done` of `settings`, and in how many it is `compared`: those in which all
    that are compared have results, 0 for a network that is left out; then each measure m as m, m_low and m_high (mean
    over these settings and the test images, 95 % interval over the images), m_worst and m_best (the settings' means),
    and m_oracle, what the perfect output has, after E_R and the removal share; NaN for what is left out, and no such
    column where nothing is compared on any test set; `front`: whether no faster network has a better mean of PSNR.
    """
    costs = network_costs(frames.study.folder) if frames.study.axis == NETWORK else None
    if costs is None or not len(frames.images):
        return pd.DataFrame()
    shown = shown_measures(frames.images)
    rows: list[dict[str, Any]] = []
    for _, found in by_test_set(groups(frames)):
        test_set = next(group.test_set for group in found if group.test_set)
        networks = list(dict.fromkeys(str(name) for group in found for name in group.values))
        compared, shared = _comparable(found, networks)
        of_set = {network: _cost_columns(costs.networks.get(network)) for network in (DO_NOTHING, *networks)}
        for network in networks:
            of_set[network] |= {"done": sum(network in group.done for group in found), "settings": len(found)}
            of_set[network] |= {"compared": len(shared) if network in compared else 0}
        for measure in shown if compared else ():
            for network, columns in _over_settings(measure, compared, shared).items():
                of_set[network] |= columns
        rows += [{TEST_SET: test_set, NETWORK: network, **row} for network, row in of_set.items()]
    table = pd.DataFrame(rows).assign(front=False)
    if not table["compared"].any():
        return table
    fidelity = headline(table)[1]
    for _, placed in table.dropna(subset=["seconds", fidelity]).groupby(TEST_SET):
        table.loc[placed.index, "front"] = non_dominated(
            placed[fidelity].to_numpy(float), placed["seconds"].to_numpy(float)
        )
    return table


def headline(table: pd.DataFrame) -> tuple[str, str]:
    """The two measures that are drawn against the cost: what is removed, and fidelity."""
    return "removal_share", next(column for column in ("psnr_rgb", "psnr_y") if column in table)


def _comparable(found: Sequence[Group], networks: Sequence[str]) -> tuple[list[str], list[Group]]:
    """The networks that are compared, and the settings in which each of them has results.

    While these are fewer than half of the settings, the networks with the fewest are left out, as far as others remain.
    """
    settings = [group for group in found if group.done]
    done = {name: sum(name in group.done for group in settings) for name in networks}
    kept = [name for name in networks if done[name]]
    while True:
        shared = [group for group in settings if all(name in group.done for name in kept)]
        rest = [name for name in kept if done[name] > min(done[name] for name in kept)]
        if 2 * len(shared) >= len(settings) or not rest:
            return kept if shared else [], shared
        kept = rest


def _cost_columns(known: NetworkCost | None) -> dict[str, Any]:
    columns = ("parameters", "gflops", "seconds", "seconds_low", "seconds_high")
    values = (known.parameters, known.gflops, *known.timing[:3]) if known else [math.nan] * len(columns)
    return dict(zip(columns, values, strict=True))


def _over_settings(measure: str, names: Sequence[str], shared: Sequence[Group]) -> dict[str, dict[str, float]]:
    """The columns of one measure, by network and for the output that does nothing, each over the same settings.

    And over the same images: one that misses a value of a network, or in one of several settings that are tested on it,
    is left out of all.
    """
    reference = ORACLES.get(measure) or INPUTS.get(measure)
    points = [(group, network, measure) for network in names for group in shared]
    joint = means_at([*points, *((group, names[0], reference) for group in shared if reference)])
    whole, found = joint.interval(_mean_over(slice(len(points), None))) if reference else None, {}
    for place, network in enumerate(names):
        own = slice(place * len(shared), (place + 1) * len(shared))
        worst, best = float(joint.means[own].min()), float(joint.means[own].max())
        if COLUMNS[measure].better == "lower":
            worst, best = best, worst
        columns = interval_columns(measure, joint.interval(_mean_over(own)))
        found[network] = columns | {f"{measure}_worst": worst, f"{measure}_best": best}
    untouched = NOTHING if whole is None else Interval(0.0, 0.0, 0.0) if measure in ORACLES else whole
    found[DO_NOTHING] = interval_columns(measure, untouched)
    if whole is not None and measure in ORACLES:
        for columns in found.values():
            columns[f"{measure}_oracle"] = whole.mean
    return found


def _mean_over(places: slice) -> Callable[[Array], Array]:
    return lambda means: np.asarray(means[..., places].mean(axis=-1))


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
    ax.xaxis.set_minor_formatter(LogFormatter())
    ax.margins(x=0.2, y=0.12)
    ax.grid(True, axis="both")


def _drawable(rows: pd.DataFrame, measure: str) -> pd.DataFrame:
    return rows.dropna(subset=["seconds", measure])


def quality_cost_caption(costs: NetworkCosts, table: pd.DataFrame) -> str:
    """What dots, lines and steps are, and where the seconds come from."""
    counts = sorted({int(count) for count in table["compared"].dropna() if count})
    over = "the one setting" if counts == [1] else f"{' or '.join(map(str, counts))} settings"
    return (
        f"A dot is a network: its mean over {over}, the same for all, and the test images; the line reaches from its "
        "worst setting to its best. The larger a dot, the more parameters. The steps are the highest PSNR that so "
        "many seconds buy. Dashed: the untouched input. Seconds: one image of "
        f"{costs.size_px} px a side at a time, {costs.hardware}, networks "
        "in turn, median of the rounds. Also as tables/quality_cost.csv."
    )


def quality_cost_answers(table: pd.DataFrame) -> list[str]:
    """For each test set: which network removes most, which has the best PSNR, how many are better than the input, and
    which settings and networks are not compared."""
    found = []
    for test_set, rows in table.groupby(TEST_SET, sort=False):
        networks = rows[rows[NETWORK] != DO_NOTHING]
        if not networks["compared"].any():
            found.append(f"On {test_set} there is no setting in which all networks have results: none are compared.")
            continue
        _, fidelity = headline(table)
        untouched = float(rows.loc[rows[NETWORK] == DO_NOTHING, fidelity].iloc[0])
        more = f"{int((networks[fidelity] > untouched).sum())} of {networks[fidelity].notna().sum()} networks have more"
        found.append(
            f"On {test_set}, {_most_removed(networks)}, and {_best(networks, fidelity)}, where the untouched input has "
            f"{number(untouched, decimals(fidelity))}; {more}.{_not_compared(networks)}"
        )
    return found


def _not_compared(networks: pd.DataFrame) -> str:
    """The settings and networks that the comparison leaves out, in sentences; empty where it leaves out none."""
    compared, settings = int(networks["compared"].max()), int(networks["settings"].max())
    words = ""
    if compared < settings:
        words = f" Compared in {compared} of {settings} settings, those in which all that are compared have results."
    left_out = [
        f"{row[NETWORK]} (results in {row['done']:.0f})" for _, row in networks[networks["compared"] == 0].iterrows()
    ]
    return f"{words} Left out for want of results: {first_of(left_out)}." if left_out else words


def readable_quality_cost(table: pd.DataFrame) -> pd.DataFrame:
    """The table as text: of each measure the mean, with the oracle in brackets, over its interval."""
    rows = []
    several = table[TEST_SET].nunique() > 1
    for _, row in table.iterrows():
        text = {TEST_SET: row[TEST_SET]} if several else {}
        whole = row[NETWORK] == DO_NOTHING or row["done"] == row["settings"]
        left_out = ", left out" if row["compared"] == 0 else ""
        some = "" if whole else f" ({row['done']:.0f} of {row['settings']:.0f} settings{left_out})"
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
