"""A table of scores in the place of votes: any measure per image and method of which more is better."""

import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from slackoff.analysis.user_study.csv_file import CsvRow, read_rows
from slackoff.errors import SlackoffError

COLUMNS = ("image", "method", "score")
"""Columns of a scores CSV, one row per image and method; a higher score is a better result."""


@dataclass(frozen=True)
class Scores:
    """`table`: images (rows, sorted) x methods (columns, sorted), finite numbers; `skipped`: images without a score of
    every method, which are not in it."""

    table: pd.DataFrame
    skipped: tuple[str, ...]


def read_scores(path: str | Path) -> Scores:
    """Read the scores of a CSV file with the columns `COLUMNS`; further columns are passed over.

    Raises:
        SlackoffError: as for `read_rows`; a score that is no finite number, two scores of one method on one image,
            fewer than two methods, or no image with a score of every method.
    """
    path = Path(path)
    found: dict[tuple[str, str], float] = {}
    for row in read_rows(path, COLUMNS):
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
