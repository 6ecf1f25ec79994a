"""What a command asks for, done: cells planned and trained or shown, ``study.json`` written, the report drawn."""

import hashlib
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from slackoff.errors import SlackoffError
from slackoff.record.files import write_json
from slackoff.record.status import Status
from slackoff.sweep.backend import Resources
from slackoff.sweep.cost import check_network_costs, keep_network_costs
from slackoff.sweep.driver import report_failures, run_cells
from slackoff.sweep.expand import Config
from slackoff.sweep.identity import Fingerprints
from slackoff.sweep.manifest import Job
from slackoff.sweep.plan import FLOAT32, Cell, auto_here, check_configs, plan, settle_precision, with_ranks
from slackoff.sweep.planner_process import PlannerProcess
from slackoff.wandb_view import agent_run, refuse_many_cells


def run_jobs(
    jobs: Sequence[Job],
    configs: Sequence[Config],
    resources: Resources,
    planner: PlannerProcess,
    console: Console,
    dry_run: bool = False,
) -> int:
    """Do what the jobs ask for, or say what that would be.

    Args:
        jobs: all jobs of a command.
        configs: their configs.
        resources: where cells run.
        planner: where data is read and configs are checked; closed before anything is trained or measured.
        console: for progress and tables.
        dry_run: train and write nothing; show cells, states and cost.

    Returns:
        The number of cells that failed.

    Raises:
        SlackoffError: a mistake found before training.
    """
    check_configs(configs, [job.row.place if job.row else None for job in jobs], planner)
    if configs[0]["study"].get("measure"):
        planner.close()
        return sum(_measure(config, console, dry_run) for config in configs)
    fingerprints = Fingerprints(dry_run, planner)
    with console.status("Reading data and records"):
        configs = settle_precision(
            with_ranks(configs, resources.slots[0].ranks),
            fingerprints,
            lambda accelerator: planner(auto_here, accelerator) if resources.backend.local else FLOAT32,
        )
        cells = plan(configs, [job.overrides for job in jobs], [job.row for job in jobs], fingerprints)
    if not dry_run:
        return run_study(cells, resources, console, planner)
    from slackoff.sweep.cost import show_dry_run

    show_dry_run(cells, list(dict.fromkeys(fingerprints.problems.values())), resources.slots, console)
    return 0


def run_study(
    cells: Sequence[Cell], resources: Resources, console: Console, planner: PlannerProcess | None = None
) -> int:
    """Run the cells of a plan, then draw the study.

    Args:
        cells: the plan; not empty.
        resources: where cells run.
        console: for progress and the table.
        planner: where configs are checked; closed before training starts.

    Returns:
        The number of cells that failed.

    Raises:
        SlackoffError: a mistake found before training, or all is trained but the study cannot be drawn.
    """
    refuse_many_cells(len(cells))
    check_network_costs(cells, planner or PlannerProcess())
    known = agent_run() is not None and cells[0].status().state == "done"
    statuses = run_cells(cells, resources, console, planner)
    if known:
        from slackoff.wandb_view.publish import show_done_cell

        show_done_cell(cells[0].folder, str(cells[0].config.logger.project))
    trouble = _draw(cells, statuses, console)
    failed = report_failures(cells, statuses, resources, console)
    if trouble is None:
        return failed
    if failed == 0:
        raise trouble
    console.print(str(trouble), style="red", highlight=False, markup=False, soft_wrap=True)
    return failed


def _measure(config: Config, console: Console, dry_run: bool) -> int:
    if dry_run:
        console.print("This study trains nothing: it measures, and draws what it finds.")
        return 0
    from slackoff.measurements.study import run_measurement

    return run_measurement(OmegaConf.create(config), console)


def _draw(cells: Sequence[Cell], statuses: Sequence[Status], console: Console) -> SlackoffError | None:
    """Write the study and its report; what keeps that from being done must not hide what became of the cells."""
    try:
        folder = _write_study(cells)
        if any(status.state == "done" for status in statuses):
            keep_network_costs(cells, folder, console)
            _report(folder, console, bool(cells[0].config.logger.wandb), str(cells[0].config.logger.project))
    except SlackoffError as error:
        return error
    except OSError as error:
        return SlackoffError(
            f"The study cannot be drawn in {Path(cells[0].config.runs) / 'studies'} ({error.strerror or error}): make "
            "it writable or free space, then run the same command again; cells that are done are not trained again"
        )
    return None


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
            "test_sets": _drawn_test_sets(config, cells),
            "claims": list(config.study.claims),
            "options": OmegaConf.to_container(config.study.options),
            "command": shlex.join(["python", "-m", "slackoff", *sys.argv[1:]]),
            "cells": [{"id": cell.id, "axes": cell.axes} for cell in cells],
        },
    )
    return folder


def _common(cells: Sequence[Cell], key: str) -> str | None:
    """What all cells have under a label; None where they differ."""
    found = {str(cell.label[key]) for cell in cells}
    return found.pop() if len(found) == 1 else None


def _drawn_test_sets(config: DictConfig, cells: Sequence[Cell]) -> list[str]:
    """Those of ``study.test_sets`` that any cell is tested on; none (which draws all) if the command chose others."""
    tested: set[str] = set()
    for cell in cells:
        evaluation = cell.content["evaluation"]
        tested |= {str(evaluation["test_set"].get("name", evaluation["name"])), *evaluation.get("also", {})}
    joined = config.study.options.get("joined_test_sets", {})
    tested |= {name for name, parts in joined.items() if set(parts) <= tested}
    return [str(name) for name in config.study.test_sets if name in tested]


def _report(folder: Path, console: Console, wandb: bool, project: str) -> None:
    from slackoff.analysis import load  # pandas and matplotlib: not needed while cells train
    from slackoff.analysis.quality_cost import print_quality_cost, quality_cost_table
    from slackoff.analysis.report import build
    from slackoff.analysis.tables import print_table

    frames = load(folder)
    page = build(folder)
    print_table(frames, console)
    if len(table := quality_cost_table(frames)):
        print_quality_cost(table, console)
    console.print(f"Report: {page}", soft_wrap=True)
    if wandb and agent_run() is None:  # an agent's run is that of the cell
        from slackoff.wandb_view.publish import show_study

        show_study(frames, project)
