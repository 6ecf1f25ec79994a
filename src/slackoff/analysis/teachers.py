"""Teacher against student: whether the moving average of a network restores better than the network."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import Group, groups
from slackoff.analysis.statistics import difference_interval
from slackoff.analysis.summary import MEASURES, interval_columns, measures_of, shown_measures
from slackoff.analysis.tables import heading
from slackoff.analysis.wording import decimals, number, symbol


def teacher_table(frames: Frames) -> pd.DataFrame:
    """One row per group and value of the main axis that has a teacher; empty where no cell has one.

    Columns: the main axis; the labels of the group, where there are several; then for each measure m the mean of the
    teacher, m, with m_low and m_high (95 % interval), and m_gap, the teacher less the student, paired over the test
    images, with m_gap_low and m_gap_high.
    """
    if frames.teachers.empty:
        return pd.DataFrame()
    taught = groups(replace(frames, images=frames.teachers))
    students = {group.name: group for group in groups(frames)}
    shown = shown_measures(frames.images)
    rows = [
        _row(group, students[group.name], value, shown)
        for group in taught
        for value in group.done
        if value in students[group.name].done
    ]
    return pd.DataFrame(rows)


def readable_teachers(table: pd.DataFrame, axis: str) -> pd.DataFrame:
    """The table as text; an entry is '26.10 (+0.12)' and, on a second line, the interval of the difference."""
    text = pd.DataFrame({symbol(axis): table[axis].astype(str)})
    for label in table.columns[1 : list(table.columns).index(MEASURES[0])]:
        text[label] = table[label].astype(str)
    for measure in measures_of(table):
        text[heading(measure).removesuffix(" (oracle)")] = [_entry(row, measure) for _, row in table.iterrows()]
    return text


def _row(teacher: Group, student: Group, value: Any, measures: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {teacher.axis: value, **teacher.labels}
    for measure in measures:
        own, other = teacher.table(value, measure), student.table(value, measure)
        row |= interval_columns(measure, teacher.level(value, measure))
        row |= interval_columns(f"{measure}_gap", difference_interval(own, other, teacher.sources))
    return row


def _entry(row: pd.Series, measure: str) -> str:
    places = decimals(measure)
    mean, gap, low, high = (
        number(float(row[f"{measure}{end}"]), places) for end in ("", "_gap", "_gap_low", "_gap_high")
    )
    plus = "+" if float(row[f"{measure}_gap"]) > 0 else ""
    return f"{mean} ({plus}{gap})\n{low} to {high}"
