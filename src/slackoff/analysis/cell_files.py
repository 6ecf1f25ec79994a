"""What one cell of the record left on disk, checked and typed: its status, its steps, its results per image."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from slackoff.analysis.columns import COUNT, IMAGES, NAMES, NUMBER, STATUS, STEPS, TIME
from slackoff.record.files import read_lines
from slackoff.record.status import refuse_newer

FILES = ("images.parquet", "images_teacher.parquet")
"""Results per image: the cell's own, which every cell that is done has, and those of its teacher."""

_ARROW = {NAMES: pa.string(), COUNT: pa.int64(), "int64": pa.int64(), NUMBER: pa.float64()}
_PLAIN: dict[str, Any] = {COUNT: (int, float), NUMBER: (int, float), NAMES: str, "string": str, "object": list}


@dataclass
class CellFiles:
    """One cell: its status as the file has it, its label, one row per logged event, results by file."""

    status: dict[str, Any]
    label: dict[str, Any] = field(default_factory=dict)
    steps: pa.Table | None = None
    images: dict[str, pa.Table] = field(default_factory=dict)


def read_cell(folder: Path) -> CellFiles:
    """Reads the folder of a cell; results per image only where the cell is done.

    Where there is no folder the state is 'missing'. A file that is damaged, or lacking though the cell is done, makes
    it 'unreadable', with the file in `last_error` and without results.

    Raises:
        SlackoffError: a newer slackoff wrote the cell.
    """
    path = folder / "status.json"
    found = CellFiles({"state": "missing"})
    try:
        if not path.is_file():
            return found
        content = json.loads(path.read_text(encoding="utf-8"))
        refuse_newer(content, path)
        found.status, found.label = checked_status(content)
        path = folder / "steps.parquet"
        if path.is_file():
            found.steps = typed_steps(_read(path))
        elif (path := folder / "steps.jsonl").is_file():
            found.steps = _steps_of(read_lines(path))
        if found.status["state"] == "done":
            for file in FILES:
                path = folder / file
                if path.is_file() or file == FILES[0]:
                    found.images[file] = typed_images(_read(path))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        return CellFiles({"state": "unreadable", "last_error": _sentence(path, error)}, steps=found.steps)
    return found


def checked_status(content: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The known keys of a status, None where an older slackoff did not write them, and its label.

    Raises:
        KeyError: it names no state.
        TypeError, ValueError, AttributeError: a value is of another kind than it should be.
    """
    content = {**content, "state": content["state"]}
    status = {key: content.get(key) for key in STATUS}
    for key, value in status.items():
        if value is None:
            continue
        if STATUS[key].dtype == TIME:
            datetime.fromisoformat(value)
        elif not isinstance(value, _PLAIN[STATUS[key].dtype]):
            raise TypeError(f"{key} is {value!r}")
    return status, dict(content.get("label") or {})


def typed_steps(table: pa.Table) -> pa.Table:
    """The rows of one cell with `step` as int64 and everything else as float64."""
    return _typed(table, {"step": STEPS["step"].dtype}, NUMBER, needed=("step",))


def typed_images(table: pa.Table) -> pa.Table:
    """The rows of one cell with names as text, height and width as int64 and everything else as float64."""
    known = {name: column.dtype for name, column in IMAGES.items()}
    return _typed(table, known, None, needed=("test_set", "image"))


def _typed(table: pa.Table, known: dict[str, str], other: str | None, needed: tuple[str, ...]) -> pa.Table:
    for name in needed:
        if name not in table.column_names:
            raise KeyError(f"there is no column {name}")
    for place, item in enumerate(table.schema):
        kind = _arrow_type(item, known.get(item.name, other))
        if item.type != kind:
            table = table.set_column(place, item.name, table.column(place).cast(kind))
    return table.replace_schema_metadata()


def _arrow_type(item: pa.Field, dtype: str | None) -> pa.DataType:
    """What a column is to be; one that nobody knows is a name or a number by what it holds."""
    if dtype is None:
        kind = item.type.value_type if pa.types.is_dictionary(item.type) else item.type
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        dtype = NAMES if text else NUMBER
    return _ARROW[dtype]


def _read(path: Path) -> pa.Table:
    # Hundreds of small files: handing each to Arrow's threads for reading takes longer than reading it.
    return pq.ParquetFile(pa.BufferReader(path.read_bytes())).read(use_threads=False)


def _steps_of(rows: list[dict[str, Any]]) -> pa.Table | None:
    return typed_steps(pa.Table.from_pandas(pd.DataFrame(rows), preserve_index=False)) if rows else None


def _sentence(path: Path, error: Exception) -> str:
    why = str(error).strip().partition("\n")[0] or type(error).__name__
    why = "there is no such file" if isinstance(error, FileNotFoundError) else why
    return f"{path} cannot be read ({why}): remove the folder of the cell and run the command of its study again."
