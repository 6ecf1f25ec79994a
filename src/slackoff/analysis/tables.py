"""The tables of a study: a row per value of its axes with reference and interval, as numbers and as text.

Also teacher against student: whether the moving average of a network restores better than the network.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import TEST_SET, Group, groups, plain
from slackoff.analysis.statistics import NOTHING, Interval, difference_interval
from slackoff.analysis.text import (
    BELOW,
    BESIDE,
    MINUS,
    NO_NUMBER,
    at,
    decimals,
    entry,
    number,
    plain_label,
    symbol,
    warn,
)
from slackoff.metrics.columns import HEADLINE_FIDELITY, INPUT, OWN, headline_channel

_CHANGES = ("e_r", "removal_share", "e_b")
MEASURES = (*_CHANGES, *HEADLINE_FIDELITY["rgb"])
"""What a study's tables show in general; `shown_measures` says it for results of other protocols, too."""

EVERY_MEASURE = (*MEASURES, *HEADLINE_FIDELITY["y"])

ORACLES = {"e_r": "e_r_oracle", "removal_share": "removal_share_oracle"}
INPUTS = {measure: f"{measure}_input" for pair in HEADLINE_FIDELITY.values() for measure in pair}
DO_NOTHING = "rainy input"


def shown_measures(images: pd.DataFrame) -> list[str]:
    """What is shown of results per image: PSNR and SSIM on the headline channel of the protocol they were taken with.

    RGB where results of several protocols are together, since every one has it. Measures of a person's own come last.
    """
    channel = headline_channel(images.columns)
    if channel == "y" and images["psnr_y_input"].isna().any():
        channel = "rgb"
    return [*_CHANGES, *HEADLINE_FIDELITY[channel], *(own for own in OWN if own in images)]


def measures_of(table: pd.DataFrame) -> list[str]:
    """The measures that a study's table has as columns, in their order."""
    return [measure for measure in (*EVERY_MEASURE, *OWN) if measure in table]


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
    states = group.cells.loc[group.cells[group.axis] == value, "state"]
    row: dict[str, Any] = {
        group.axis: value,
        **group.labels,
        "output": "network",
        "state": ", ".join(dict.fromkeys(states)),
        "done": int((states == "done").sum()),
        "cells": len(states),
        "images": group.images.loc[group.images[group.axis] == value, "image"].nunique(),
    }
    for measure in measures:
        row |= interval_columns(measure, group.level(value, measure))
        if measure in ORACLES:
            row[f"{measure}_oracle"] = group.level(value, ORACLES[measure]).mean
    return row


def _do_nothing_row(group: Group, measures: Sequence[str]) -> dict[str, Any]:
    """E_R and removal share 0 by definition, PSNR and SSIM as the first cell that is done has them."""
    row: dict[str, Any] = {group.axis: None, **group.labels, "output": DO_NOTHING, "state": "", "done": 0, "cells": 0}
    row["images"] = group.images["image"].nunique()
    return row | untouched_columns(group, measures)


def untouched_columns(group: Group, measures: Sequence[str]) -> dict[str, float]:
    """The columns of measures for the output that does nothing."""
    row: dict[str, float] = {}
    for measure in measures:
        reference = ORACLES.get(measure) or INPUTS.get(measure) or f"{measure}{INPUT}" * (measure in OWN)
        known = group.level(group.done[0], reference) if group.done else NOTHING
        row |= interval_columns(measure, Interval(0.0, 0.0, 0.0) if measure in ORACLES else known)
        row |= {f"{measure}_oracle": known.mean} if measure in ORACLES else {}
    return row


def interval_columns(measure: str, interval: Interval) -> dict[str, float]:
    """The columns of a measure in a table: m, m_low, m_high."""
    return {measure: interval.mean, f"{measure}_low": interval.low, f"{measure}_high": interval.high}


_ONE_LINE_WIDTH = 124
"""Columns of terminal from which a number and its interval fit side by side."""

