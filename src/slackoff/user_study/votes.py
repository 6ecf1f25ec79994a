"""Votes of a user study in CSV files: added one by one while it runs, read, counted, and ranked.

Each vote is added at once, whole, and safely on disk. A table of scores (any measure per image and method of which
more is better) may take the place of votes for the rank-n scores: on how many images a method is among the n best
(MOSS, supplement C, Equation 1). What cannot be read is refused with file, line and cure.
"""

import csv
import errno
import fcntl
import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from slackoff.errors import SlackoffError


@dataclass(frozen=True)
class CsvRow:
    """One line of the file: where it stands, and its values by column, without spaces around them."""

    place: str
    values: dict[str, str]


def read_header(path: Path) -> list[str]:
    """The columns of a CSV file; empty for an empty file. Raises as `read_rows`."""
    lines = _lines(path)
    return lines[0][1] if lines else []


def read_rows(path: Path, required: Sequence[str], may_be_empty: bool = False) -> list[CsvRow]:
    """Read a comma-separated file in UTF-8 (a byte order mark is passed over) whose first line names the columns.

    Args:
        path: the file.
        required: columns that must be there and have a value in every row.
        may_be_empty: whether column names without rows are enough.

    Returns:
        The rows in their order; blank lines are passed over.

    Raises:
        SlackoffError: missing, unreadable or empty file, a missing or doubled column, a row of another length or
            without one of the required values.
    """
    lines = _lines(path)
    if not lines:
        raise SlackoffError(f"{path} is empty: its first line must name the columns {', '.join(required)}.")
    header = lines[0][1]
    if missing := [name for name in required if name not in header]:
        raise SlackoffError(
            f"{path} has no column '{missing[0]}' (its columns: {', '.join(header)}): "
            f"the first line must name {', '.join(required)}, separated by commas."
        )
    if doubled := next((name for name in header if header.count(name) > 1), None):
        raise SlackoffError(f"{path} has two columns '{doubled}': rename one of them.")
    if len(lines) == 1 and not may_be_empty:
        raise SlackoffError(f"{path} has column names but no rows: add one row for each entry.")
    return [_row(f"line {number} of {path}", header, values, required) for number, values in lines[1:]]


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """Line number and values of every line that is not blank."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            read = [(reader.line_num, [value.strip() for value in values]) for values in reader]
    except FileNotFoundError:
        raise SlackoffError(f"{path} does not exist: name a CSV file.") from None
    except OSError as error:
        raise SlackoffError(f"{path} cannot be read ({error.strerror}): name a readable CSV file.") from error
    except UnicodeDecodeError as error:
        raise SlackoffError(f"{path} is not UTF-8 text: save it as CSV in UTF-8.") from error
    except csv.Error as error:
        raise SlackoffError(f"line {reader.line_num} of {path} is not CSV ({error}): repair that line.") from error
    return [(number, values) for number, values in read if any(values)]


def _row(place: str, header: list[str], values: list[str], required: Sequence[str]) -> CsvRow:
    if len(values) != len(header):
        raise SlackoffError(
            f"{place} has {len(values)} values for {len(header)} columns: repair that line, or put a value that holds "
            "a comma between double quotes."
        )
    row = dict(zip(header, values, strict=True))
    if empty := next((name for name in required if not row[name]), None):
        raise SlackoffError(f"{place} has no {empty}: fill it in or remove that line.")
    return CsvRow(place, row)


VOTE_COLUMNS = ("rater", "image", "method")
"""Columns of a votes CSV, one row a vote: who, on which image, which method's result was picked as the best."""

SHOWN = "shown"
"""Optional column: the methods that the rater chose among, as placed on the page, separated by `SEPARATOR`."""

SEPARATOR = "|"


@dataclass(frozen=True)
class Votes:
    """The votes that count.

    `rows` has the columns `VOTE_COLUMNS` and whatever further ones the file has, all text, one row per rater and image;
    `methods` are those that could be chosen, sorted; `replaced` counts earlier votes of a rater on the same image.
    """

    rows: pd.DataFrame
    methods: tuple[str, ...]
    replaced: int

    @property
    def raters(self) -> int:
        return int(self.rows["rater"].nunique())


