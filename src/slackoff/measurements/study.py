"""A study that trains nothing: measure, write the record, draw its page. Nothing is measured twice."""

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd
from omegaconf import DictConfig, OmegaConf
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from slackoff.errors import SlackoffError
from slackoff.record.files import folder_name, read_json, write_json
from slackoff.record.measurement import MeasurementRecord, kind_of, load_measurement, write_measurement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from slackoff.analysis.claims.claim import Claim

KEY = "study.measure"
"""Where a config describes what is measured."""

_WIDE = 100
"""Columns of a terminal from which it has room for all columns of the table."""


class Measurement(ABC):
    """What a config node ``study.measure`` builds.

    ``kind`` names its file of rows, KIND.parquet, and the module that draws it: ``report`` of KIND_report. ``drawing``
    are the settings that only say how it is drawn: the same numbers with others of them are drawn anew.
    """

    kind: ClassVar[str]
    drawing: ClassVar[frozenset[str]] = frozenset()

    @property
    @abstractmethod
    def announcement(self) -> str:
        """What is going to be measured, as a sentence."""

    @abstractmethod
    def identity(self) -> list[Any]:
        """All that decides the numbers, in values that JSON has."""

    def fingerprint(self) -> str:
        """Hexadecimal digest of all that decides the numbers."""
        return hashlib.sha256(json.dumps(self.identity(), default=str).encode()).hexdigest()

    @abstractmethod
    def measure(self) -> pd.DataFrame:
        """The rows."""

    def write_further(self, folder: Path) -> None:  # noqa: B027
        """Write what the report needs beside the rows, if anything; called once, after ``measure``."""


@dataclass(frozen=True)
class Entry:
    """A cell of the table: its first line, what stands below it, and what to sort by (None: the first line)."""

    main: str
    note: str = ""
    sort: float | str | None = None

    @classmethod
    def of(cls, value: float, low: float, high: float, text: Callable[[float], str]) -> "Entry":
        """A number above its interval, both written by ``text``; no interval where there is none or it is a point."""
        interval = "" if math.isnan(low) or low == high else f"{text(low)} to {text(high)}"
        return cls(text(value), interval, "" if math.isnan(value) else value)


@dataclass(frozen=True)
class Column:
    """A column of the table; a narrow terminal leaves ``wide`` ones out."""

    heading: str
    text: bool = False
    wide: bool = False


@dataclass(frozen=True)
class Report:
    """What is drawn of one record; the template KIND.html.j2 places it on the page.

    Args:
        answers: verdict (or nothing) and sentence of each answer.
        figures: name -> figure and caption.
        columns, rows: the table; the last ``unmeasured`` rows stand there for comparison.
        caption: of the table in a paper, ``terminal_caption`` in a terminal.
        files: name -> further tables, written as CSV.
        claims: None for a study that makes none.
        notes: what a terminal is told after the answers.
        failures: a sentence for each part that could not be measured.
        page: what the template needs beside.
    """

    answers: Sequence[tuple[str, str]]
    figures: dict[str, tuple["Figure", str]]
    columns: Sequence[Column]
    rows: Sequence[Sequence[Entry]]
    caption: str
    terminal_caption: str
    files: dict[str, pd.DataFrame]
    claims: Sequence["Claim"] | None = None
    notes: Sequence[str] = ()
    failures: Sequence[str] = ()
    unmeasured: int = 0
    page: dict[str, Any] = field(default_factory=dict)


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
    name = folder_name(config.study.name, config.size, digest=measurement.fingerprint()[:6])
    folder = Path(config.runs) / "studies" / name
    try:
        if (folder / "study.json").is_file() and (folder / f"{measurement.kind}.parquet").is_file():
            again = f"Remove {folder} to measure again."
            console.print(f"This is measured already: only the report is drawn. {again}", soft_wrap=True)
            _keep_drawing(folder, settings, measurement)
        else:
            console.print(measurement.announcement)
            texts = {key: str(config.study.get(key, "")) for key in ("title", "question", "paper")}
            known = {"name": name, "experiment": str(config.study.name), **texts, "size": str(config.size)}
            record_measurement(folder, measurement, settings, known)
        return show(folder, console)
    except OSError as error:
        raise SlackoffError(
            f"The record folder {folder} cannot be written ({error.strerror or error}): make it writable, free space, "
            "or choose another place with runs=..."
        ) from error


