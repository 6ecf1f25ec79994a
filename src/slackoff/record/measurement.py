"""What measuring leaves in a folder: study.json says what was asked for and where, KIND.parquet holds the rows.

So do studies that train nothing, and so do the costs of networks beside a study that trained them.
"""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from slackoff.errors import SlackoffError
from slackoff.record.files import DamagedFileError, now, read_json, write_json, write_whole

_SETTINGS = {"complexity": ("filter_size", "patch_size_px"), "runtime": ("size_px",)}
_COLUMNS: dict[str, dict[str, str]] = {
    "complexity": {
        **dict.fromkeys(("category", "photograph", "colour"), "object"),
        "patch": "int64",
        "normalised": "bool",
        **dict.fromkeys(("half_variance", "c_0"), "float64"),
    },
    "runtime": {
        **dict.fromkeys(("network", "device", "paper", "failure"), "object"),
        **dict.fromkeys(("round", "threads", "parameters"), "int64"),
        **dict.fromkeys(("seconds", "gflops"), "float64"),
    },
}
"""What no reader of a record can do without."""


@dataclass(frozen=True, kw_only=True)
class StudyTexts:
    """What study.json says in words of a study, whether it trains or measures.

    ``created_at`` is ISO 8601 in UTC, ``size`` 'smoke', 'laptop' or 'paper'. What has no study.json of its own, such as
    a study in W&B, has empty texts.
    """

    name: str = ""
    title: str = ""
    question: str = ""
    experiment: str = ""
    size: str = ""
    created_at: str = ""
    command: str = ""
    paper: str = ""


@dataclass(frozen=True, kw_only=True)
class MeasurementRecord(StudyTexts):
    """What was measured.

    ``kind`` is 'complexity' or 'runtime', whose ``measure`` describes the ``rows``; ``settings`` are those of the
    measurement, ``environment`` what machine and versions were.
    """

    folder: Path
    kind: str
    rows: pd.DataFrame
    settings: dict[str, Any]
    environment: dict[str, Any]

    def values(self, column: str) -> list[Any]:
        """The values of a column, each once, in the order in which they were measured."""
        return list(dict.fromkeys(self.rows[column]))

    def hardware(self, device: str) -> str:
        """What 'cpu' or 'cuda' of a runtime record is: 'AMD EPYC, 2 threads' or 'NVIDIA H100'."""
        if device == "cuda":
            return str(self.environment["gpu"])
        threads = int(self.rows["threads"].iloc[0])
        return f"{self.environment['cpu'] or 'unknown CPU'}, {threads} thread{'s' * (threads != 1)}"

    @property
    def torch(self) -> str:
        """The version of torch."""
        return str(self.environment["packages"]["torch"])


def write_measurement(folder: Path, kind: str, rows: pd.DataFrame, content: dict[str, Any]) -> None:
    """Write the rows, then study.json with ``content``, the kind, the time and the command: a record is whole once
    study.json is there."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"{kind}.parquet", lambda partial: rows.to_parquet(partial, index=False))
    made = {"created_at": now(), "command": shlex.join(["python", "-m", "slackoff", *sys.argv[1:]])}
    write_json(folder / "study.json", {"kind": kind, **content, **made})


@dataclass(frozen=True, kw_only=True)
class _Kind:
    kind: Literal["complexity", "runtime"]


@dataclass(frozen=True, kw_only=True)
class _MeasurementFile(StudyTexts, _Kind):
    """The file study.json."""

    measure: dict[str, Any]
    environment: dict[str, Any]


def kind_of(folder: Path) -> str | None:
    """The kind of the record in a folder; None where there is none."""
    try:
        return read_json(folder / "study.json", _Kind).kind
    except (OSError, DamagedFileError):
        return None


def load_measurement(folder: str | Path) -> MeasurementRecord:
    """Read a record.

    Raises:
        SlackoffError: a file is missing or damaged, or lacks a key, a column or any row.
    """
    folder = Path(folder)
    path = folder / "study.json"
    cure = f"remove {folder} and run the study's command again to measure anew; what is trained stays trained."
    try:
        content = vars(read_json(path, _MeasurementFile))
        kind = content["kind"]
        for key in _SETTINGS[kind]:
            int(content["measure"][key])
        _ = content["environment"]["cpu"], content["environment"]["gpu"], content["environment"]["packages"]["torch"]
        path = folder / f"{kind}.parquet"
        rows = pd.read_parquet(path)
        if lacking := [name for name in _COLUMNS[kind] if name not in rows] or ([] if len(rows) else ["any row"]):
            raise SlackoffError(f"{path} lacks {', '.join(lacking)}: {cure}")
        rows = rows.astype(_COLUMNS[kind])
    except (OSError, DamagedFileError, ValueError, KeyError, TypeError) as error:  # pyarrow's own are ValueErrors
        reason = str(error) if isinstance(error, DamagedFileError) else f"{type(error).__name__}: {error}"
        raise SlackoffError(f"{path} is missing or damaged ({reason.splitlines()[0]}): {cure}") from error
    return MeasurementRecord(folder=folder, rows=rows, settings=content.pop("measure"), **content)
