"""The columns of the frames: what each is called, its dtype, its unit, what it means.

Figures per image (`e_r`, `psnr_rgb` ...) have their units in `slackoff.metrics.columns`, and `describe` from there.
"""

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple, get_args

import pandas as pd

from slackoff.metrics.columns import COLUMNS, measure_columns
from slackoff.record.status import State

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
    "image": Known(NAMES, "", "Test image, unique in its test set."),
    "height": Known(COUNT, "pixels", "Height of the image."),
    "width": Known(COUNT, "pixels", "Width of the image."),
    "source": Known(NAMES, "", "Scene or photograph that images have in common; such images are resampled together."),
    "photograph": Known(NAMES, "", "Photograph that the image was cut from."),
    **{name: Known(NUMBER, column.unit, column.explanation) for name, column in COLUMNS.items()},
}

_TRAIN = {
    "loss": ("", "Training loss of the batch of this step."),
    "learning_rate": ("", "Learning rate of the optimiser."),
    "steps_per_second": ("steps/s", "Rate of training, evaluations left out."),
}
_MEASURED = {
    "test": "on a part of the test set while training goes on",
    "teacher": "of the teacher, on a part of the test set while training goes on",
    "final": "on the whole first test set, when training had ended",
    "final/teacher": "of the teacher, on the whole first test set, when training had ended",
}


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


def setting_dtype(values: Iterable[Any], name: str = "") -> Any:
    """The dtype of an axis or label that takes these values, which does not depend on how many there are.

    Whole numbers: Int64; numbers: float64; anything else (names, True and False, names beside numbers): an ordered
    category in natural order, that is small, medium, large where these are the names, else in the order given. Without
    a value: that of the label `name`.
    """
    distinct = list(dict.fromkeys(value for value in values if value is not None and value == value))
    if not distinct and name in LABELS:
        return _of(LABELS[name].dtype)
    kinds = {type(value) for value in distinct}
    if kinds == {int}:
        return COUNT
    if kinds and kinds <= {int, float}:
        return NUMBER
    if kinds == {bool} or (distinct and set(distinct) <= set(SIZES)):
        distinct = sorted(distinct, key=SIZES.index if kinds == {str} else None)
    return pd.CategoricalDtype(distinct, ordered=True)


def state_dtype(found: Iterable[str]) -> pd.CategoricalDtype:
    """Every state there is, and further ones that a record names."""
    return pd.CategoricalDtype(list(dict.fromkeys([*STATES, *found])))


def _of(dtype: str) -> Any:
    return pd.CategoricalDtype([], ordered=True) if dtype == NAMES else dtype
