"""Moments as the record writes them."""

import time
from datetime import UTC, datetime


def now() -> str:
    """The present moment, ISO 8601, UTC, to the second."""
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")
