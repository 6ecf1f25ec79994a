"""The signals that ask a cell to stop, and what is raised when one was obeyed."""

import signal

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""What a driver, Slurm's scancel and a shutdown send; what Slurm sends ahead of a time limit."""


class Stopped(BaseException):
    """The cell was asked to stop. No error of the cell, so that no handler for errors takes it for one."""
