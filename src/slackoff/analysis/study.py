"""A study as its record has it: what `study.json` says, what each of its cells left on disk, and the columns of that.

Figures per image (`e_r`, `psnr_rgb` ...) have their units in `slackoff.metrics.columns`.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ConfigDict
from typing_extensions import TypedDict

from slackoff.errors import SlackoffError, did_you_mean, explain_unusable
from slackoff.metrics.columns import COLUMNS, add_own
from slackoff.record.archive import OF_ROWS
from slackoff.record.files import DamagedFileError, Patience, read_json, read_lines
from slackoff.record.ledger import HeartbeatMonitor
from slackoff.record.measurement import StudyTexts
from slackoff.record.status import CellId, DamagedStatusError, State, Status, observed_status

NAMES = "category"
COUNT = "Int64"
NUMBER = "float64"
TEXT = "string"
TIME = "datetime64[ns, UTC]"

STATES = (*get_args(State), "missing", "unreadable")
"""What a cell can be: what its status says, or that it has no folder, or that a file of it is damaged."""

SIZES = ("small", "medium", "large")
"""Names that have an order of their own, as the rain ranges do."""


class Known(NamedTuple):
    """A column: its dtype in a frame, its unit (empty for a plain number or a name), its meaning in one line."""

    dtype: str
    unit: str
    meaning: str


STATUS: dict[str, Known] = {
    "state": Known(NAMES, "", "What became of the cell: done, failed, running, pending, interrupted ..."),
    "attempts": Known(COUNT, "", "How often the cell was started."),
    "started_at": Known(TIME, "UTC", "When it was first started."),
    "finished_at": Known(TIME, "UTC", "When it ended."),
    "train_seconds": Known(NUMBER, "s", "Time of the training that led to the result."),
    "evaluate_seconds": Known(NUMBER, "s", "Time of all its evaluations."),
    "seconds_to_first_step": Known(NUMBER, "s", "From the start of its process to the end of its first step."),
    "step": Known(COUNT, "steps", "Training steps taken so far."),
    "steps_total": Known(COUNT, "steps", "Training steps that it is to take."),
    "last_error": Known(TEXT, "", "What went wrong."),
    "wandb_id": Known(TEXT, "", "Id of its run in W&B."),
    "notes": Known("object", "", "What it noted about its data and checkpoints: a list of sentences."),
}

LABELS: dict[str, Known] = {
    "network": Known(NAMES, "", "Preset of the network."),
    "background": Known(NAMES, "", "Training backgrounds."),
    "rain": Known(NAMES, "", "Range of the training rain."),
    "task": Known(NAMES, "", "Training regime."),
    "evaluation": Known(NAMES, "", "Preset of the test sets."),
    "patch_count": Known(COUNT, "patches", "Training patches, the N of the curves."),
    "seed": Known(COUNT, "", "Training seed; cells that differ in it alone are repeats."),
}

CELLS: dict[str, Known] = {"id": Known(TEXT, "", "The cell: its folder under runs/cells."), **STATUS}

STEPS: dict[str, Known] = {
    "cell": Known(NAMES, "", "The cell, as `id` in cells."),
    "step": Known("int64", "steps", "Training steps taken so far."),
    "elapsed_s": Known(NUMBER, "s", "Time since training began, evaluations included."),
}

IMAGES: dict[str, Known] = {
    "cell": STEPS["cell"],
    "test_set": Known(NAMES, "", "Test set of the image."),
    "image": Known(NAMES, "", "Test image, unique in its test set: one name is one image, in whatever cell."),
    "height": Known(COUNT, "pixels", "Height of the image."),
    "width": Known(COUNT, "pixels", "Width of the image."),
    "source": Known(NAMES, "", "Scene or photograph that images have in common; such images are resampled together."),
    "digest": Known(NAMES, "", "Of all that the image is made from: tells images of one name apart."),
    "photograph": Known(NAMES, "", "Photograph that the image was cut from."),
    **{name: Known(NUMBER, column.unit, column.explanation) for name, column in COLUMNS.items()},
}

FILES = OF_ROWS
"""Results per image: the cell's own, which every cell that is done has, and those of what else it left."""

_MOST_SHRUNK = 100
_HARMLESS_BYTES = 256 * 1024**2

_ARROW = {NAMES: pa.string(), COUNT: pa.int64(), "int64": pa.int64(), NUMBER: pa.float64()}