_OWN_WIDTH = 20
"""How many more a measure of a person's own takes."""

_CAPTION = "mean and 95 % interval"
_NARROW = "{mean}\n{low}\N{EN DASH}{high}"


def readable(table: pd.DataFrame, axis: str, form: str = BESIDE) -> pd.DataFrame:
    """The study table as text: '48.9 [47.0, 50.8]', or in another `form` of `text.entry`."""
    labels = label_columns(table, axis)
    done = table[table["done"] > 0].assign(group=0)
    counts = done.groupby([*labels, "group"], dropna=False)["images"].transform("nunique")
    differ = set(counts.index[counts > 1])
    text = pd.DataFrame({symbol(axis): [_name(row, axis, place in differ) for place, row in table.iterrows()]})
    for label in labels:
        text[label] = ["" if pd.isna(value) else str(value) for value in table[label]]
    for measure in measures_of(table):
        text[heading(measure)] = [_entry(row, measure, form) for _, row in table.iterrows()]
    return text


def heading(measure: str) -> str:
    """'E_R (oracle)' for measures that stand beside their oracle, else the label of the measure."""
    label = plain_label(measure)
    label = label[0].upper() + label[1:]
    return f"{label} (oracle)" if measure in ORACLES else label


def to_latex(table: pd.DataFrame, axis: str, caption: str, label: str) -> str:
    """The study table for a paper that loads booktabs; all text is escaped."""
    text, numbers = readable(table, axis), len(measures_of(table))
    return latex(text, "l" * (len(text.columns) - numbers) + "r" * numbers, caption, label)


def latex(text: pd.DataFrame, aligned: str, caption: str, label: str) -> str:
    """A table of text for a paper that loads booktabs, its columns `aligned` as in 'lrr'; all text is escaped."""
    escaped = text.map(latex_text)
    escaped.columns = [latex_text(name).replace(r"E\_R", "$E_R$").replace(r"E\_B", "$E_B$") for name in text]
    about = {"caption": latex_text(caption), "label": label, "position_float": "centering"}
    return str(escaped.style.hide(axis="index").to_latex(column_format=aligned, hrules=True, **about))


def latex_text(text: str) -> str:
    """A text as it stands in LaTeX: nothing in it is a command."""
    return text.translate(_LATEX)


def print_table(frames: Frames, console: Console) -> None:
    """Prints the study table to a terminal; in a narrow one intervals go on a second line, and each group has a table
    of its own, so that no number is ever cut."""
    warn(frames.study.size, console)
    title, table = frames.study.title or frames.study.name, study_table(frames)
    numbers = [heading(measure) for measure in measures_of(table)]
    own = [heading(measure) for measure in measures_of(table) if measure in OWN]
    if console.width >= _ONE_LINE_WIDTH + _OWN_WIDTH * len(own):
        text = readable(table, frames.study.axis, BESIDE)
        print_text(text, title, console, numbers, _CAPTION)
        return
    labels = label_columns(table, frames.study.axis)
    for values, rows in table.groupby(labels, sort=False, dropna=False) if labels else [((), table)]:
        named = [at(label, plain(value)) for label, value in zip(labels, values, strict=True) if not pd.isna(value)]
        about = ", ".join(named) or ("every group" if labels else "")
        text = readable(rows.drop(columns=labels), frames.study.axis, _NARROW)
        for shown in [text.drop(columns=own), *([text[[text.columns[0], *own]]] if own else [])]:
            print_text(shown, ": ".join(filter(None, [title, about])), console, numbers, _CAPTION)


