"""Cells trained in the process of the tests: it has imported torch already, a new process takes seconds to."""

import signal
from pathlib import Path

from slackoff.cell.launch import STOP_SIGNALS, CellExit, LaunchOptions
from slackoff.cell.process import main


def train_here(folder: Path) -> CellExit:
    """Train the prepared cell of `folder` as its own process would; the exit code that this one would have."""
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        return main(folder, LaunchOptions())
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
