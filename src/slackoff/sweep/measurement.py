"""A study that trains nothing: measure, write ``study.json`` and the rows, report."""

import json
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import pandas as pd
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from slackoff.errors import SlackoffError
from slackoff.evaluation.complexity import KEY
from slackoff.record.files import write_json, write_whole


@runtime_checkable
class Measurement(Protocol):
    """What a config node ``study.measure`` builds.

    ``kind`` names the report that shows it (see ``slackoff.analysis.measured``) and its file of rows, KIND.parquet.
    ``drawing`` are the settings that only say how it is drawn: the same numbers with others of them are drawn anew.
    """

    kind: ClassVar[str]
    drawing: ClassVar[frozenset[str]]

    @property
    def announcement(self) -> str:
        """What is going to be measured, as a sentence."""

    def settled(self, folder: Path) -> str:
        """That it was measured before, and the record of it lies in a folder, as a sentence."""

    def fingerprint(self) -> str:
        """Hexadecimal digest of all that decides the numbers."""

    def measure(self) -> pd.DataFrame:
        """The rows."""

    def write_further(self, folder: Path) -> None:
        """Write what the report needs beside the rows; called once, after ``measure``."""

    def failures(self, rows: pd.DataFrame) -> list[str]:
        """A sentence for each part that could not be measured."""


def run_measurement(config: DictConfig, console: Console) -> int:
    """Measure what ``study.measure`` describes and draw the study; what was measured before is only drawn.

    Args:
        config: a resolved config with ``study.measure``.
        console: for the table and the place of the report.

    Returns:
        The number of parts that could not be measured; mistakes are raised.

    Raises:
        SlackoffError: a setting that cannot be, a folder or image that cannot be read, or a record that cannot be
            written.
    """
    from slackoff.config import build  # imports torch

    settings: Any = OmegaConf.to_container(config.study.measure)
    measurement = build.build(config.study.measure, KEY)
    if not isinstance(measurement, Measurement):
        raise SlackoffError(f"{KEY}._target_={settings.get('_target_')} measures nothing that a study can draw.")
    name = "-".join([str(config.study.name), str(config.size), measurement.fingerprint()[:6]])
    folder = Path(config.runs) / "studies" / name
    try:
        failures = _record(folder, name, config, settings, measurement, console)
    except OSError as error:
        raise SlackoffError(
            f"The record folder {folder} cannot be written ({error.strerror or error}): make it writable, free space, "
            "or choose another place with runs=..."
        ) from error
    _report(folder, measurement.kind, console)
    for failure in failures:
        console.print(failure, style="red", highlight=False, markup=False, soft_wrap=True)
    return len(failures)


def _record(
    folder: Path,
    name: str,
    config: DictConfig,
    settings: dict[str, Any],
    measurement: Measurement,
    console: Console,
) -> list[str]:
    """The rows and further files first, study.json last: a study is listed only when it is whole.

    Returns the sentences on what failed.
    """
    from slackoff.record.environment import describe_environment

    path, rows_path = folder / "study.json", folder / f"{measurement.kind}.parquet"
    if path.is_file() and rows_path.is_file():
        console.print(measurement.settled(folder), soft_wrap=True)
        _keep_drawing(path, settings, measurement)
        return measurement.failures(_read(rows_path))
    console.print(measurement.announcement)
    rows = measurement.measure()
    folder.mkdir(parents=True, exist_ok=True)
    measurement.write_further(folder)
    write_whole(rows_path, lambda partial: rows.to_parquet(partial, index=False))
    texts = {key: str(config.study.get(key, "")) for key in ("title", "question", "paper")}
    write_json(
        path,
        {
            "name": name,
            "kind": measurement.kind,
            "experiment": str(config.study.name),
            **texts,
            "size": str(config.size),
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": shlex.join(["python", "-m", "slackoff", *sys.argv[1:]]),
            "measure": settings,
            "environment": describe_environment(),
        },
    )
    return measurement.failures(rows)


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise SlackoffError(f"{path} is damaged ({str(error).splitlines()[0]}): remove it to measure again.") from error


def _keep_drawing(path: Path, settings: dict[str, Any], measurement: Measurement) -> None:
    """Put the settings that only say how it is drawn into study.json, where they differ."""
    if not measurement.drawing:
        return
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        kept = content["measure"] | {key: settings[key] for key in measurement.drawing if key in settings}
    except (ValueError, KeyError, TypeError) as error:
        raise SlackoffError(f"{path} is damaged ({error}): remove it to measure again.") from error
    if kept != content["measure"]:
        write_json(path, content | {"measure": kept})


def _report(folder: Path, kind: str, console: Console) -> None:
    from slackoff.analysis.measured import show  # pandas and matplotlib: not needed before

    show(folder, kind, console)
