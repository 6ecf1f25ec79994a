"""A whole study: train, write ``study.json``, report."""

import hashlib
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from slackoff.record.atomic import write_json
from slackoff.sweep.driver import run_cells
from slackoff.sweep.plan import Cell
from slackoff.sweep.slots import Slot


def run_study(cells: Sequence[Cell], slots: Sequence[Slot], console: Console) -> int:
    """Run the cells of a plan, then draw the study.

    Args:
        cells: the plan; not empty.
        slots: places for processes.
        console: for progress and the table.

    Returns:
        The number of cells that failed.

    Raises:
        SlackoffError: a mistake found before training.
    """
    statuses = run_cells(cells, slots, console)
    folder = _write_study(cells)
    failed = sum(status.state != "done" for status in statuses)
    if failed < len(cells):
        _report(folder, console, bool(cells[0].config.logger.wandb), str(cells[0].config.logger.project))
    if failed:
        console.print(
            f"{failed} of {len(cells)} cells failed; each folder holds log.txt and error.txt. The same command again "
            "trains only these.",
            style="red",
        )
    return failed


def _write_study(cells: Sequence[Cell]) -> Path:
    """Write ``study.json`` under a name that says what it is and changes with the set of cells."""
    config = cells[0].config
    digest = hashlib.sha256("".join(sorted(cell.id for cell in cells)).encode()).hexdigest()[:6]
    common = (_common(cells, "background"), _common(cells, "evaluation"))
    name = "-".join([*dict.fromkeys(map(str, (config.study.name, config.size, *filter(None, common)))), digest])
    folder = Path(config.runs) / "studies" / name
    folder.mkdir(parents=True, exist_ok=True)
    write_json(
        folder / "study.json",
        {
            "name": name,
            "experiment": config.study.name,
            "title": config.study.title,
            "question": config.study.question,
            "paper": config.study.paper,
            "size": config.size,
            "axis": str(config.study.axis).rsplit(".", 1)[-1],
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "test_sets": _drawn_test_sets(config),
            "claims": list(config.study.claims),
            "options": dict(config.study.options),
            "command": shlex.join(["python", "-m", "slackoff", *sys.argv[1:]]),
            "cells": [{"id": cell.id, "axes": cell.axes} for cell in cells],
        },
    )
    return folder


def _common(cells: Sequence[Cell], key: str) -> str | None:
    """What all cells have under a label; None where they differ."""
    found = {str(cell.label[key]) for cell in cells}
    return found.pop() if len(found) == 1 else None


def _drawn_test_sets(config: DictConfig) -> list[str]:
    """Those of ``study.test_sets`` that the cells are tested on; none (which draws all) if the command chose others."""
    tested = {str(config.evaluation.test_set.get("name", config.evaluation.name)), *config.evaluation.get("also", {})}
    return [str(name) for name in config.study.test_sets if name in tested]


def _report(folder: Path, console: Console, wandb: bool, project: str) -> None:
    from slackoff.analysis import load  # pandas and matplotlib: not needed while cells train
    from slackoff.analysis.report import build
    from slackoff.analysis.tables import print_table

    frames = load(folder)
    page = build(folder)
    print_table(frames, console)
    console.print(f"Report: {page}", soft_wrap=True)
    if wandb:
        from slackoff.analysis.summary import label_columns, study_table
        from slackoff.record.publish import publish_study

        table = study_table(frames)
        publish_study(folder, table, frames.study.axis, label_columns(table, frames.study.axis), project)
