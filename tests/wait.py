"""Waiting in tests for what another process or thread does."""

import time
from collections.abc import Callable


def wait_for(what: Callable[[], object], seconds: float = 180) -> None:
    """Wait until something is so; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"not within {seconds:g} s"
        time.sleep(0.01)
