"""What measuring leaves in a folder: study.json says what was asked for and where, KIND.parquet holds the rows.

So do studies that train nothing, and so do the costs of networks beside a study that trained them.
"""

import json
import shlex
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from slackoff.errors import SlackoffError
from slackoff.record.files import now, write_json, write_whole

KINDS = ("complexity", "runtime")


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

    @staticmethod
    def of(content: dict[str, Any]) -> dict[str, Any]:
        """The texts of a study.json, as the arguments that they are here."""
        return {text.name: str(content.get(text.name, "")) for text in fields(StudyTexts)}


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


def kind_of(folder: Path) -> str | None:
    """The kind of the record in a folder; None where there is none."""
    try:
        content = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    kind = content.get("kind") if isinstance(content, dict) else None
    return kind if kind in KINDS else None


def load_measurement(folder: str | Path) -> MeasurementRecord:
    """Read a record.

    Raises:
        SlackoffError: a file is missing or damaged.
    """
    folder = Path(folder)
    path = folder / "study.json"
    cure = f"remove {folder} and run the study's command again to measure anew; what is trained stays trained."
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        kind, settings, environment = content["kind"], content["measure"], content["environment"]
        path = folder / f"{kind}.parquet"
        rows = pd.read_parquet(path)
    except (OSError, ValueError, KeyError, TypeError) as error:  # pyarrow's own errors are ValueErrors
        reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        raise SlackoffError(f"{path} is missing or damaged ({reason}): {cure}") from error
    about = {"folder": folder, "kind": kind, "settings": settings, "environment": environment}
    return MeasurementRecord(rows=rows, **about, **StudyTexts.of(content))
