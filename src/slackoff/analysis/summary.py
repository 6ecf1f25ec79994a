"""The numbers of a study: one row per value of its axes, each with its reference and its interval."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import TEST_SET, Group, groups
from slackoff.analysis.statistics import Interval, mean_interval
from slackoff.metrics.columns import HEADLINE_FIDELITY, headline_channel

_CHANGES = ("e_r", "removal_share", "e_b")
MEASURES = (*_CHANGES, *HEADLINE_FIDELITY["rgb"])
"""What a study's tables show in general; `shown_measures` says it for results of other protocols, too."""

EVERY_MEASURE = (*MEASURES, *HEADLINE_FIDELITY["y"])

ORACLES = {"e_r": "e_r_oracle", "removal_share": "removal_share_oracle"}
INPUTS = {measure: f"{measure}_input" for pair in HEADLINE_FIDELITY.values() for measure in pair}
DO_NOTHING = "rainy input"


def shown_measures(images: pd.DataFrame) -> list[str]:
    """What is shown of results per image: PSNR and SSIM on the headline channel of the protocol they were taken with.

    RGB where results of several protocols are together, since every one has it.
    """
    channel = headline_channel(images.columns)
    if images.get(f"psnr_{channel}_input", pd.Series()).isna().any():
        channel = "rgb"
    return [*_CHANGES, *HEADLINE_FIDELITY[channel]]


def measures_of(table: pd.DataFrame) -> list[str]:
    """The measures that a study's table has as columns, in their order."""
    return [measure for measure in EVERY_MEASURE if measure in table]


def study_table(frames: Frames) -> pd.DataFrame:
    """The numbers of a study, one row per group and value of the main axis.

    Columns: the main axis; the labels of the group, where there are several; `output` ('network', or 'rainy
    input' for the row of the output that does nothing, whose axis is NA, and whose labels are NA where groups
    share it); `state` of the cells, 'done' or what else they are; `done` of `cells`; `images`, the number of
    test images; then each measure m as m, m_low, m_high (mean and 95 % interval) with m_oracle, what the
    perfect output has, after E_R and the removal share. NaN where there is none.
    """
    rows: list[dict[str, Any]] = []
    shown = shown_measures(frames.images)
    for group in groups(frames):
        rows += [_do_nothing_row(group, shown), *(_row(group, value, shown) for value in group.values)]
    table = pd.DataFrame(rows)
    table[frames.study.axis] = table[frames.study.axis].convert_dtypes()
    nothing = table[table["output"] == DO_NOTHING]
    labels = [column for column in label_columns(table, frames.study.axis) if column != TEST_SET]
    table[labels] = table[labels].astype(object)  # a column of True and False has no room for NA
    numbers = nothing.drop(columns=labels).round(6)
    for _, same in numbers.groupby(list(numbers.columns), sort=False, dropna=False):
        shared = [label for label in labels if nothing.loc[same.index, label].nunique(dropna=False) > 1]
        table.loc[same.index[:1], shared] = pd.NA
        table = table.drop(same.index[1:])
    return table.reset_index(drop=True)


def threshold_table(frames: Frames) -> pd.DataFrame:
    """E_R, its oracle and E_B at every threshold in the record: one row per group, value and threshold."""
    rows = []
    thresholds = sorted(
        (column.removeprefix("e_r_t") for column in frames.images if str(column).startswith("e_r_t")),
        key=float,
    )
    for group in groups(frames):
        for value in group.done:
            for threshold in thresholds:
                row: dict[str, Any] = {group.axis: value, **group.labels, "threshold": float(threshold)}
                for name in ("e_r", "e_r_oracle", "e_b"):
                    row |= interval_columns(name, group.level(value, f"{name}_t{threshold}"))
                rows.append(row)
    return pd.DataFrame(rows)


def cell_means(frames: Frames) -> pd.DataFrame:
    """Mean of each measure over the test images, one row per cell that is done: the seeds behind the rows."""
    rows, shown = [], shown_measures(frames.images)
    for group in groups(frames):
        for value in group.done:
            means = {name: pd.DataFrame(group.table(value, name)).mean(axis=1) for name in shown}
            rows.append(pd.DataFrame({group.axis: value, **group.labels, **means}))
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame({frames.study.axis: []})


def label_columns(table: pd.DataFrame, axis: str) -> list[str]:
    """The columns that name the group: those before `output`, the main axis apart."""
    before = list(table.columns[: list(table.columns).index("output")])
    return [column for column in before if column != axis]


def _row(group: Group, value: Any, measures: Sequence[str]) -> dict[str, Any]:
    cells = group.cells[group.cells[group.axis] == value]
    states = list(dict.fromkeys(cells["state"]))
    here = group.images[group.images[group.axis] == value]
    row: dict[str, Any] = {
        group.axis: value,
        **group.labels,
        "output": "network",
        "state": ", ".join(states),
        "done": int((cells["state"] == "done").sum()),
        "cells": len(cells),
        "images": here["image"].nunique(),
    }
    for measure in measures:
        row |= interval_columns(measure, group.level(value, measure))
        if measure in ORACLES:
            row[f"{measure}_oracle"] = group.level(value, ORACLES[measure]).mean
    return row


def _do_nothing_row(group: Group, measures: Sequence[str]) -> dict[str, Any]:
    """E_R and removal share 0 by definition, PSNR and SSIM as the first cell that is done has them."""
    row: dict[str, Any] = {
        group.axis: None,
        **group.labels,
        "output": DO_NOTHING,
        "state": "",
        "done": 0,
        "cells": 0,
    }
    row["images"] = group.images["image"].nunique()
    for measure in measures:
        if measure in ORACLES:
            row |= interval_columns(measure, Interval(0.0, 0.0, 0.0))
            row[f"{measure}_oracle"] = _first_done(group, ORACLES[measure]).mean
        else:
            row |= interval_columns(measure, _first_done(group, INPUTS.get(measure, "")))
    return row


def _first_done(group: Group, reference: str) -> Interval:
    """A reference, which is the same for all cells, from the first one that is done."""
    return group.level(group.done[0], reference) if group.done else mean_interval([])


def interval_columns(measure: str, interval: Interval) -> dict[str, float]:
    """The columns of a measure in a table: m, m_low, m_high."""
    return {measure: interval.mean, f"{measure}_low": interval.low, f"{measure}_high": interval.high}