def print_text(text: pd.DataFrame, title: str, console: Console, numbers: Sequence[str], caption: str = "") -> None:
    """Prints a table of text to a terminal, its columns of `numbers` to the right; words are never cut."""
    shown = Table(title=escape(title), caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in text:
        if column in numbers:
            shown.add_column(column, justify="right")
        else:
            longest = max(len(word) for words in [column, *text[column]] for word in [*words.split(), ""])
            shown.add_column(column, min_width=longest)
    for row in text.itertuples(index=False):
        shown.add_row(*map(escape, row))
    console.print(shown)


def _name(row: pd.Series, axis: str, own_images: bool) -> str:
    """The value, with how many of its cells are done, and how many test images they have where others have others."""
    if row["output"] == DO_NOTHING:
        return DO_NOTHING
    some = "" if row["done"] == row["cells"] else f" ({row['done']} of {row['cells']})"
    some += f" ({row['images']} images)" if own_images else ""
    return f"{row[axis]}{some if row['done'] else ''}"


def _entry(row: pd.Series, measure: str, form: str) -> str:
    if row["output"] != DO_NOTHING and not row["done"]:
        return str(row["state"]) if measure == MEASURES[0] else NO_NUMBER
    return row_entry(row, measure, form)


def row_entry(row: pd.Series, measure: str, form: str = BELOW) -> str:
    """`text.entry` of the columns m, m_low, m_high and, after E_R and the removal share, m_oracle of a row."""
    oracle = row[f"{measure}_oracle"] if measure in ORACLES else None
    return entry(row[measure], row[f"{measure}_low"], row[f"{measure}_high"], decimals(measure), form, oracle)


_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
    | {MINUS: "$-$", NO_NUMBER: "--", "<": "$<$", ">": "$>$"}
    | {"\N{ALMOST EQUAL TO}": r"$\approx$"}
)


def teacher_table(frames: Frames, images: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row per group and value of the main axis that has a teacher; empty where no cell has one.

    Args:
        frames: of the study.
        images: of the frames, what stands in the place of the teachers: `averages` or `best`.

    Columns: the main axis; the labels of the group, where there are several; then for each measure m the mean of the
    teacher, m, with m_low and m_high (95 % interval), and m_gap, the teacher less the student, paired over the test
    images, with m_gap_low and m_gap_high.
    """
    images = frames.teachers if images is None else images
    if images.empty:
        return pd.DataFrame()
    taught = groups(replace(frames, images=images))
    students = {group.name: group for group in groups(frames)}
    shown = shown_measures(frames.images)
    rows = []
    for teacher in taught:
        student = students[teacher.name]
        common = set(teacher.images["image"]) & set(student.images["image"])
        teacher, student = (
            replace(one, images=one.images[one.images["image"].isin(common)]) for one in (teacher, student)
        )
        for value in teacher.done:
            row: dict[str, Any] = {teacher.axis: value, **teacher.labels}
            for measure in shown:
                own, other = teacher.table(value, measure), student.table(value, measure)
                row |= interval_columns(measure, teacher.level(value, measure))
                row |= interval_columns(f"{measure}_gap", difference_interval(own, other, teacher.sources))
            rows.append(row)
    return pd.DataFrame(rows)


def readable_teachers(table: pd.DataFrame, axis: str) -> pd.DataFrame:
    """The table as text; an entry is '26.10 (+0.12)' and, on a second line, the interval of the difference."""
    text = pd.DataFrame({symbol(axis): table[axis].astype(str)})
    for label in table.columns[1 : list(table.columns).index(MEASURES[0])]:
        text[label] = table[label].astype(str)
    for measure in measures_of(table):
        text[heading(measure).removesuffix(" (oracle)")] = [_teacher_entry(row, measure) for _, row in table.iterrows()]
    return text


def _teacher_entry(row: pd.Series, measure: str) -> str:
    places = decimals(measure)
    mean, gap, low, high = (
        number(float(row[f"{measure}{end}"]), places) for end in ("", "_gap", "_gap_low", "_gap_high")
    )
    plus = "+" if float(row[f"{measure}_gap"]) > 0 else ""
    return f"{mean} ({plus}{gap})\n{low} to {high}"
