"""Votes of a user study in CSV files: added one by one while it runs, read, counted, and ranked.

Each vote is added at once, whole, and safely on disk. A table of scores (any measure per image and method of which
more is better) may take the place of votes for the rank-n scores: on how many images a method is among the n best
(MOSS, supplement C, Equation 1). What cannot be read is refused with file, line and cure.
"""

import csv
import errno
import fcntl
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from slackoff.errors import SlackoffError


def read_header(path: Path) -> list[str]:
    """The columns of a CSV file; empty for an empty file. Raises as `read_rows`."""
    return next((values for _, values in _lines(path)), [])


def read_rows(path: Path, required: Sequence[str], may_be_empty: bool = False) -> pd.DataFrame:
    """Read a comma-separated file in UTF-8 (a byte order mark is passed over) whose first line names the columns.

    Args:
        path: the file.
        required: columns that must be there and have a value in every row.
        may_be_empty: whether column names without rows are enough.

    Returns:
        The rows in their order, text without spaces around it, by where each stands ('line 3 of votes.csv'); blank
        lines are passed over.

    Raises:
        SlackoffError: missing, unreadable or empty file, a missing or doubled column, a row of another length or
            without one of the required values.
    """
    lines = _lines(path)
    if not lines:
        raise SlackoffError(f"{path} is empty: its first line must name the columns {', '.join(required)}.")
    (_, header), *lines = lines
    if missing := [name for name in required if name not in header]:
        raise SlackoffError(
            f"{path} has no column '{missing[0]}' (its columns: {', '.join(header)}): "
            f"the first line must name {', '.join(required)}, separated by commas."
        )
    if doubled := next((name for name in header if header.count(name) > 1), None):
        raise SlackoffError(f"{path} has two columns '{doubled}': rename one of them.")
    if not lines and not may_be_empty:
        raise SlackoffError(f"{path} has column names but no rows: add one row for each entry.")
    for number, values in lines:
        if len(values) != len(header):
            raise SlackoffError(
                f"line {number} of {path} has {len(values)} values for {len(header)} columns: repair that line, or put "
                "a value that holds a comma between double quotes."
            )
        if empty := next((name for name in required if not values[header.index(name)]), None):
            raise SlackoffError(f"line {number} of {path} has no {empty}: fill it in or remove that line.")
    places = [f"line {number} of {path}" for number, _ in lines]
    return pd.DataFrame([values for _, values in lines], places, header, dtype=str)


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


def read_votes(path: Path, methods: Sequence[str] = ()) -> Votes:
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
    rows = read_rows(path, VOTE_COLUMNS)
    known = {*methods} or {*rows["method"]}
    if SHOWN in rows and rows[SHOWN].any():
        among = {place: sorted({*map(str.strip, text.split(SEPARATOR))} - {""}) for place, text in rows[SHOWN].items()}
        first = next(iter(among.values()))
        for place, shown in among.items():
            if shown != first:
                here, earlier = (", ".join(names) or "nothing" for names in (shown, first))
                raise SlackoffError(
                    f"{place} chose among {here}, earlier lines among {earlier}: keep votes among different methods in "
                    "files of their own."
                )
        known = {*first}
        if unknown := sorted({*methods} - known):
            raise SlackoffError(
                f"{path} has votes among {', '.join(first)}: '{unknown[0]}' was not shown, do not name it."
            )
    for place, method in rows["method"].items():
        if method not in known:
            raise SlackoffError(
                f"{place} has a vote for '{method}', which was not among the methods shown "
                f"({', '.join(sorted(known))}): correct that line or the methods."
            )
    if len(known) < 2:
        raise SlackoffError(f"{path} has votes for '{min(known)}' only: name the other methods with --method NAME.")
    last = rows.drop_duplicates(["rater", "image"], keep="last", ignore_index=True)
    return Votes(last, tuple(sorted(known)), len(rows) - len(last))


HEADER = (*VOTE_COLUMNS, SHOWN, "voted_at")
"""Columns of a new file; `voted_at` is the time in UTC, to the second."""


