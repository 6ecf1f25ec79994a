"""The votes of a user study: read from their CSV, counted per image and method."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from slackoff.analysis.user_study.csv_file import CsvRow, read_rows
from slackoff.errors import SlackoffError

COLUMNS = ("rater", "image", "method")
"""Columns of a votes CSV, one row a vote: who, on which image, which method's result was picked as the best."""

SHOWN = "shown"
"""Optional column: the methods that the rater chose among, as placed on the page, separated by `SEPARATOR`."""

SEPARATOR = "|"


@dataclass(frozen=True)
class Votes:
    """The votes that count.

    `rows` has the columns `COLUMNS` and whatever further ones the file has, all text, one row per rater and image;
    `methods` are those that could be chosen, sorted; `replaced` counts earlier votes of a rater on the same image.
    """

    rows: pd.DataFrame
    methods: tuple[str, ...]
    replaced: int

    @property
    def raters(self) -> int:
        return int(self.rows["rater"].nunique())


def read_votes(path: str | Path, methods: Sequence[str] = ()) -> Votes:
    """Read the votes of a CSV file with the columns `COLUMNS`; further columns are kept.

    Where a rater voted on an image more than once, the last vote counts: votes are only ever added to the file, so that
    a change of mind comes later in it.

    Args:
        path: the file.
        methods: methods that were shown, for a file without the column `SHOWN`: one that nobody picked is not in it.

    Raises:
        SlackoffError: as for `read_rows`; a vote for a method that was not shown, votes among different sets of
            methods, or fewer than two methods.
    """
    path = Path(path)
    rows = read_rows(path, COLUMNS)
    known = _methods(path, rows, methods)
    for row in rows:
        if row.values["method"] not in known:
            raise SlackoffError(
                f"{row.place} has a vote for '{row.values['method']}', which was not among the methods shown "
                f"({', '.join(sorted(known))}): correct that line or the methods."
            )
    if len(known) < 2:
        raise SlackoffError(f"{path} has votes for '{min(known)}' only: name the other methods with --method NAME.")
    frame = pd.DataFrame([row.values for row in rows], dtype=str)
    last = frame.drop_duplicates(["rater", "image"], keep="last", ignore_index=True)
    return Votes(last, tuple(sorted(known)), len(frame) - len(last))


def vote_counts(votes: Votes, images: Sequence[str] = ()) -> pd.DataFrame:
    """The number of votes per image (rows, sorted) and method (columns), 0 where there is none.

    `images` are names to count too, such as those that nobody voted on.
    """
    names = sorted({*votes.rows["image"], *images})
    counts = votes.rows.groupby(["image", "method"]).size().unstack(fill_value=0)
    return counts.reindex(index=names, columns=list(votes.methods), fill_value=0).rename_axis(
        index="image", columns=None
    )


def selection_shares(counts: pd.DataFrame) -> pd.DataFrame:
    """Of each image's votes the share that each method has, 0..1, each row adding up to 1.

    Images without votes are left out; the average selection percentage of a method is 100 times its column's mean.
    """
    totals = counts.sum(axis=1)
    return counts[totals > 0].div(totals[totals > 0], axis=0)


def _methods(path: Path, rows: list[CsvRow], named: Sequence[str]) -> set[str]:
    """The methods that could be chosen: those of the column `SHOWN`, else those named, else those that were picked."""
    if not any(row.values.get(SHOWN) for row in rows):
        return {*named} or {row.values["method"] for row in rows}
    shown = _split(rows[0])
    for row in rows:
        if _split(row) != shown:
            raise SlackoffError(
                f"{row.place} chose among {_text(_split(row))}, earlier lines among {_text(shown)}: keep votes among "
                "different methods in files of their own."
            )
    if unknown := sorted({*named} - shown):
        raise SlackoffError(f"{path} has votes among {_text(shown)}: '{unknown[0]}' was not shown, do not name it.")
    return shown


def _split(row: CsvRow) -> set[str]:
    return {name.strip() for name in row.values[SHOWN].split(SEPARATOR)} - {""}


def _text(methods: set[str]) -> str:
    return ", ".join(sorted(methods)) or "nothing"