@dataclass(frozen=True, kw_only=True)
class Study(StudyTexts):
    """What `study.json` says, and where the study lies.

    `axis` is the axis that the curves are drawn against; `cells` holds one (cell id, axes) pair per model, in
    the order of the study. `claims` names the families of claims to check (none: by the axis) and `test_sets` the
    test sets to draw (none: all); `options` are choices of the analysis, such as `balance_margin`.
    """

    axis: str
    cells: tuple[tuple[str, dict[str, Any]], ...]
    folder: Path
    runs: Path
    claims: tuple[str, ...] = ()
    test_sets: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def axes(self) -> list[str]:
        """Names of all axes, the main one first, the others in the order in which cells name them."""
        return list(dict.fromkeys([self.axis, *(name for _, axes in self.cells for name in axes)]))


def find_study(study_or_folder: str | Path, runs: str | Path = "runs") -> Study:
    """Reads a study by its name under `runs`/studies, or by the folder that holds its `study.json`.

    Raises SlackoffError when there is no such study (with the closest name and the names there are) or when
    its `study.json` cannot be used.
    """
    for folder in (Path(study_or_folder), Path(runs) / "studies" / str(study_or_folder)):
        if (folder / "study.json").is_file():
            return _read_study(folder, Path(runs))
    raise SlackoffError(_not_found(str(study_or_folder), Path(runs) / "studies"))


def _not_found(name: str, studies: Path) -> str:
    known = sorted(path.parent.name for path in studies.glob("*/study.json"))
    if not known:
        return (
            f"There is no study '{name}' and {studies} holds none: run one first, "
            "for example `python -m slackoff +experiment=patchcount -m`, or name another folder of runs."
        )
    starting = [study for study in known if name and study.startswith(name)]
    suggestion = f"did you mean '{starting[0]}'?" if starting else did_you_mean(name, known)
    listed = f"The studies there are: {', '.join(known)}."
    return f"There is no study '{name}' in {studies}: {' '.join(filter(None, (suggestion, listed)))}"