class VoteFile:
    """Adds votes to a CSV. Several threads, and several processes on one machine, may add to the same file.

    `voted` is (rater, image) of all its votes.

    Args:
        path: the file; made if it is not there, with its folder.
        methods: the names of all methods that are shown.

    Raises:
        SlackoffError: the file holds something else, or votes among other methods, or cannot be written.
    """

    def __init__(self, path: Path, methods: Sequence[str]) -> None:
        self.path = path
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _append(self.path, HEADER)
        except OSError as error:
            raise SlackoffError(
                f"{self.path} cannot be written ({error.strerror}): name a file for --votes where you may write."
            ) from error
        rows = read_rows(self.path, VOTE_COLUMNS, may_be_empty=True)
        self._header = list(rows)
        self.voted: set[tuple[str, str]] = set()
        if rows.empty:
            return
        votes = read_votes(self.path, methods)
        if set(votes.methods) != set(methods):
            raise SlackoffError(
                f"{self.path} has votes among {', '.join(votes.methods)}, and this study shows "
                f"{', '.join(sorted(methods))}: name another file for --votes."
            )
        self.voted |= set(votes.rows[["rater", "image"]].itertuples(index=False, name=None))

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


def _append(path: Path, header: Sequence[str], values: Sequence[str] = ()) -> None:
    """Add a line in one write and flush it to disk; where not all of it fits, none of it stays.

    A new file gets `header` first. The file itself is locked meanwhile; the system lets go of it when the process ends,
    however that is.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = os.fstat(descriptor).st_size
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if not size:
            writer.writerow(header)
        if values:
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                text.write("\n")
            writer.writerow(values)
        content = text.getvalue().encode()
        try:
            if os.write(descriptor, content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


SCORE_COLUMNS = ("image", "method", "score")
"""Columns of a scores CSV, one row per image and method; a higher score is a better result."""


def read_scores(path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read the scores of a CSV file with the columns `SCORE_COLUMNS`; further columns are passed over.

    Returns:
        Images (rows, sorted) x methods (columns, sorted), finite numbers; and the images without a score of every
        method, which are not in it.

    Raises:
        SlackoffError: as for `read_rows`; a score that is no finite number, two scores of one method on one image,
            fewer than two methods, or no image with a score of every method.
    """
    rows = read_rows(path, SCORE_COLUMNS)
    rows["number"] = pd.to_numeric(rows["score"], errors="coerce").astype(float)
    for place, row in rows[~np.isfinite(rows["number"])].iterrows():
        raise SlackoffError(f"{place} has the score '{row['score']}': give it a finite number.")
    for place, row in rows[rows.duplicated(["image", "method"])].iterrows():
        raise SlackoffError(
            f"{place} is a second score of '{row['method']}' on image '{row['image']}': remove one of them."
        )
    table = rows.pivot(index="image", columns="method", values="number").rename_axis(columns=None)
    if len(table.columns) < 2:
        raise SlackoffError(f"{path} has scores of '{table.columns[0]}' only: add those of another method.")
    complete = table.dropna()
    if complete.empty:
        raise SlackoffError(
            f"{path} has no image with a score of each of {', '.join(table.columns)}: add the missing scores."
        )
    return complete, tuple(table.index.difference(complete.index))


def in_top(values: ArrayLike) -> NDArray[np.bool_]:
    """Which methods are among the n best of each image, for each n; the mean over images is the rank-n score R_i^n.

    A method is among them if fewer than n methods have strictly more votes (or a strictly higher score) on that image.
    So methods that tie at the n-th place are all in, and more than n methods can be; a method without a vote is in only
    where fewer than n methods have any.

    Args:
        values: (..., images, methods), votes or scores, finite.

    Returns:
        (n, ..., images, methods), bool, for n = 1 .. methods.
    """
    table = np.asarray(values, dtype=np.float64)
    better = (table[..., None, :] > table[..., :, None]).sum(axis=-1)
    return np.stack([better < n for n in range(1, table.shape[-1] + 1)])
