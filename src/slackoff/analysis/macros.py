r"""The numbers of a study as LaTeX macros, so that a paper names each number and never copies it.

A name says where the number stands, in the words of the tables with a capital letter each and digits spelled out:
study, labels, value of the main axis, column of the CSV file. ``\PatchcountNEightERLow`` is the lower bound of E_R at
N = 8 in ``tables/study.csv`` of a patchcount study.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from slackoff.analysis.claims import Claim
from slackoff.analysis.groups import TEST_SET, is_number, plain
from slackoff.analysis.page import Findings
from slackoff.analysis.tables import DO_NOTHING, label_columns, latex_text
from slackoff.analysis.text import MINUS, WARNING, decimals, is_smoke, number, symbol
from slackoff.errors import printable
from slackoff.metrics.columns import COLUMNS
from slackoff.record.archive import FURTHER

_DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
_SPELLED = {str(digit): word for digit, word in enumerate(_DIGITS)} | {".": "Point", "-": "Minus"}
_PART = re.compile(r"(?<!\w)-?\d+(?:\.\d+)?|\d+|[^\W\d_]+")
_UNIT_DECIMALS = {"grey levels": 1, "dB": 2}

Named = tuple[str, str]
"""A name without its backslash, and what it stands for, escaped."""


def macros(found: Findings, tables: Mapping[str, pd.DataFrame]) -> str:
    r"""A file to ``\input``: one ``\newcommand`` for each number of the tables and claims of a study.

    Tables are study, thresholds, teacher and quality_cost, with the decimals that they are shown with; of a claim its
    verdict, its effect with the bounds, and the numbers behind it. What is not known is a dash.

    Args:
        found: what a report says of the study.
        tables: its tables by the names of their files.
    """
    study, axis = found.frames.study, found.frames.study.axis
    start = camel(study.experiment or study.name)
    lines = [
        f"% {printable(study.title or study.name)}: {printable(study.name)}, from the record of slackoff.",
        r"% \input{numbers.tex}; a name is study, labels, value of the main axis, column of tables/*.csv, in one word.",
    ]
    if is_smoke(study.size):
        lines.append(f"% {WARNING}")
    taken: set[str] = set()
    for heading, named in _parts(found, tables, axis):
        lines += ["", f"% {heading}"]
        for name, text in named:
            name = start + name
            while name in taken:  # two labels of the same letters
                name += "Again"
            taken.add(name)
            lines.append(f"\\newcommand{{\\{name}}}{{{text}}}")
    return "\n".join(lines) + "\n"


def camel(text: str) -> str:
    """The words of a text as letters alone: 'e_r_low' as 'ERLow', 'N = 16' as 'NOneSix', '0.5' as 'ZeroPointFive'.

    Letters outside of a to z, which no name of a macro has, are numbered: 'é' as 'UTwoThreeThree'.
    """
    words = []
    for part in _PART.findall(text):
        if part[-1].isdecimal():
            words.append("".join(_SPELLED.get(sign) or _SPELLED[str(int(sign))] for sign in part))
        else:
            word = part[0].upper() + part[1:]
            words.append("".join(each if each.isascii() else f"U{camel(str(ord(each)))}" for each in word))
    return "".join(words)


def _parts(found: Findings, tables: Mapping[str, pd.DataFrame], axis: str) -> Iterator[tuple[str, list[Named]]]:
    """A heading and its names, part by part."""
    frames, table = found.frames, found.table
    labels = label_columns(table, axis)
    counts = {
        "Cells": str(len(frames.cells)),
        "CellsDone": str(int((frames.cells["state"] == "done").sum())),
        "Images": str(frames.images[["test_set", "image"]].drop_duplicates().shape[0]),
        "Size": latex_text(printable(frames.study.size)),
    }
    yield "The study", list(counts.items())
    yield "tables/study.csv", list(_rows(table, [*labels, axis], axis))
    yield "tables/thresholds.csv", list(_rows(tables["thresholds"], [*labels, axis, "threshold"], axis))
    for name in (name for name in FURTHER if name in tables):
        yield f"tables/{name}.csv", list(_rows(tables[name], [*labels, axis], axis, name.capitalize()))
    if "quality_cost" in tables:
        yield "tables/quality_cost.csv", list(_rows(tables["quality_cost"], [TEST_SET, "network"], axis, "Cost"))
    yield "claims.json", [named for claim in found.claims for named in _claim(claim)]


def _rows(table: pd.DataFrame, keys: Sequence[str], axis: str, start: str = "") -> Iterator[Named]:
    keys = [key for key in keys if key in table]
    for _, row in table.iterrows():
        place = "".join(_label(key, plain(row[key]), axis) for key in keys if not pd.isna(row[key]))
        if row.get("output") == DO_NOTHING:
            place += camel(DO_NOTHING)
        for column in table.columns:
            value = plain(row[column])
            if column not in keys and (is_number(value) or value is None):
                yield f"{start}{place}{camel(column)}", _shown(value, _decimals(column))


def _label(key: str, value: Any, axis: str) -> str:
    """A value that is a name stands by itself; a number, or True, needs the name of its axis."""
    if isinstance(value, str):
        return camel(value)
    return camel(symbol(key) if key == axis else key) + camel(str(value))


def _claim(claim: Claim) -> Iterator[Named]:
    labels = [part.partition(" = ") for part in claim.group.split(", ") if part]
    group = "".join(
        camel(value if not re.fullmatch(r"[\d.]+|True|False", value) else key + value) for key, _, value in labels
    )
    start = f"Claim{group}{camel(claim.id)}"
    yield f"{start}Verdict", claim.verdict
    if claim.effect:
        places = _UNIT_DECIMALS.get(claim.effect.unit)
        for end, value in (("", claim.effect.mean), ("Low", claim.effect.low), ("High", claim.effect.high)):
            yield f"{start}Effect{end}", _shown(value, places)
    yield from _leaves(start, claim.numbers, decimals(claim.measure) if claim.measure else None)


def _leaves(start: str, value: Any, places: int | None) -> Iterator[Named]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(start + camel(str(key)), item, places)
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value, start=1):
            yield from _leaves(start + camel(str(place)), item, places)
    elif is_number(value):
        yield start, _shown(value, None if isinstance(value, int) else places)


def _decimals(column: str) -> int | None:
    """Those of the measure that a column is of; None for one that is of no measure."""
    base = re.sub(r"(_gap)?(_low|_high|_oracle|_worst|_best)?$", "", column)
    base = re.sub(r"(_oracle)?$", "", base)
    return decimals(base) if base in COLUMNS else None


def _shown(value: Any, places: int | None) -> str:
    """A number as it stands in LaTeX, in text and in formulas alike."""
    if value is None or not math.isfinite(value):
        return "--"
    if isinstance(value, int) and places is None:
        return str(value) if value >= 0 else rf"\ensuremath{{{value}}}"
    text = number(float(value), places) if places is not None else f"{value:.4g}"
    if "e" in text:  # 1.2e-05
        mantissa, exponent = text.split("e")
        return rf"\ensuremath{{{mantissa}\cdot 10^{{{int(exponent)}}}}}"
    return rf"\ensuremath{{{text.replace(MINUS, '-')}}}" if text[0] in (MINUS, "-") else text
