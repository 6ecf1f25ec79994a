"""From what the cells of a study left to frames whose columns have the same dtypes whatever the cells were."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from slackoff.analysis.cell_files import FILES, CellFiles
from slackoff.analysis.columns import CELLS, IMAGES, NAMES, STATUS, STEPS, setting_dtype, state_dtype
from slackoff.analysis.study import Study, scalars
from slackoff.errors import SlackoffError


def cells_frame(study: Study, found: Sequence[CellFiles]) -> pd.DataFrame:
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
            columns[key] = _column(values, state_dtype(map(str, values)))
        elif key == "notes":
            columns[key] = _column([value or [] for value in values], known.dtype)
        else:
            columns[key] = _column(values, known.dtype)
    for name in dict.fromkeys(name for label in labels for name in label):
        if name not in columns:
            columns[name] = _setting([label.get(name) for label in labels], name)
    return pd.DataFrame(columns)


def steps_frame(study: Study, found: Sequence[CellFiles]) -> pd.DataFrame:
    """One row per cell and step, in the order of the study and of training.

    What several events logged at one step, or an attempt before a resume, is merged: the last value counts.
    """
    steps = _joined(study, [cell.steps for cell in found])
    for name, known in STEPS.items():
        if name not in steps:
            steps[name] = pd.Series(np.nan, steps.index) if len(steps) else pd.Series(dtype=known.dtype)
    first = list(STEPS)
    steps = steps[[*first, *(name for name in steps if name not in first)]]
    codes, step = steps["cell"].cat.codes.to_numpy(), steps["step"].to_numpy()
    before, after = codes[:-1], codes[1:]
    if ((before < after) | ((before == after) & (step[:-1] < step[1:]))).all():
        return steps
    return steps.groupby(["cell", "step"], sort=True, observed=True).last().reset_index()


def images_frame(study: Study, cells: pd.DataFrame, found: Sequence[CellFiles], file: str = FILES[0]) -> pd.DataFrame:
    """The results per image that lie in `file` of each cell, with the axes beside them, on the study's test sets.

    Raises:
        SlackoffError: the study names a test set on which no cell was tested.
    """
    images = _joined(study, [cell.images.get(file) for cell in found])
    if images.empty:
        images = pd.DataFrame({name: pd.Series(dtype=known.dtype) for name, known in _always().items()})
        images["cell"] = images["cell"].astype(_ids(study))
    codes = images["cell"].cat.codes.to_numpy()
    axes = {axis: cells[axis].array.take(codes) for axis in study.axes}
    rest = images.drop(columns=["cell", *(axis for axis in study.axes if axis in images)])
    placed = pd.concat([images[["cell"]], pd.DataFrame(axes), rest], axis=1)
    return _on_test_sets(_with_joined_sets(placed, study), study)


def _always() -> dict[str, Any]:
    """The columns of a frame without rows: those of the default protocol; crops and pairs have more."""
    return {name: known for name, known in IMAGES.items() if name not in ("source", "photograph")}


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


def _with_joined_sets(images: pd.DataFrame, study: Study) -> pd.DataFrame:
    """The results with those of test sets that `options.joined_test_sets` counts as one, once more under its name.

    Images are named by their test set there too, for two of them may have images of one name (`Study.recorded`).
    """
    joined = study.options.get("joined_test_sets", {})
    names = list(dict.fromkeys([*images["test_set"].unique(), *joined]))
    images = images.assign(test_set=images["test_set"].cat.set_categories(names))
    dtype = images["test_set"].dtype
    copies = []
    for name, parts in joined.items():
        copy = images[images["test_set"].isin(parts)]
        image = copy["test_set"].astype(str) + "/" + copy["image"].astype(str)
        copies.append(copy.assign(test_set=pd.Categorical([name] * len(copy), dtype=dtype), image=image))
    if not copies:
        return images
    whole = pd.concat([images, *copies], ignore_index=True)
    return whole.assign(image=whole["image"].astype(str).astype("category"))


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
