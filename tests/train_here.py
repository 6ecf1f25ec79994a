"""Cells trained in the process of the tests: it has imported torch already, a new process takes seconds to."""

import signal
from pathlib import Path

from slackoff.cell import main
from slackoff.handover import Exit, Handover
from slackoff.record.signals import SIGNALS


def train_here(folder: Path) -> Exit:
    """Train the prepared cell of `folder` as its own process would; the exit code that this one would have."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        return main(folder, Handover())
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
