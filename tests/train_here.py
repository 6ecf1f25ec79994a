"""Cells trained in the process of the tests, which has imported torch already, and what such a cell wrote."""

import signal
from pathlib import Path

from slackoff.cell.launch import STOP_SIGNALS, CellExit, LaunchOptions
from slackoff.cell.process import main
from slackoff.record.files import read_lines
from slackoff.record.status import Status, read_status


def train_here(folder: Path) -> CellExit:
    """Train the prepared cell of `folder` as its own process would; the exit code that this one would have."""
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        return main(folder, LaunchOptions())
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def written(folder: Path) -> Status:
    """The status of a cell as its file tells it."""
    status = read_status(folder)
    assert status is not None
    return status


def measures(folder: Path) -> list[dict[str, float]]:
    """What a cell logged, without the clock."""
    rows = read_lines(folder / "steps.jsonl")
    return [{key: row[key] for key in row if key not in ("elapsed_s", "train/steps_per_second")} for row in rows]
