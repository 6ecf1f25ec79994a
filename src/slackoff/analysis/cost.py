"""What a study cost, device-hours and seconds per cell, and what its networks cost: parameters, operations, seconds."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from slackoff.analysis.frames import Frames
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
    for name, own in record.rows.groupby("network", sort=False):
        rows = own[own["device"] == device]
        seconds = rows[rows["failure"] == ""].set_index("round")["seconds"]
        failure = next(iter(rows.loc[rows["failure"] != "", "failure"]), "")
        numbers = int(own["parameters"].max()), float(own["gflops"].max())
        found[str(name)] = NetworkCost(*numbers, timing(seconds), seconds, str(failure))
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
