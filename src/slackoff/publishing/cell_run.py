"""A cell of the record, replayed as the run that it would have logged itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from slackoff.errors import SlackoffError
from slackoff.publishing.destination import DIGEST, Destination, begun, known_step
from slackoff.record.files import read_lines
from slackoff.record.status import Status, read_status
from slackoff.record.wandb_content import (
    STEP,
    headline_threshold,
    image_tables,
    pictures,
    read_pictures,
    record_digest,
    run_id,
    run_options,
)
from slackoff.record.wandb_logger import with_step
from slackoff.record.wandb_tags import tag_of


def publish_cell(folder: Path, destination: Destination, study: str, axes: Mapping[str, Any]) -> bool:
    """Write a cell's run, unless it is there and shows the same record.

    Args:
        folder: the cell's folder.
        destination: where the run goes.
        study: full name of the study, for its tag.
        axes: the cell's values along the axes of the study.

    Returns:
        Whether it was written: False too for a cell without a single step on record.

    Raises:
        SlackoffError: the cell's record is damaged.
    """
    status, digest = read_status(folder), record_digest(folder)
    if status is None or not digest:
        return False
    options = run_options(_config(folder), status, study, axes)
    options["tags"] = list(dict.fromkeys([*options["tags"], tag_of(study)]))
    options["config"]["slackoff"][DIGEST] = digest
    identity = run_id(status.id)
    if destination.shows(identity, options["config"]["slackoff"], study):
        return False
    with destination.writing(identity, digest, options) as run:
        _replay(folder, status, options["config"], run)
        run.finish(exit_code=0 if status.state == "done" else 1)
    return True


def replay_into(identity: str, project: str, entity: str | None, folder: Path) -> None:
    """Write a cell that is done into a run that somebody else named, to where WANDB_MODE says.

    Raises:
        SlackoffError: the cell's record is damaged.
    """
    status = read_status(folder)
    assert status is not None
    options = run_options(_config(folder), status)
    options["config"]["slackoff"][DIGEST] = record_digest(folder)
    with begun(identity, project, entity, folder, None, options) as run:
        _replay(folder, status, options["config"], run)


def _replay(folder: Path, status: Status, config: Mapping[str, Any], run: Any) -> None:
    rows = _steps(folder)
    known = known_step(run)
    for row in rows:
        if row["step"] > known:  # a step never goes backwards
            run.log(with_step(row))
    if status.state == "done":
        files = sorted(folder.glob("images*.parquet"))
        results = image_tables({file.stem.removeprefix("images").lstrip("_"): pd.read_parquet(file) for file in files})
        shown = pictures(read_pictures(folder), headline_threshold(config))
        run.log({**shown, **results, STEP: int(rows[-1]["step"])})


def _steps(folder: Path) -> list[dict[str, Any]]:
    whole = folder / "steps.parquet"
    try:
        rows = pd.read_parquet(whole).to_dict("records") if whole.is_file() else read_lines(folder / "steps.jsonl")
    except (OSError, ValueError) as error:
        raise SlackoffError(f"{whole} cannot be read ({error}): run the study's command again") from error
    return [{str(key): value for key, value in row.items()} for row in rows]


def _config(folder: Path) -> dict[str, Any]:
    content = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}