def read_votes(path: str | Path, methods: Sequence[str] = ()) -> Votes:
    """Read the votes of a CSV file with the columns `VOTE_COLUMNS`; further columns are kept.

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
    rows = read_rows(path, VOTE_COLUMNS)
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


HEADER = (*VOTE_COLUMNS, SHOWN, "voted_at")
"""Columns of a new file; `voted_at` is the time in UTC, to the second."""


class VoteFile:
    """Adds votes to a CSV. Several threads, and several processes on one machine, may add to the same file.

    Args:
        path: the file; made if it is not there, with its folder.
        methods: the names of all methods that are shown.

    Raises:
        SlackoffError: the file holds something else, or votes among other methods, or cannot be written.
    """

    def __init__(self, path: str | Path, methods: Sequence[str]) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _append(self.path, HEADER)
        except OSError as error:
            raise SlackoffError(
                f"{self.path} cannot be written ({error.strerror}): name a file for --votes where you may write."
            ) from error
        self._header = read_header(self.path)
        self.voted = self._earlier_votes(methods)

    def add(self, rater: str, image: str, method: str, shown: Sequence[str]) -> None:
        """Add a vote; when this returns it is on the disk.

        Args:
            rater, image, method: the vote.
            shown: all methods in the order of their places on the page.

        Raises:
            OSError: it could not be written; the file is as it was before.
        """
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        values = dict(zip(HEADER, (rater, image, method, SEPARATOR.join(shown), now), strict=True))
        _append(self.path, self._header, [values.get(column, "") for column in self._header])
        self.voted.add((rater, image))

    def _earlier_votes(self, methods: Sequence[str]) -> set[tuple[str, str]]:
        """(rater, image) of the votes that the file had before."""
        if not read_rows(self.path, VOTE_COLUMNS, may_be_empty=True):
            return set()
        votes = read_votes(self.path, methods)
        if set(votes.methods) != set(methods):
            raise SlackoffError(
                f"{self.path} has votes among {', '.join(votes.methods)}, and this study shows "
                f"{', '.join(sorted(methods))}: name another file for --votes."
            )
        return set(votes.rows[["rater", "image"]].itertuples(index=False, name=None))


def _line(values: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def _append(path: Path, header: Sequence[str], values: Sequence[str] = ()) -> None:
    """Add a line in one write and flush it to disk; where not all of it fits, none of it stays.

    A new file gets `header` first. The file itself is locked meanwhile; the system lets go of it when the process ends,
    however that is.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = os.fstat(descriptor).st_size
        text = _line(values) if values else ""
        if size == 0:
            text = _line(header) + text
        elif text and os.pread(descriptor, 1, size - 1) != b"\n":
            text = "\n" + text
        _write(descriptor, text.encode(), path)
    finally:
        os.close(descriptor)


def _write(descriptor: int, content: bytes, path: Path) -> None:
    size = os.fstat(descriptor).st_size
    try:
        if os.write(descriptor, content) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise


SCORE_COLUMNS = ("image", "method", "score")
"""Columns of a scores CSV, one row per image and method; a higher score is a better result."""


@dataclass(frozen=True)
class Scores:
    """`table`: images (rows, sorted) x methods (columns, sorted), finite numbers; `skipped`: images without a score of
    every method, which are not in it."""

    table: pd.DataFrame
    skipped: tuple[str, ...]


def read_scores(path: str | Path) -> Scores:
    """Read the scores of a CSV file with the columns `SCORE_COLUMNS`; further columns are passed over.

    Raises:
        SlackoffError: as for `read_rows`; a score that is no finite number, two scores of one method on one image,
            fewer than two methods, or no image with a score of every method.
    """
    path = Path(path)
    found: dict[tuple[str, str], float] = {}
    for row in read_rows(path, SCORE_COLUMNS):
        key = row.values["image"], row.values["method"]
        if key in found:
            raise SlackoffError(f"{row.place} is a second score of '{key[1]}' on image '{key[0]}': remove one of them.")
        found[key] = _number(row)
    images, methods = (sorted({key[part] for key in found}) for part in (0, 1))
    if len(methods) < 2:
        raise SlackoffError(f"{path} has scores of '{methods[0]}' only: add those of another method.")
    complete = [image for image in images if all((image, method) in found for method in methods)]
    if not complete:
        raise SlackoffError(
            f"{path} has no image with a score of each of {', '.join(methods)}: add the missing scores."
        )
    table = pd.DataFrame([[found[image, method] for method in methods] for image in complete], complete, methods)
    return Scores(table.rename_axis(index="image"), tuple(image for image in images if image not in complete))


def _number(row: CsvRow) -> float:
    try:
        number = float(row.values["score"])
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SlackoffError(f"{row.place} has the score '{row.values['score']}': give it a finite number.")
    return number


def in_top(values: ArrayLike, n: int) -> NDArray[np.bool_]:
    """Which methods are among the n best of each image.

    A method is among them if fewer than n methods have strictly more votes (or a strictly higher score) on that image.
    So methods that tie at the n-th place are all in, and more than n methods can be; a method without a vote is in only
    where fewer than n methods have any.

    Args:
        values: (images, methods), votes or scores, finite.
        n: 1 .. methods.

    Returns:
        (images, methods), bool.

    Raises:
        ValueError: `values` is no finite table, or n is out of range.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or not np.isfinite(table).all():
        raise ValueError(f"values must be a finite (images, methods) table, got shape {table.shape}")
    if not 1 <= n <= table.shape[1]:
        raise ValueError(f"n must be 1 .. {table.shape[1]}, got {n}")
    better = (table[:, None, :] > table[:, :, None]).sum(axis=2)
    return np.asarray(better < n, dtype=np.bool_)


def rank_n_scores(values: ArrayLike, n: int) -> NDArray[np.float64]:
    """R_i^n of each method i, (methods,), 0..1: the share of images on which it is among the n best.

    Args and errors are those of `in_top`; at least one image.
    """
    top = in_top(values, n)
    if not len(top):
        raise ValueError("rank-n scores need at least one image")
    return np.asarray(top.mean(axis=0), dtype=np.float64)


def tied_images(values: ArrayLike, n: int) -> int:
    """On how many images a tie at the n-th place puts more than n methods among the n best. Args as for `in_top`."""
    return int((in_top(values, n).sum(axis=1) > n).sum())
