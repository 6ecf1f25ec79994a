"""A whole study to W&B: every cell, the study's own run, a workspace and a report."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slackoff.analysis import load
from slackoff.analysis.claims import check
from slackoff.analysis.tables import label_columns, study_table
from slackoff.publishing.cell_run import publish_cell
from slackoff.publishing.dashboard import refuse_without_workspaces, save_report, save_workspace
from slackoff.publishing.destination import Destination, Offline, Online
from slackoff.publishing.study_run import curves, publish_study, with_lines


@dataclass(frozen=True)
class Published:
    """What was done: numbers of cells, whether the study's run was written, addresses (empty offline)."""

    written: int
    there: int
    unstarted: int
    study_written: bool
    workspace: str = ""
    report: str = ""


def publish(
    study: str,
    runs: Path,
    project: str,
    entity: str | None = None,
    offline: bool = False,
    tell: Callable[[int, int], object] = lambda done, total: None,
) -> Published:
    """Replay the record of a study to W&B; what is there and shows the same is left as it is.

    Args:
        study: name of a study under ``runs``, or its folder.
        runs: where the records are.
        project: W&B project.
        entity: W&B user or team; the account's own if None.
        offline: write folders for ``wandb sync`` and no dashboard.
        tell: told after each cell how many of how many are through.

    Raises:
        SlackoffError: there is no such study, its record is damaged, there is no account, or no server.
    """
    frames = load(study, runs)
    found = frames.study
    if not offline:
        refuse_without_workspaces()
    make = Offline if offline else Online
    destination: Destination = make(found.folder, project, entity)
    written, unstarted = 0, 0
    states = frames.cells.set_index("id")["state"]
    for number, (identity, axes) in enumerate(found.cells, 1):
        folder = found.runs / "cells" / identity
        started = states[identity] not in ("missing", "unreadable") and any(folder.glob("steps.*"))
        unstarted += not started
        written += started and publish_cell(folder, destination, found.name, axes)
        tell(number, len(found.cells))
    shown = publish_study(frames, destination)
    there = len(found.cells) - written - unstarted
    if not isinstance(destination, Online):
        return Published(written, there, unstarted, shown)
    table = study_table(frames)
    drawn = curves(with_lines(table, found.axis, label_columns(table, found.axis)))
    workspace = save_workspace(found, drawn, destination)
    return Published(written, there, unstarted, shown, workspace, save_report(found, drawn, check(frames), destination))
