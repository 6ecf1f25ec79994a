"""Tidy pandas frames of a study: its cells, their measures over steps, their results per test image."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from slackoff.analysis.study import Study, find_study
from slackoff.errors import SlackoffError
from slackoff.record.lines import read_lines

STATUS_COLUMNS = (
    "state",
    "attempts",
    "started_at",
    "finished_at",
    "train_seconds",
    "evaluate_seconds",
    "seconds_to_first_step",
    "step",
    "steps_total",
    "last_error",
    "wandb_id",
    "notes",
)
_IMAGES = ("images.parquet", "images_teacher.parquet")
_NUMBERS = ("attempts", "train_seconds", "evaluate_seconds", "seconds_to_first_step", "step", "steps_total")


@dataclass(frozen=True)
class Frames:
    """The record of one study.

    - `cells`: one row per cell of the study, whatever became of it: `id`, its axes, `state` (pending,
      running, done, failed; missing where there is no folder, unreadable where a file of it is damaged), the
      other columns of its status (seconds, attempts, last_error ...) and of its label.
    - `steps`: `cell`, `step`, `elapsed_s` and the logged measures, one row per cell and step, NaN where not
      logged.
    - `images`: `cell`, the axes, `test_set`, `image`, `height`, `width` and the measures per test image. Only
      cells that are done have rows here: the images of an unfinished cell may be half a test set.
    - `teachers`: as `images`, of the teachers that cells were trained by; empty where none was.
    """

    study: Study
    cells: pd.DataFrame
    steps: pd.DataFrame
    images: pd.DataFrame
    teachers: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def unfinished(self) -> pd.DataFrame:
        """The rows of `cells` that have no results: everything that is not done."""
        return self.cells[self.cells["state"] != "done"]


def load(study_or_folder: str | Path, runs: str | Path = "runs") -> Frames:
    """Loads the record of a study, named or given as its folder, from `runs`.

    Only the study's own test sets, where it names some, are loaded.

    Raises SlackoffError when there is no such study, or when no cell that is done was tested on a test set that it
    names. A damaged cell does not raise: its state is `unreadable`
    and its `last_error` names the file.
    """
    study = find_study(study_or_folder, runs)
    rows: list[dict[str, Any]] = []
    steps: list[pa.Table] = []
    images: dict[str, list[pa.Table]] = {file: [] for file in _IMAGES}
    for identity, axes in study.cells:
        folder = study.runs / "cells" / identity
        status, found_steps, found_images = _read_cell(folder)
        label = status.pop("label", None) or {}
        extra = {key: value for key, value in label.items() if key not in axes and key not in STATUS_COLUMNS}
        known = {key: status.get(key) for key in STATUS_COLUMNS}
        rows.append({"id": identity, **axes, **known, **extra})
        if found_steps is not None:
            steps.append(_with_cell(found_steps, identity))
        for file, table in found_images.items():
            images[file].append(_with_cell(table, identity))
    cells = pd.DataFrame(rows)
    for column in ("started_at", "finished_at"):
        cells[column] = pd.to_datetime(cells[column], utc=True, format="ISO8601")
    for column in _NUMBERS:
        cells[column] = pd.to_numeric(cells[column])
    drawn = (_on_test_sets(_with_axes(_joined(images[file]), cells, study), study) for file in _IMAGES)
    return Frames(study, cells, _one_row_per_step(_joined(steps)), *drawn)


def _on_test_sets(images: pd.DataFrame, study: Study) -> pd.DataFrame:
    """The results on the test sets that the study names, on all where it names none."""
    if images.empty:
        return images
    images = _with_joined_sets(images, study)
    if not study.test_sets:
        return images
    there = list(dict.fromkeys(images["test_set"].astype(str)))
    for name in study.test_sets:
        if name not in there:
            raise SlackoffError(
                f"study.test_sets of the study '{study.name}' names '{name}', on which no cell was tested: the test "
                f"sets there are: {', '.join(there)}."
            )
    return images[images["test_set"].isin(study.test_sets)].reset_index(drop=True)


def _with_joined_sets(images: pd.DataFrame, study: Study) -> pd.DataFrame:
    """The results with those of test sets that `options.joined_test_sets` counts as one, once more under its name."""
    joined = study.options.get("joined_test_sets", {})
    copies = [images[images["test_set"].isin(parts)].assign(test_set=name) for name, parts in joined.items()]
    return pd.concat([images, *copies], ignore_index=True)


def _read_cell(folder: Path) -> tuple[dict[str, Any], pa.Table | None, dict[str, pa.Table]]:
    """Status, steps and images of one cell folder; the images (by file) only when the cell is done."""
    path = folder / "status.json"
    steps, images = None, {}
    try:
        if not path.is_file():
            return {"state": "missing"}, None, {}
        status = json.loads(path.read_text(encoding="utf-8"))
        state = status["state"]
        path = folder / "steps.parquet"
        if path.is_file():
            steps = pq.ParquetFile(path).read()
        elif (path := folder / "steps.jsonl").is_file():
            steps = _read_lines(path)
        if state == "done":
            for file in _IMAGES:
                path = folder / file
                if path.is_file() or file == _IMAGES[0]:
                    images[file] = pq.ParquetFile(path).read()
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        return {"state": "unreadable", "last_error": f"{path}: {error}"}, steps, {}
    return status, steps, images


def _read_lines(path: Path) -> pa.Table | None:
    """Rows of a steps.jsonl; skips a line that a kill cut short (after a resume it need not be the last)."""
    rows = read_lines(path)
    return pa.Table.from_pandas(pd.DataFrame(rows), preserve_index=False) if rows else None


def _with_cell(table: pa.Table, identity: str) -> pa.Table:
    return table.add_column(0, "cell", pa.array([identity] * table.num_rows, pa.string())).replace_schema_metadata()


def _joined(tables: list[pa.Table]) -> pd.DataFrame:
    """One frame from tables whose columns may differ; a column that a cell does not have is NaN there."""
    if not tables:
        return pd.DataFrame({"cell": pd.Series(dtype=str)})
    return pa.concat_tables(tables, promote_options="permissive").to_pandas()


def _one_row_per_step(steps: pd.DataFrame) -> pd.DataFrame:
    """Merges what was logged at the same step by several events or after a resume: the last value counts."""
    if "step" not in steps:
        return steps.assign(step=pd.Series(dtype=int), elapsed_s=pd.Series(dtype=float))
    return (
        steps.groupby(["cell", "step"], sort=False)
        .last()
        .reset_index()
        .sort_values(["cell", "step"], ignore_index=True)
    )


def _with_axes(images: pd.DataFrame, cells: pd.DataFrame, study: Study) -> pd.DataFrame:
    if images.empty:
        columns = ["cell", *study.axes, "test_set", "image"]
        return pd.DataFrame({column: pd.Series(dtype=object) for column in columns})
    axes = cells.set_index("id")[study.axes]
    placed = axes.loc[images["cell"]].reset_index(drop=True)
    rest = images.drop(columns=["cell", *(axis for axis in study.axes if axis in images)])
    return pd.concat([images[["cell"]], placed, rest], axis=1)
