"""The status file of a cell: who it is, how far it got, what went wrong; and what became of its process."""

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from slackoff.errors import SlackoffError
from slackoff.record.files import read_text, write_json
from slackoff.record.ledger import HeartbeatMonitor, latest

RECORD_VERSION = 1
"""Of the files of a cell. It rises when a reader of the version before would misread them; more keys and more columns
do not raise it."""

State = Literal["pending", "running", "done", "failed", "interrupted"]


class DamagedStatusError(SlackoffError):
    """A status file that cannot be understood."""


@dataclass
class Status:
    """``status.json``. Times are ISO 8601 in UTC, durations in seconds.

    ``train_seconds`` counts the training that led to the result: steps that were trained twice count once.
    """

    id: str
    label: dict[str, Any]
    steps_total: int
    state: State = "pending"
    attempts: int = 0
    step: int = 0
    started_at: str | None = None
    finished_at: str | None = None
    train_seconds: float = 0.0
    evaluate_seconds: float = 0.0
    seconds_to_first_step: float | None = None
    last_error: str | None = None
    wandb_id: str | None = None
    notes: list[str] = field(default_factory=list)
    record_version: int = RECORD_VERSION

    def write(self, folder: Path) -> None:
        write_json(folder / "status.json", asdict(self))


def read_status(folder: Path) -> Status | None:
    """Read a cell's status; None where the cell has none yet.

    Raises:
        DamagedStatusError: the file is damaged.
        SlackoffError: a newer slackoff wrote it.
        OSError: it cannot be read.
    """
    path = folder / "status.json"
    try:
        content = json.loads(read_text(path))
        refuse_newer(content, path)
        known = {item.name for item in fields(Status)}
        return Status(**{key: value for key, value in content.items() if key in known})
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedStatusError(
            f"{path} is damaged ({error}): run the command of its study again, which makes it anew and goes on from "
            "the last checkpoint"
        ) from error


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


def refuse_newer(content: dict[str, Any], place: Path | str) -> None:
    """Nothing where this slackoff can read the record whose status this is.

    Raises:
        SlackoffError: a newer slackoff wrote it.
        TypeError: its version is not a number.
    """
    version = content["record_version"]
    if version > RECORD_VERSION:
        raise SlackoffError(
            f"{place} is of record version {version}, and this slackoff knows versions up to {RECORD_VERSION}: update "
            "slackoff, or read the record with the one that wrote it"
        )
