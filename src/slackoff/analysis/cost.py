"""What a study cost: device-hours, seconds per cell, time to the first step."""

import math
from dataclasses import dataclass

import pandas as pd

from slackoff.analysis.frames import Frames


@dataclass(frozen=True)
class Cost:
    """`device_hours`: training and evaluation of all cells added up; `wall_hours`: from the first start to
    the last end, NaN while nothing has ended or where a clock was set back between the two; `per_cell`: one row per
    cell, seconds and training steps per second."""

    device_hours: float
    wall_hours: float
    per_cell: pd.DataFrame


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
