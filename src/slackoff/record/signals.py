"""The signals that ask a cell to stop, and what is raised when one was obeyed."""

import signal
from collections.abc import Callable

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""What a driver, Slurm's scancel and a shutdown send; what Slurm sends ahead of a time limit."""


class Stopped(BaseException):
    """The cell was asked to stop. No error of the cell, so that no handler for errors takes it for one."""


def handle(handler: Callable[..., object]) -> None:
    """Call ``handler`` at each of the ``SIGNALS``."""
    for number in SIGNALS:
        signal.signal(number, handler)


def ignore() -> None:
    """Let the process end as it is about to; those that it starts listen to signals as usual."""
    handle(lambda *_: None)
