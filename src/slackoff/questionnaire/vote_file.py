"""The votes of a running study: a CSV to which each vote is added at once, whole, and safely on disk."""

import csv
import errno
import fcntl
import io
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from slackoff.analysis.user_study.csv_file import read_header, read_rows
from slackoff.analysis.user_study.votes import COLUMNS, SEPARATOR, SHOWN, read_votes
from slackoff.errors import SlackoffError

HEADER = (*COLUMNS, SHOWN, "voted_at")
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
        if not read_rows(self.path, COLUMNS, may_be_empty=True):
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