def record_measurement(folder: Path, measurement: Measurement, settings: dict[str, Any], texts: dict[str, str]) -> None:
    """Measure and write the record: further files and rows first, study.json last."""
    from slackoff.record.environment import describe_environment  # imports torch

    rows = measurement.measure()
    measurement.write_further(folder)
    content = {**texts, "measure": settings, "fingerprint": measurement.fingerprint()}
    write_measurement(folder, measurement.kind, rows, content | {"environment": describe_environment()})


def find(study_or_folder: str | Path, runs: str | Path = "runs") -> Path | None:
    """The folder of a study that measured, given it or its name under `runs`/studies; None for anything else."""
    folders = (Path(study_or_folder), Path(runs) / "studies" / str(study_or_folder))
    found = next((folder for folder in folders if (folder / "study.json").is_file()), None)
    return found if found is not None and kind_of(found) else None


def build(folder: str | Path) -> Path:
    """Rebuild everything that is drawn from a record and return the path of its index.html.

    Writes figures/*.png and *.svg, tables/*.csv and KIND.tex, index.html, and claims.json where claims are made, into
    the study's folder. The same record gives the same files.

    Raises:
        SlackoffError: the record is missing or damaged.
    """
    return _draw(folder)[2]


def show(folder: str | Path, console: Console) -> int:
    """Build the report, then print its table, what it answers, where the page lies and what could not be measured.

    Returns the number of parts that could not. Raises as `build`.
    """
    from slackoff.analysis.text import warn

    found, report, page = _draw(folder)
    warn(found.size, console)
    title, caption = escape(found.title or found.name), report.terminal_caption
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown = [not column.wide or console.width >= _WIDE for column in report.columns]
    for column in compress(report.columns, shown):
        table.add_column(escape(column.heading), justify="left" if column.text else "right")
    for row in report.rows[: len(report.rows) - report.unmeasured]:
        table.add_row(*(escape(entry.main) for entry in compress(row, shown)))
    console.print(table)
    for text in [*(": ".join(filter(None, answer)) for answer in report.answers), *report.notes]:
        console.print(text, markup=False, highlight=False)
    console.print(f"Report: {page}", soft_wrap=True, markup=False)
    for failure in report.failures:
        console.print(failure, style="red", highlight=False, markup=False, soft_wrap=True)
    return len(report.failures)


def report_of(folder: str | Path) -> tuple[MeasurementRecord, Report]:
    """A record and what is reported of it, before anything is drawn; raises as `build`."""
    found = load_measurement(folder)
    report: Report = import_module(f"slackoff.measurements.{found.kind}_report").report(found)
    return found, report


def _draw(folder: str | Path) -> tuple[MeasurementRecord, Report, Path]:
    from slackoff.analysis.axes import letters_without_font, save
    from slackoff.analysis.page import data_uri, environment, flat
    from slackoff.analysis.report import write_claims

    found, report = report_of(folder)
    tables = found.folder / "tables"
    tables.mkdir(parents=True, exist_ok=True)
    for name, frame in report.files.items():
        frame.to_csv(tables / f"{name}.csv", index=False)
    (tables / f"{found.kind}.tex").write_text(_latex(found, report), encoding="utf-8")
    if report.claims is not None:
        write_claims(list(report.claims), found.folder)
    drawn = {
        name: (data_uri(save(figure, found.folder / "figures", name)[1]), caption)
        for name, (figure, caption) in report.figures.items()
    }
    page = found.folder / "index.html"
    known = {"settings": flat(found.settings), "environment": flat(found.environment), **report.page}
    known["letters"] = letters_without_font("".join(entry.main for row in report.rows for entry in row))
    html = environment().get_template(f"{found.kind}.html.j2").render(study=found, report=report, drawn=drawn, **known)
    page.write_text(html, encoding="utf-8")
    return found, report, page


def _latex(found: MeasurementRecord, report: Report) -> str:
    """The table for a paper that loads booktabs; all text is escaped."""
    from slackoff.analysis.tables import latex

    texts = [[f"{entry.main} ({entry.note})" if entry.note else entry.main for entry in row] for row in report.rows]
    frame = pd.DataFrame(texts, columns=[column.heading for column in report.columns])
    aligned = "".join("l" if column.text else "r" for column in report.columns)
    return latex(frame, aligned, report.caption, f"tab:{found.name}")


def _keep_drawing(folder: Path, settings: dict[str, Any], measurement: Measurement) -> None:
    """Put the settings that only say how it is drawn into study.json, where they differ."""
    kept = load_measurement(folder).settings
    changed = kept | {key: settings[key] for key in measurement.drawing if key in settings}
    if changed != kept:
        path = folder / "study.json"
        write_json(path, read_json(path, dict[str, Any]) | {"measure": changed})
