"""A CSV file as rows of text with their line numbers; what cannot be read is refused with file, line and cure."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
