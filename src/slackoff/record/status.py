"""The status file of a cell: who it is, how far it got, what went wrong."""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from slackoff.errors import SlackoffError
from slackoff.record.files import read_text, write_json

RECORD_VERSION = 1
"""Of the files of a cell. It rises when a reader of the version before would misread them; more keys and more columns
do not raise it. A status without the key is of version 1."""

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
    except (ValueError, TypeError, AttributeError) as error:
        raise DamagedStatusError(
            f"{path} is damaged ({error}): run the command of its study again, which makes it anew and goes on from "
            "the last checkpoint"
        ) from error


def refuse_newer(content: dict[str, Any], place: Path | str) -> None:
    """Nothing where this slackoff can read the record whose status this is.

    Raises:
        SlackoffError: a newer slackoff wrote it.
        TypeError: its version is not a number.
    """
    version = content.get("record_version", 1)
    if version > RECORD_VERSION:
        raise SlackoffError(
            f"{place} is of record version {version}, and this slackoff knows versions up to {RECORD_VERSION}: update "
            "slackoff, or read the record with the one that wrote it"
        )
