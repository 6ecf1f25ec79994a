"""The status file of a cell: who it is, how far it got, what went wrong; and what became of its process."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import Field, create_model

from slackoff.errors import SlackoffError
from slackoff.record.files import DamagedFileError, Moment, Natural, Seconds, parse_json, read_bytes, write_json
from slackoff.record.ledger import HeartbeatMonitor, latest

RECORD_VERSION = 1
"""Of the files of a cell. It rises when a reader of the version before would misread them; more keys and more columns
do not raise it."""

State = Literal["pending", "running", "done", "failed", "interrupted", "pruned", "lost"]
"""All but "lost" stand in files: that is a cell whose process cannot be looked up, and has been silent for too long."""


CellId = Annotated[str, Field(pattern=r"^\w[\w.-]*$", max_length=100)]
"""The name of a cell's folder: it can lead nowhere else."""


class DamagedStatusError(SlackoffError):
    """A status file that cannot be understood."""


@dataclass
class Status:
    """``status.json``. Times are ISO 8601 in UTC, durations in seconds.

    ``train_seconds`` counts the training that led to the result: steps that were trained twice count once.
    """

    id: CellId
    label: dict[str, Any]
    steps_total: Natural
    state: State = "pending"
    attempts: Natural = 0
    step: Natural = 0
    started_at: Moment | None = None
    finished_at: Moment | None = None
    train_seconds: Seconds = 0.0
    evaluate_seconds: Seconds = 0.0
    seconds_to_first_step: Seconds | None = None
    last_error: str | None = None
    wandb_id: str | None = None
    notes: list[str] = field(default_factory=list)
    record_version: int = RECORD_VERSION

    def write(self, folder: Path) -> None:
        write_json(folder / "status.json", asdict(self))


_KEYS: Any = {name: (hint, ...) for name, hint in get_type_hints(Status, include_extras=True).items()}
_FILE: Any = create_model("StatusFile", **_KEYS)
"""A file has all keys: the defaults of the class are for a new status."""


@dataclass
class _Version:
    record_version: Natural


def read_status(folder: Path) -> Status | None:
    """Read a cell's status; None where the cell has none yet.

    Raises:
        DamagedStatusError: the file is damaged.
        SlackoffError: a newer slackoff wrote it.
        OSError: it cannot be read.
    """
    path = folder / "status.json"
    try:
        return parse_status(read_bytes(path), path)
    except FileNotFoundError:
        return None
    except DamagedFileError as error:
        raise DamagedStatusError(
            f"{error}: run the command of its study again, which makes it anew and goes on from the last checkpoint"
        ) from error


def parse_status(content: bytes, place: Path | str) -> Status:
    """A status from its JSON, which stands in a place that sentences name.

    Raises:
        DamagedFileError: it is damaged.
        SlackoffError: a newer slackoff wrote it.
    """
    version = parse_json(content, _Version, place).record_version
    if version > RECORD_VERSION:
        raise SlackoffError(
            f"{place} is of record version {version}, and this slackoff knows versions up to {RECORD_VERSION}: update "
            "slackoff, or read the record with the one that wrote it"
        )
    return Status(**dict(parse_json(content, _FILE, place)))


def observed_status(folder: Path, watch: HeartbeatMonitor) -> Status | None:
    """The status of a cell, corrected where its process is gone and could not say how it ended.

    Raises:
        DamagedStatusError: the status is damaged.
        OSError: the record cannot be read.
    """
    status = read_status(folder)
    if status is None or status.state in ("done", "failed", "pruned"):
        return status
    attempt = latest(folder)
    if attempt is not None and attempt.outcome == "failed":
        return replace(status, state="failed", last_error=attempt.error)
    if status.state != "running":
        return status
    if attempt is None or not watch.holds(attempt):
        return replace(status, state="interrupted")
    if (silence := watch.silence(attempt)) > watch.stale_after_s:
        who = attempt.owner or "an unknown process"
        return replace(status, state="lost", last_error=f"no sign of life of {who} for {silence / 60:.0f} min")
    return status
