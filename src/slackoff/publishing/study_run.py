"""A study in W&B: one run with its table, curves, claims, figures and page, rebuilt from the record."""

import hashlib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from slackoff.analysis import Frames
from slackoff.analysis.groups import TEST_SET
from slackoff.analysis.study import Study
from slackoff.analysis.tables import label_columns, measures_of, study_table
from slackoff.publishing.destination import DIGEST, Destination, Offline
from slackoff.record.wandb_tags import tag_of

_log = logging.getLogger(__name__)
_CLAIM_COLUMNS = ("family", "group", "statement", "verdict", "sentence", "scope")


def show_study(frames: Frames, project: str) -> bool:
    """Log a study after its cells were trained, to where WANDB_MODE says; skip it if nothing changed.

    Returns:
        Whether a run was written. W&B that is unreachable or raises is reported in the log and nothing else.
    """
    try:
        return publish_study(frames, Offline(frames.study.folder, project, mode=None))
    except Exception as error:  # W&B is a view: whatever it raises must not fail a study
        _log.warning("The study is not shown in W&B (%s: %s)", type(error).__name__, error)
        return False


def publish_study(frames: Frames, destination: Destination) -> bool:
    """Write the run of a study, unless it is there and shows the same; False too for a study without results.

    The run has ``study`` (the table, with intervals and oracles), a line plot per measure and test set, ``claims``,
    the figures under ``figures/`` (they have the intervals) and ``report``, the page. Claims, figures and page are
    those that ``python -m slackoff report`` has left in the study's folder.
    """
    study = frames.study
    table = study_table(frames)
    rows = with_lines(table, study.axis, label_columns(table, study.axis))
    if rows.empty:
        return False
    page, claims = study.folder / "index.html", _claims(study.folder)
    marker = {"name": study.name, "study": study.name, DIGEST: _digest(rows, claims)}
    identity = study_run_id(study.name)
    if destination.shows(identity, marker, study.name):
        return False
    options = {
        "name": study.name,
        "group": study.experiment or study.name,
        "job_type": "study",
        "tags": [tag_of(study.name)],
        "config": {"slackoff_study": {**marker, **_about(study)}},
    }
    with destination.writing(identity, marker[DIGEST], options) as run:
        run.log({**_tables(rows, claims, study.axis), **_pictures(study.folder, page)})
    return True


def study_run_id(name: str) -> str:
    """The id of a study's run; W&B takes letters, digits, dots, dashes and underscores, 128 at most."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", f"study-{name}")[:128]


def with_lines(table: pd.DataFrame, axis: str, labels: Sequence[str]) -> pd.DataFrame:
    """The rows that have results, in order of the axis, with a column ``line`` that names the group of each."""
    rows = table.dropna(subset=[axis, "e_r"])
    names = [", ".join(map(str, values)) or "all" for values in rows[list(labels)].itertuples(index=False)]
    return rows.assign(line=names).sort_values(["line", axis], ignore_index=True)


def curves(rows: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Each line plot of a study: the key of its table, the measure, and the test set (empty where there is one)."""
    return [
        (key, measure, name)
        for key, name, part in _parts(rows)
        for measure in measures_of(rows)
        if part[measure].notna().any()
    ]


def _parts(rows: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """The table for the plots of each test set: its key in the run, the set's name, its rows."""
    if TEST_SET not in rows:
        return [("study", "", rows)]
    return [
        (f"study on {name}", str(name), part.reset_index(drop=True))
        for name, part in rows.groupby(TEST_SET, sort=False)
    ]


def _tables(rows: pd.DataFrame, claims: pd.DataFrame, axis: str) -> dict[str, Any]:
    import wandb

    shown: dict[str, Any] = {"study": _table(rows)}
    parts = {key: _table(part) for key, _, part in _parts(rows)}
    for key, measure, name in curves(rows):
        title = f"{measure} against {axis}{f' on {name}' if name else ''}"
        shown[title] = wandb.plot.line(parts[key], axis, measure, stroke="line", title=title)
    if len(claims):
        shown["claims"] = _table(claims)
    return shown | parts


def _table(rows: pd.DataFrame) -> Any:
    import wandb

    return wandb.Table(dataframe=rows, allow_mixed_types=True)


def _pictures(folder: Path, page: Path) -> dict[str, Any]:
    import wandb

    shown: dict[str, Any] = {
        f"figures/{path.stem}": wandb.Image(str(path)) for path in sorted((folder / "figures").glob("*.png"))
    }
    if page.is_file():
        shown["report"] = wandb.Html(str(page), inject=False)
    return shown


def _claims(folder: Path) -> pd.DataFrame:
    try:
        claims = json.loads((folder / "claims.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        claims = []
    return pd.DataFrame([{key: claim.get(key, "") for key in _CLAIM_COLUMNS} for claim in claims])


def _digest(rows: pd.DataFrame, claims: pd.DataFrame) -> str:
    text = rows.to_csv(index=False) + claims.to_csv(index=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _about(study: Study) -> Mapping[str, Any]:
    return {
        "title": study.title,
        "question": study.question,
        "paper": study.paper,
        "axis": study.axis,
        "size": study.size,
        "command": study.command,
        "cells": [identity for identity, _ in study.cells],
    }