class _Options(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    balance_margin: float
    joined_test_sets: dict[str, list[str]]
    distributions: list[str] | None


@dataclass(frozen=True)
class _Listed:
    id: CellId
    axes: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class _StudyFile(StudyTexts):
    """The file study.json."""

    axis: str
    cells: list[_Listed]
    claims: tuple[str, ...]
    test_sets: tuple[str, ...]
    options: _Options


def _read_study(folder: Path, runs: Path) -> Study:
    path = folder / "study.json"
    try:
        content = vars(Patience()(lambda: read_json(path, _StudyFile)))
    except DamagedFileError as error:
        raise SlackoffError(f"{error}: run the study's command again to rewrite it.") from error
    cells, axis = tuple((cell.id, scalars(cell.axes)) for cell in content["cells"]), content["axis"]
    without = [identity for identity, axes in cells if axis not in axes]
    if without or not cells:
        what = f"its cell {without[0]} has no axis '{axis}'" if without else "it lists no cells"
        raise SlackoffError(f"{path} is of no use, {what}: run the study's command again to rewrite it.")
    lexical = Path(os.path.abspath(folder))  # noqa: PTH100 - the study or the folder of studies may be a link
    places = dict.fromkeys([lexical.parents[1], folder.resolve().parents[1], runs])
    holding = (place for place in places if any(os.path.isdir(place / "cells" / each) for each, _ in cells))  # noqa: PTH112
    return Study(folder=folder, runs=next(holding, runs), **content | {"cells": cells})


def scalars(axes: dict[str, Any]) -> dict[str, Any]:
    """Axis values that a frame can group by: a list or mapping becomes its JSON text."""
    return {key: json.dumps(value) if isinstance(value, list | dict) else value for key, value in axes.items()}


@dataclass
class CellFiles:
    """One cell: its status as the file has it, its label, one row per logged event, results by file."""

    status: dict[str, Any]
    label: dict[str, Any] = field(default_factory=dict)
    steps: pa.Table | None = None
    images: dict[str, pa.Table] = field(default_factory=dict)


def read_cell(folder: Path, monitor: HeartbeatMonitor, patience: Patience) -> CellFiles:
    """Reads the folder of a cell; results per image only where the cell is done.

    Where there is no folder the state is 'missing'. A file that is damaged, or lacking though the cell is done, makes
    it 'unreadable', with the file in `last_error` and without results; so does one that cannot be read now.

    Args:
        folder: of the cell.
        monitor: tells which cells are held by living processes.
        patience: for files that cannot be read at once.

    Raises:
        SlackoffError: a newer slackoff wrote the cell.
    """
    try:
        return patience(lambda: _read_cell(folder, monitor))
    except OSError as error:
        return CellFiles({"state": "unreadable", "last_error": explain_unusable(error, folder)})


def _read_cell(folder: Path, monitor: HeartbeatMonitor) -> CellFiles:
    path = folder / "status.json"
    found = CellFiles({"state": "missing"})
    try:
        status = observed_status(folder, monitor)
        if status is None:
            return found
        found.status, found.label = told(status), status.label
        path = folder / "steps.parquet"
        if path.is_file():
            found.steps = typed_steps(_read_parquet(path))
        elif (path := folder / "steps.jsonl").is_file():
            found.steps = steps_of(read_lines(path))
        if status.state == "done":
            for file in FILES:
                path = folder / file
                if path.is_file() or file == FILES[0]:
                    table = _read_parquet(path)
                    add_own(_attributes(table).get("own_measures"))
                    found.images[file] = typed_images(table)
    except DamagedStatusError as error:
        return CellFiles({"state": "unreadable", "last_error": str(error)})
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        return CellFiles({"state": "unreadable", "last_error": _sentence(path, error)}, steps=found.steps)
    return found


def told(status: Status) -> dict[str, Any]:
    """What a status says under the keys of `STATUS`."""
    return {key: value for key, value in asdict(status).items() if key in STATUS}


def typed_steps(table: pa.Table) -> pa.Table:
    """The rows of one cell with `step` as int64 and everything else as float64."""
    return _typed(table, {"step": STEPS["step"].dtype}, NUMBER, needed=("step", "elapsed_s"))


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


def _read_parquet(path: Path) -> pa.Table:
    content = path.read_bytes()
    about = pq.read_metadata(pa.BufferReader(content))
    chunks = [group.column(place) for group in _groups(about) for place in range(about.num_columns)]
    values = sum(8 * chunk.num_values + chunk.total_uncompressed_size for chunk in chunks)
    _refuse_bomb(values, len(content))
    texts = sorted({chunk.path_in_schema for chunk in chunks if chunk.physical_type == "BYTE_ARRAY"})
    # Hundreds of small files: handing each to Arrow's threads for reading takes longer than reading it.
    table = pq.ParquetFile(pa.BufferReader(content), read_dictionary=texts).read(use_threads=False)
    # A text stands in the file once, however many rows have it: how long all of them are is known only now.
    parts = [part for column in table.columns for part in column.chunks if pa.types.is_dictionary(part.type)]
    lengths = (pc.sum(pc.take(pc.binary_length(part.dictionary), part.indices)).as_py() or 0 for part in parts)
    _refuse_bomb(sum(lengths), len(content))
    return table


def _groups(about: pq.FileMetaData) -> list[pq.RowGroupMetaData]:
    return [about.row_group(number) for number in range(about.num_row_groups)]


def _refuse_bomb(unpacked: int, size: int) -> None:
    """A value or a text that repeats takes no room in a file."""
    if unpacked > max(_MOST_SHRUNK * size, _HARMLESS_BYTES):
        raise ValueError(f"it would take {unpacked / 1e9:.1f} GB unpacked, which may be a bomb")


def _attributes(table: pa.Table) -> dict[str, Any]:
    """What pandas keeps of a frame beside its rows."""
    text = (table.schema.metadata or {}).get(b"PANDAS_ATTRS", b"{}")
    found = json.loads(text)
    return found if isinstance(found, dict) else {}


def steps_of(rows: list[dict[str, Any]]) -> pa.Table | None:
    """The events of one cell, with `step` in each, as `typed_steps` has them; None without any."""
    return typed_steps(pa.Table.from_pandas(pd.DataFrame(rows), preserve_index=False)) if rows else None


def _sentence(path: Path, error: Exception) -> str:
    why = str(error).strip().partition("\n")[0] or type(error).__name__
    why = "there is no such file" if isinstance(error, FileNotFoundError) else why
    return f"{path} cannot be read ({why}): remove the folder of the cell and run the command of its study again."
