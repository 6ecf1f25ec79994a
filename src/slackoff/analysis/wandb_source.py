"""A study as W&B has it, read through W&B's public API: another source of the frames, beside the record.

What it is read from: the runs, each a cell, that are in the group of that name (an experiment, whatever its size) or
have the tag of the study of that full name, as `publish` gives it. A run's config has, under `slackoff`, the cell's
`id`, `label`, `axes`, the study's main `axis` and the `status`; its history the measures by step; the tables logged as
`images` and `images_teacher` the results per image.

What differs from the record: `elapsed_s` is W&B's own clock where the run logged none. The status is as the run stated
it last, and its state as W&B knows it (a run that W&B lost sight of is 'interrupted'). `images` has every test set, and
no rows for runs that logged no table. Cells come in the order in which their runs were made, and one that an earlier
experiment had trained is in that group until the study is published. There are no configs, environments or pictures.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa

from slackoff.analysis.study import FILES, CellFiles, Study, scalars, steps_of, told, typed_images
from slackoff.errors import SlackoffError
from slackoff.record.files import DamagedFileError
from slackoff.record.status import State, Status, parse_status

CONFIG_KEY = "slackoff"
"""Where the config of a run says which cell it is."""

Answer = TypeVar("Answer")

_LONGEST_TAG = 64
_STEP, _CLOCK = "trainer/global_step", "_runtime"
_STATES: dict[str, State] = {"finished": "done", "failed": "failed", "running": "running", "pending": "pending"}
_NOT_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def read_wandb(where: str) -> tuple[Study, list[CellFiles]]:
    """Reads a study from W&B: what its record would say of it, and of each of its cells in the order of the study.

    Args:
        where: ENTITY/PROJECT/STUDY, or PROJECT/STUDY for the entity of the account; on the server and for the account
            that W&B is set up for.

    Raises:
        SlackoffError: W&B cannot be reached, the project has no such study, or its runs do not say which cells they
            are.
    """
    import wandb

    project, _, name = where.rpartition("/")
    if not (project and name) or where.count("/") > 2:
        raise SlackoffError(f"'wandb:{where}' names no study in W&B: write wandb:ENTITY/PROJECT/STUDY")
    runs = _asked(where, lambda: list(wandb.Api().runs(project, filters=_of_study(name), lazy=False)))
    cells = [run for run in runs if isinstance(run.config.get(CONFIG_KEY), dict)]  # the study has a run there, too
    if not cells:
        raise SlackoffError(
            f"The project {project} in W&B has no cell of a study '{name}': look for the group of its runs, or sync "
            "runs that were written offline with `wandb sync`"
        )
    study = _study(where, name, [run.config[CONFIG_KEY] for run in cells])
    return study, [_asked(where, partial(_read, run)) for run in cells]


def tag_of(study: str) -> str:
    """The tag by which everything of a study is found in W&B, whatever group its runs are in: ``study=NAME``.

    A name that is too long for a tag ends in a digest, so that no two are taken for one.
    """
    tag = f"study={study}"
    if len(tag) <= _LONGEST_TAG:
        return tag
    return f"{tag[: _LONGEST_TAG - 9]}-{hashlib.sha256(study.encode()).hexdigest()[:8]}"


def _study(where: str, name: str, told: list[dict[str, Any]]) -> Study:
    try:
        named = tuple((str(each["id"]), scalars(each["axes"])) for each in told)
        axis = str(told[0]["axis"])
    except (KeyError, AttributeError) as error:
        raise SlackoffError(
            f"The config of a run of '{name}' in W&B is damaged under '{CONFIG_KEY}' ({error}): read the study from "
            "its record"
        ) from error
    return Study(name=name, axis=axis, cells=named, folder=Path(where), runs=Path(where))


def _of_study(name: str) -> dict[str, Any]:
    """Runs that were logged while they trained have the experiment as group, published ones the study's tag."""
    return {"$or": [{"group": name}, {"tags": {"$in": [tag_of(name)]}}]}


def _asked(where: str, question: Callable[[], Answer]) -> Answer:
    try:
        return question()
    except SlackoffError:
        raise
    except Exception as error:  # W&B raises its own errors, those of requests, and plain ValueErrors
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        raise SlackoffError(
            f"wandb:{where} cannot be read ({why}): check the name, run `wandb login`, or set WANDB_BASE_URL to your "
            "server"
        ) from error


def _read(run: Any) -> CellFiles:
    place = f"The run {run.id} in W&B"
    found = CellFiles({"state": "unreadable"})
    try:
        stated = run.config[CONFIG_KEY]["status"]
        status = parse_status(json.dumps(stated).encode(), place)
        found.status, found.label = told(_corrected(run, status)), status.label
        found.steps = _steps(run.scan_history())
        if found.status["state"] == "done":
            tables = {file: _table(run, file.removesuffix(".parquet")) for file in FILES}
            found.images = {file: table for file, table in tables.items() if table is not None}
    except (DamagedFileError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        sentence = f"{place} cannot be read ({error}): sync it again from the record"
        return CellFiles({"state": "unreadable", "last_error": sentence}, steps=found.steps)
    return found


def _corrected(run: Any, stated: Status) -> Status:
    """The status that a run stated last, with the end that W&B saw."""
    state = _STATES.get(run.state, "interrupted")
    if state == "failed" and stated.state == "interrupted":  # asked to stop: W&B knows no other word for it
        state = "interrupted"
    step = stated.steps_total if state == "done" else stated.step
    return replace(stated, state=state, step=step, wandb_id=run.id)


def _steps(history: Iterable[Mapping[str, Any]]) -> pa.Table | None:
    rows = []
    for row in history:
        if row.get(_STEP) is not None:
            values = {key: _number(value) for key, value in row.items() if not key.startswith("_") and key != "epoch"}
            numbers = {key: value for key, value in values.items() if value is not None and key != _STEP}
            if numbers:  # else it has pictures or tables, and a later clock
                rows.append({"step": int(row[_STEP]), "elapsed_s": row.get(_CLOCK)} | numbers)
    return steps_of(rows)


def _number(value: Any) -> float | None:
    """A number of the history; None for pictures, tables and whatever else a run logs."""
    if isinstance(value, str):
        return _NOT_FINITE.get(value)
    return float(value) if isinstance(value, int | float) else None


def _table(run: Any, key: str) -> pa.Table | None:
    """The table that a run logged last under a key; None where it logged none."""
    logged = run.summary_metrics.get(key)
    if not isinstance(logged, dict) or "path" not in logged:
        return None
    with (
        tempfile.TemporaryDirectory(prefix="slackoff-wandb-") as folder,
        run.file(logged["path"]).download(root=folder, replace=True) as file,
    ):
        content = json.load(file)
    frame = pd.DataFrame(content["data"], columns=content["columns"])
    return typed_images(pa.Table.from_pandas(frame, preserve_index=False))
