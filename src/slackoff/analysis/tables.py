"""The study table as text, for the terminal, LaTeX and the report."""

import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import plain
from slackoff.analysis.smoke import warn
from slackoff.analysis.summary import (
    DO_NOTHING,
    EVERY_MEASURE,
    MEASURES,
    ORACLES,
    label_columns,
    measures_of,
    study_table,
)
from slackoff.analysis.wording import MINUS, NO_NUMBER, at, decimals, number, plain_label, symbol

_ONE_LINE_WIDTH = 124
"""Columns of terminal from which a number and its interval fit side by side."""


_BESIDE = "{mean} [{low}, {high}]"
_BELOW = "{mean}\n{low}\N{EN DASH}{high}"


def readable(table: pd.DataFrame, axis: str, entry: str = _BESIDE) -> pd.DataFrame:
    """The study table as text: '48.9 [47.0, 50.8]', or as the format `entry` puts mean, low and high."""
    labels = label_columns(table, axis)
    text = pd.DataFrame({symbol(axis): [_name(row, axis) for _, row in table.iterrows()]})
    for label in labels:
        text[label] = ["" if pd.isna(value) else str(value) for value in table[label]]
    for measure in measures_of(table):
        text[heading(measure)] = [_entry(row, measure, entry) for _, row in table.iterrows()]
    return text


def heading(measure: str) -> str:
    """'E_R (oracle)' for measures that stand beside their oracle, else the label of the measure."""
    label = plain_label(measure)
    label = label[0].upper() + label[1:]
    return f"{label} (oracle)" if measure in ORACLES else label


_HEADINGS = [heading(measure) for measure in EVERY_MEASURE]


def to_latex(table: pd.DataFrame, axis: str, caption: str, label: str) -> str:
    """The study table for a paper that loads booktabs; all text is escaped."""
    text = readable(table, axis).map(_escape)
    text.columns = [_escape(column).replace(r"E\_R", "$E_R$").replace(r"E\_B", "$E_B$") for column in text]
    numbers = len(measures_of(table))
    aligned = "l" * (len(text.columns) - numbers) + "r" * numbers
    style = text.style.hide(axis="index")
    latex = style.to_latex(
        hrules=True, column_format=aligned, caption=_escape(caption), label=label, position_float="centering"
    )
    return str(latex)


def print_table(frames: Frames, console: Console) -> None:
    """Prints the study table to a terminal; in a narrow one intervals go on a second line, and each group has a table
    of its own, so that no number is ever cut."""
    warn(frames.study.size, console)
    title, table = frames.study.title or frames.study.name, study_table(frames)
    if console.width >= _ONE_LINE_WIDTH:
        _print(table, frames.study.axis, _BESIDE, title, console)
        return
    labels = label_columns(table, frames.study.axis)
    for values, rows in table.groupby(labels, sort=False, dropna=False) if labels else [((), table)]:
        named = [at(label, plain(value)) for label, value in zip(labels, values, strict=True) if not pd.isna(value)]
        heading = ", ".join(named) or ("every group" if labels else "")
        _print(rows.drop(columns=labels), frames.study.axis, _BELOW, ": ".join(filter(None, [title, heading])), console)


def _print(table: pd.DataFrame, axis: str, entry: str, title: str, console: Console) -> None:
    text = readable(table, axis, entry)
    shown = Table(title=escape(title), caption="mean and 95 % interval", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in text:
        if column in _HEADINGS:
            shown.add_column(column, justify="right")
        else:
            longest = max(len(word) for entry in [column, *text[column]] for word in [*entry.split(), ""])
            shown.add_column(column, min_width=longest)
    for row in text.itertuples(index=False):
        shown.add_row(*map(escape, row))
    console.print(shown)


def _name(row: pd.Series, axis: str) -> str:
    if row["output"] == DO_NOTHING:
        return DO_NOTHING
    some = "" if row["done"] == row["cells"] else f" ({row['done']} of {row['cells']})"
    return f"{row[axis]}{some if row['done'] else ''}"


def _entry(row: pd.Series, measure: str, entry: str) -> str:
    if row["output"] != DO_NOTHING and not row["done"]:
        return str(row["state"]) if measure == MEASURES[0] else NO_NUMBER
    places = decimals(measure)
    text = number(row[measure], places)
    if measure in ORACLES:
        text += f" ({number(row[f'{measure}_oracle'], places)})"
    low, high = row[f"{measure}_low"], row[f"{measure}_high"]
    if pd.isna(low) or low == high:
        return text
    return entry.format(mean=text, low=number(low, places), high=number(high, places))


_LATEX = {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}"}
_LATEX |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
_LATEX |= {MINUS: "$-$", NO_NUMBER: "--", "<": r"\textless{}", ">": r"\textgreater{}"}


def _escape(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
