"""The state of a cell as it is in truth: what its status says, corrected by what became of its process."""

from dataclasses import replace
from pathlib import Path

from slackoff.record.ledger import HeartbeatMonitor, latest
from slackoff.record.status import Status, read_status


def observed_status(folder: Path, watch: HeartbeatMonitor) -> Status | None:
    """The status of a cell, corrected where its process is gone and could not say how it ended.

    Raises:
        DamagedStatusError: the status is damaged.
        OSError: the record cannot be read.
    """
    status = read_status(folder)
    if status is None or status.state in ("done", "failed"):
        return status
    attempt = latest(folder)
    if attempt is not None and attempt.outcome == "failed":
        return replace(status, state="failed", last_error=attempt.error)
    gone = status.state == "running" and (attempt is None or not watch.holds(attempt))
    return replace(status, state="interrupted") if gone else status
