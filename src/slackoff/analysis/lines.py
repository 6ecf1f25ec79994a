"""The groups of a study table as lines of a figure: which rows, which colour, dash and marker."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from slackoff.analysis.groups import ranked
from slackoff.analysis.style import LINE_STYLES, MARKERS, colours, ordered_colours
from slackoff.analysis.summary import DO_NOTHING, label_columns
from slackoff.analysis.wording import NO_NUMBER


@dataclass(frozen=True, eq=False)
class Line:
    """One group of a study table and how it is drawn; `labels` and `name` are empty where there is one group only."""

    rows: pd.DataFrame
    labels: dict[str, Any]
    colour: Any
    style: str
    marker: str

    @property
    def name(self) -> str:
        return ", ".join(NO_NUMBER if pd.isna(value) else str(value) for value in self.labels.values())

    def where(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of another frame that are about this group, or about all groups in a label (NA there)."""
        for label, value in self.labels.items():
            frame = frame[(frame[label] == value) | frame[label].isna()]
        return frame


def lines(table: pd.DataFrame, axis: str, whole: pd.DataFrame | None = None) -> list[Line]:
    """The groups of a table; the first label sets the colour, the others together dash and marker.

    Sizes and numbers are put in their order and have colours that follow it, dark to light. `whole`: a table with
    the same labels that this one is a part of, whose groups have the same looks in all its parts.
    """
    rows = table[table["output"] != DO_NOTHING]
    labels = label_columns(table, axis)
    if not labels:
        return [Line(rows, {}, colours(1)[0], "-", "o")]
    every = rows if whole is None else whole[whole["output"] != DO_NOTHING]
    named = [None if pd.isna(value) else value for value in every[labels[0]]]
    ranks = None if None in named else ranked(named)
    firsts = ranks or list(dict.fromkeys(named))
    palette = ordered_colours(len(firsts)) if ranks else colours(len(firsts))
    others = list(dict.fromkeys(map(_comparable, every[labels[1:]].itertuples(index=False, name=None))))
    found: list[tuple[int, Line]] = []
    for key, group in rows.groupby(labels, sort=False, dropna=False):
        first, other = firsts.index(None if pd.isna(key[0]) else key[0]), others.index(_comparable(key[1:]))
        style, marker = LINE_STYLES[other % len(LINE_STYLES)], MARKERS[other % len(MARKERS)]
        line = Line(group, dict(zip(labels, key, strict=True)), palette[first], style, marker)
        found.append((first, line))
    return [line for _, line in sorted(found, key=lambda pair: pair[0])]


def _comparable(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The labels of a group with None for those it lacks, since NaN is not equal to itself."""
    return tuple(None if pd.isna(value) else value for value in values)
