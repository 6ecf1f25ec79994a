"""Tidy pandas frames of a study: its cells, their measures over steps, their results per test image.

The columns of a frame have the same dtypes whatever the cells were.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import pyarrow as pa

from slackoff.analysis.study import (
    CELLS,
    COUNT,
    FILES,
    IMAGES,
    LABELS,
    NAMES,
    NUMBER,
    SIZES,
    STATES,
    STATUS,
    STEPS,
    CellFiles,
    Study,
    find_study,
    read_cell,
    scalars,
)
from slackoff.errors import SlackoffError
from slackoff.metrics.columns import COLUMNS, measure_columns
from slackoff.record.archive import CHECKPOINT, WEIGHTS, Archive
from slackoff.record.files import Patience
from slackoff.record.ledger import HeartbeatMonitor

if TYPE_CHECKING:
    from slackoff.record.results import Named

WANDB = "wandb:"
"""What the name of a study in W&B begins with."""

_TRAIN = {
    "loss": ("", "Training loss of the batch of this step."),
    "learning_rate": ("", "Learning rate of the optimiser."),
    "steps_per_second": ("steps/s", "Rate of training, evaluations left out."),
}
_MEASURED = {
    "test": "on a part of the test set while training goes on",
    "teacher": "of the teacher, on a part of the test set while training goes on",
    "ema": "of the moving average of the weights, on a part of the test set while training goes on",
    "validation": "on the validation pairs while training goes on",
    "final": "on the whole first test set, when training had ended",
    "final/teacher": "of the teacher, on the whole first test set, when training had ended",
    "final/ema": "of the moving average of the weights, on the whole first test set, when training had ended",
    "final/best": "of the best checkpoint, on the whole first test set, when training had ended",
}


@dataclass(frozen=True)
class Frames:
    """The record of one study. Columns keep their dtype whatever the cells are, in a frame without rows too.

    - `cells`: one row per cell of the study, whatever became of it: `id`, its axes, `state` (pending,
      running, done, failed, interrupted, lost; missing where there is no folder, unreadable where a file of it is
      damaged or cannot be read), the other columns of its status (seconds, attempts, last_error ...) and of its label.
    - `steps`: `cell`, `step`, `elapsed_s` and the logged measures, one row per cell and step, NaN where not
      logged.
    - `images`: `cell`, the axes, `test_set`, `image`, `height`, `width` and the measures per test image. Only
      cells that are done have rows here: the images of an unfinished cell may be half a test set.
    - `teachers`, `averages`, `best`: as `images`, of the teachers that cells were trained by, of the moving averages of
      their weights, and of their best checkpoints on the validation pairs; without rows where there is none.

    Whole numbers that may be unknown are Int64, measures float64, times datetime64[ns, UTC], names categories: cells
    and axes in the order of the study (small, medium, large in that one), test sets in its order or as they come,
    images by name. Axes are Int64 where all their values are whole numbers, float64 where all are numbers, else ordered
    categories. `describe` says unit and meaning of each column.
    """

    study: Study
    cells: pd.DataFrame
    steps: pd.DataFrame
    images: pd.DataFrame
    teachers: pd.DataFrame = field(default_factory=pd.DataFrame)
    averages: pd.DataFrame = field(default_factory=pd.DataFrame)
    best: pd.DataFrame = field(default_factory=pd.DataFrame)
    renamed: "Mapping[Named, Named]" = field(default_factory=dict)

    def recorded(self, image: "Named") -> "Named":
        """Test set and name that an image of the frames has in the record of its cells.

        They differ where `options.joined_test_sets` counts several test sets as one, and where cells have different
        images under one name.
        """
        return self.renamed.get(image, image)

    @property
    def unfinished(self) -> pd.DataFrame:
        """The rows of `cells` that have no results: everything that is not done."""
        return self.cells[self.cells["state"] != "done"]

    def describe(self) -> pd.DataFrame:
        """Every column of every frame: (frame, column) -> `dtype`, `unit` (empty for none), `meaning` in one line."""
        names = ("cells", "steps", "images", "teachers", "averages", "best")
        return pd.concat({name: describe(getattr(self, name), self.study.axes) for name in names}, names=["frame"])


def load(study_or_folder: str | Path, runs: str | Path = "runs") -> Frames:
    """Loads a study into frames: from the record on this machine, or from W&B.

    Only the study's own test sets, where it names some, are loaded. Where cells were tested by different protocols, a
    column that one of them lacks is NaN there.

    Args:
        study_or_folder: a study by its name under `runs`/studies, or by the folder that holds its `study.json`; or
            "wandb:ENTITY/PROJECT/STUDY", which asks the W&B server that `wandb login` or WANDB_BASE_URL names (without
            ENTITY: your own). What W&B does not hold is said in `slackoff.analysis.wandb_source`; or a file that
            `slackoff pack` wrote, FILE/STUDY where it holds several studies, which is read in a temporary folder.
        runs: folder of the record; of no use to W&B.

    Raises:
        SlackoffError: there is no such study; no cell that is done was tested on a test set that it names; a cell was
            written by a newer slackoff; W&B cannot be reached. A damaged cell does not raise: its state is `unreadable`
            and its `last_error` names the file.
    """
    if str(study_or_folder).startswith(WANDB):
        from slackoff.analysis.wandb_source import read_wandb

        study, found = read_wandb(str(study_or_folder).removeprefix(WANDB))
    else:
        study = find_study(_unpacked(Path(study_or_folder)) or study_or_folder, runs)
        monitor, patience = HeartbeatMonitor(), Patience()
        found = [read_cell(study.runs / "cells" / identity, monitor, patience) for identity, _ in study.cells]
    cells = _cells(study, found)
    own, renamed = _images(study, cells, found, FILES[0])
    teachers, averages, best = (_images(study, cells, found, file, renamed)[0] for file in FILES[1:])
    return Frames(study, cells, _steps(study, found), own, teachers, averages, best, renamed)


def _unpacked(path: Path) -> Path | None:
    """The folder of a study in a packed record, unpacked in a temporary folder that lasts as long as this process.

    None for a path that is no file, and is below none.
    """
    file, name = (path, "") if path.is_file() else (path.parent, path.name)
    if not file.is_file():
        return None
    known = file.resolve(), file.stat().st_mtime_ns, file.stat().st_size
    if known not in _UNPACKED:
        with Archive(file) as archive:
            place = TemporaryDirectory(prefix="slackoff-")
            if changed := archive.extract(Path(place.name), (*WEIGHTS, CHECKPOINT)):
                raise SlackoffError(
                    f"{file} was changed after it was packed ({changed[0]}): slackoff verify {file} says where"
                )
            _UNPACKED[known] = place, archive.manifest.studies
    place, studies = _UNPACKED[known]
    if (name or len(studies) > 1) and name not in studies:
        raise SlackoffError(f"{file} holds the studies {', '.join(studies)}: load {file}/{studies[0]}, say")
    return Path(place.name, "studies", name or studies[0])


_UNPACKED: dict[tuple[Path, int, int], tuple[TemporaryDirectory[str], list[str]]] = {}


def _cells(study: Study, found: Sequence[CellFiles]) -> pd.DataFrame:
    """One row per cell of the study, in its order: id, axes, status, and the label beyond the axes."""
    labels = [scalars(cell.label) for cell in found]
    columns: dict[str, Any] = {"id": _column([identity for identity, _ in study.cells], CELLS["id"].dtype)}
    for axis in study.axes:
        columns[axis] = _setting([axes.get(axis) for _, axes in study.cells], axis)
    for key, known in STATUS.items():
        values = [cell.status.get(key) for cell in found]
        if key in study.axes:
            continue
        if key == "state":
            columns[key] = _column(values, pd.CategoricalDtype(STATES))
        elif key == "notes":
            columns[key] = _column([value or [] for value in values], known.dtype)
        else:
            columns[key] = _column(values, known.dtype)
    for name in dict.fromkeys(name for label in labels for name in label):
        if name not in columns:
            columns[name] = _setting([label.get(name) for label in labels], name)
    return pd.DataFrame(columns)


def _steps(study: Study, found: Sequence[CellFiles]) -> pd.DataFrame:
    """One row per cell and step, in the order of the study and of training.

    What several events logged at one step, or an attempt before a resume, is merged: the last value counts.
    """
    steps = _joined(study, [cell.steps for cell in found])
    for name, known in STEPS.items():
        if name not in steps:
            steps[name] = pd.Series(dtype=known.dtype)
    first = list(STEPS)
    steps = steps[[*first, *(name for name in steps if name not in first)]]
    codes, step = steps["cell"].cat.codes.to_numpy(), steps["step"].to_numpy()
    before, after = codes[:-1], codes[1:]
    if ((before < after) | ((before == after) & (step[:-1] < step[1:]))).all():
        return steps
    return steps.groupby(["cell", "step"], sort=True, observed=True).last().reset_index()


def _images(
    study: Study, cells: pd.DataFrame, found: Sequence[CellFiles], file: str, known: "Collection[Named]" = ()
) -> "tuple[pd.DataFrame, dict[Named, Named]]":
    """The results per image that lie in `file` of each cell, with the axes beside them, on the study's test sets.

    `known`: names that images of other results have here, which these have too.

    Beside them: the images that have another test set or name here than in the record -> what they have there.

    Raises:
        SlackoffError: the study names a test set on which no cell was tested.
    """
    images = _joined(study, [cell.images.get(file) for cell in found])
    if images.empty:
        always = {name: known for name, known in IMAGES.items() if name not in ("source", "digest", "photograph")}
        images = pd.DataFrame({name: pd.Series(dtype=known.dtype) for name, known in always.items()})
        images["cell"] = images["cell"].astype(_ids(study))
    codes = images["cell"].cat.codes.to_numpy()
    axes = {axis: cells[axis].array.take(codes) for axis in study.axes}
    rest = images.drop(columns=["cell", *(axis for axis in study.axes if axis in images)])
    placed = pd.concat([images[["cell"]], pd.DataFrame(axes), rest], axis=1)
    placed, renamed = _told_apart(placed, known)
    placed, joined = _with_joined_sets(placed, study)
    return _on_test_sets(placed, study), renamed | {image: renamed.get(part, part) for image, part in joined.items()}


def _told_apart(images: pd.DataFrame, known: "Collection[Named]") -> "tuple[pd.DataFrame, dict[Named, Named]]":
    """The results with the digest behind each name that different images of one test set have in different cells.

    Cells are compared image by image: a name that another folder has as well must not make a pair of two images.
    """
    if "digest" not in images:
        return images, {}
    keys = ["test_set", "image", "digest"]
    several = images[keys].drop_duplicates().astype(str)
    several["new"] = several["image"] + " [" + several["digest"] + "]"
    elsewhere = np.array([named in known for named in zip(several["test_set"], several["new"], strict=True)], bool)
    several = several[several.duplicated(["test_set", "image"], keep=False) | elsewhere]
    if several.empty:
        return images, {}
    new = images[keys].astype(str).merge(several, "left", keys)["new"].to_numpy()
    image = np.where(pd.isna(new), images["image"].astype(str), new)
    told = images.assign(image=pd.Series(image, images.index).astype("category"))
    return told, {(row.test_set, row.new): (row.test_set, row.image) for row in several.itertuples()}


def _setting(values: list[Any], name: str) -> pd.Series:
    return _column(values, setting_dtype(values, name))


def _column(values: list[Any], dtype: Any) -> pd.Series:
    if str(dtype).startswith("datetime"):
        return pd.to_datetime(pd.Series(values, dtype=object), utc=True, format="ISO8601").astype(dtype)
    return pd.Series(values, dtype=object).astype(dtype)


def _ids(study: Study) -> pd.CategoricalDtype:
    return pd.CategoricalDtype([identity for identity, _ in study.cells])


def _joined(study: Study, tables: Sequence[pa.Table | None]) -> pd.DataFrame:
    """One frame from tables whose columns may differ; a column that a cell does not have is NaN there."""
    lengths = [0 if table is None else table.num_rows for table in tables]
    there = [table for table in tables if table is not None and table.num_rows]
    cell = pd.Categorical.from_codes(np.repeat(np.arange(len(tables)), lengths), dtype=_ids(study))
    if not there:
        return pd.DataFrame({"cell": cell})
    joined = pa.concat_tables(there, promote_options="default")
    frame = joined.to_pandas(strings_to_categorical=True, integer_object_nulls=False)
    frame.insert(0, "cell", cell)
    for name in IMAGES.keys() & set(frame.columns) - STEPS.keys():
        if IMAGES[name].dtype not in (NAMES, str(frame[name].dtype)):
            frame[name] = frame[name].astype(IMAGES[name].dtype)
    for name in frame.columns[1:]:
        if isinstance(frame[name].dtype, pd.CategoricalDtype):
            frame[name] = frame[name].cat.reorder_categories(sorted(frame[name].cat.categories))
    return frame


def _with_joined_sets(images: pd.DataFrame, study: Study) -> "tuple[pd.DataFrame, dict[Named, Named]]":
    """The results with those of test sets that `options.joined_test_sets` counts as one, once more under its name.

    Only those of cells that were tested on all of them: the mean over a part of them is no other cell's mean. Images
    are named by their test set there too, for two of them may have images of one name. Beside them: each image under
    its new name -> what it was.
    """
    joined = study.options.get("joined_test_sets", {})
    names = list(dict.fromkeys([*images["test_set"].unique(), *joined]))
    images = images.assign(test_set=images["test_set"].cat.set_categories(names))
    dtype = images["test_set"].dtype
    copies: list[pd.DataFrame] = []
    origin: dict[Named, Named] = {}
    for name, parts in joined.items():
        if name in set(images["test_set"]):
            raise SlackoffError(
                f"study.options.joined_test_sets of the study '{study.name}' calls {', '.join(parts)} together "
                f"'{name}', as a test set of its own is called: choose another name"
            )
        copy = images[images["test_set"].isin(parts)]
        tested = copy.groupby("cell", observed=True)["test_set"].nunique()
        copy = copy[copy["cell"].isin(tested.index[tested == len(set(parts))])]
        sets = copy["test_set"].astype(str)
        # The name of a test set may have a slash, too: quoted, the first slash ends it.
        old = copy["image"].astype(str)
        image = sets.map({each: quote(each, safe=" ") for each in sets.unique()}) + "/" + old
        origin |= {(name, new): part for new, part in zip(image, zip(sets, old, strict=True), strict=True)}
        copies.append(copy.assign(test_set=pd.Categorical([name] * len(copy), dtype=dtype), image=image))
    if not copies:
        return images, {}
    whole = pd.concat([images, *copies], ignore_index=True)
    return whole.assign(image=whole["image"].astype(str).astype("category")), origin


def _on_test_sets(images: pd.DataFrame, study: Study) -> pd.DataFrame:
    """The results on the test sets that the study names, on all where it names none."""
    if images.empty or not study.test_sets:
        return images
    there = list(images["test_set"].unique())
    for name in study.test_sets:
        if name not in there:
            raise SlackoffError(
                f"study.test_sets of the study '{study.name}' names '{name}', on which no cell was tested: the test "
                f"sets there are: {', '.join(there)}."
            )
    kept = images[images["test_set"].isin(study.test_sets)].reset_index(drop=True)
    return kept.assign(test_set=kept["test_set"].cat.set_categories(study.test_sets))


def setting_dtype(values: Iterable[Any], name: str = "") -> Any:
    """The dtype of an axis or label that takes these values, which does not depend on how many there are.

    Whole numbers: Int64; numbers: float64; anything else (names, True and False, names beside numbers): an ordered
    category in natural order, that is small, medium, large where these are the names, else in the order given. Without
    a value: that of the label `name`.
    """
    distinct = list(dict.fromkeys(value for value in values if value is not None and value == value))
    if not distinct and name in LABELS and LABELS[name].dtype != NAMES:
        return LABELS[name].dtype
    kinds = {type(value) for value in distinct}
    if kinds == {int}:
        return COUNT
    if kinds and kinds <= {int, float}:
        return NUMBER
    if kinds == {bool} or (distinct and set(distinct) <= set(SIZES)):
        distinct = sorted(distinct, key=SIZES.index if kinds == {str} else None)
    return pd.CategoricalDtype(distinct, ordered=True)


def describe(frame: pd.DataFrame, axes: Collection[str] = ()) -> pd.DataFrame:
    """What the columns of a frame are: one row per column of `frame`, indexed by its name.

    Columns: `dtype` (as it is in the frame, the name of it), `unit` (empty for plain numbers and names), `meaning`.

    Args:
        frame: one of the frames of `load`, or a part of one.
        axes: names of columns that are axes of the study.
    """
    rows = []
    for name in frame.columns:
        unit, meaning = _explained(str(name), frame, axes)
        rows.append({"column": name, "dtype": str(frame[name].dtype), "unit": unit, "meaning": meaning})
    return pd.DataFrame(rows, columns=["column", "dtype", "unit", "meaning"]).set_index("column")


def _explained(name: str, frame: pd.DataFrame, axes: Collection[str]) -> tuple[str, str]:
    if name in COLUMNS:
        return _measure(name, ".")
    known = LABELS.get(name) or (CELLS if "id" in frame else IMAGES).get(name) or STEPS.get(name)
    axis = "An axis of the study." if name in axes else ""
    if known:
        return known.unit, " ".join(filter(None, [known.meaning, axis]))
    if axis:
        return "", axis
    part, _, measure = name.rpartition("/")
    if part in _MEASURED:
        return _measure(measure, f"; {_MEASURED[part]}: the mean over the images.")
    if part.startswith("train"):
        return _TRAIN.get(measure, ("", f"'{name.removeprefix('train/')}' of the training step, as its task logs it."))
    return _measure(name, ".")


def _measure(name: str, end: str) -> tuple[str, str]:
    """Unit and meaning of a figure per image, at whatever threshold it was taken."""
    pooled = " Taken over the pixels of all images at once." if name.endswith("_pooled") else ""
    base = name.removesuffix("_pooled")
    threshold = base.rpartition("_t")[2]
    thresholds = [float(threshold)] if threshold.replace(".", "", 1).isdigit() else []
    column = (COLUMNS | measure_columns(thresholds, channel="y")).get(base)
    if column is None:
        return "", "Not of this version, or a label of the cells."
    what, at, _ = column.explanation.rstrip(".").partition(" Rain: ")
    rain = f" {at.strip()} above the headline threshold of the protocol" if at and not thresholds else ""
    return column.unit, f"{what if rain else column.explanation.rstrip('.')}{rain}{end}{pooled}"
