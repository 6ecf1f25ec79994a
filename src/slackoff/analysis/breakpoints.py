"""Where removal breaks down: the last N of each group before its curve falls below one half of its own range.

The paper judges break-down points by eye. The rule is that of `slackoff.analysis.groups`: the largest value of the
main axis at which the measure, stretched to 0 .. 1 over the values of its group, is still above 0.5. Its interval comes
from the bootstrap over test images and training seeds (`slackoff.analysis.statistics`).
"""

from typing import Any

import pandas as pd

from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import RULE, Group, crossing, groups, is_number
from slackoff.analysis.tables import interval_columns
from slackoff.errors import SlackoffError

FALLS, STAYS, FEW = "breaks down", "no clear fall", "fewer than three values"
_FEWEST = 3


def break_points(frames: Frames, measure: str = "removal_share", level: float = RULE) -> pd.DataFrame:
    """The break point of each group of a study, with its 95 % interval.

    Args:
        frames: of a study whose main axis is of numbers.
        measure: a column of `frames.images`.
        level: of the stretched measure, 0 .. 1.

    Returns:
        One row per group. Columns: the labels of the group, where there are several; `name`, all of them in words;
        `verdict`: 'breaks down', 'no clear fall' (from first to last value, by its 95 % interval: what is left is
        stretched noise) or 'fewer than three values'; `last_above`, the break point, with `low` and `high`, values of
        the main axis (NaN where there is none); `first` and `last` value with results; `fall`, how far the measure
        falls from first to last in its own unit, with `fall_low` and `fall_high`; `seeds` and `images` behind it.

    Raises:
        SlackoffError: the main axis is of names, or no cell has measured that.
    """
    axis = frames.study.axis
    found = groups(frames)
    if not all(is_number(value) for group in found for value in group.values):
        raise SlackoffError(
            f"The study '{frames.study.name}' has no break points: {axis} is of names. Choose a study along numbers, "
            "such as patchcount"
        )
    if measure not in frames.images:
        raise SlackoffError(f"The study '{frames.study.name}' has no '{measure}': choose a column of frames.images")
    return pd.DataFrame([_row(group, measure, level) for group in found])


def _row(group: Group, measure: str, level: float) -> dict[str, Any]:
    row: dict[str, Any] = {**group.labels, "name": group.name, "verdict": FEW}
    row |= dict.fromkeys(("last_above", "low", "high", "first", "last", "fall", "fall_low", "fall_high"), float("nan"))
    row |= {"seeds": 0, "images": 0}
    if not group.done:
        return row
    first, last = group.done[0], group.done[-1]
    fall = group.change(last, first, measure)
    row |= {"first": first, "last": last, "seeds": fall.seeds, "images": fall.images} | interval_columns("fall", fall)
    if len(group.done) < _FEWEST:
        return row
    row["verdict"] = FALLS if fall.sign > 0 else STAYS
    point = crossing(group, measure, level)
    for column, value in (("last_above", point.value), ("low", point.low), ("high", point.high)):
        row[column] = float("nan") if value is None else value
    return row
