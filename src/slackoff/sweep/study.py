"""What a command asks for, done: cells planned and trained or shown, ``study.json`` written, the report drawn."""

import hashlib
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from slackoff.errors import SlackoffError
from slackoff.record.files import DamagedFileError, folder_name, read_json, write_json
from slackoff.record.status import Status
from slackoff.sweep.backend import Resources
from slackoff.sweep.cost import show_dry_run
from slackoff.sweep.display import say
from slackoff.sweep.driver import report_failures, run_cells
from slackoff.sweep.expand import Config
from slackoff.sweep.grids import Skipped, leave_out
from slackoff.sweep.identity import Fingerprints
from slackoff.sweep.manifest import Job
from slackoff.sweep.objective import pruning_rule
from slackoff.sweep.plan import FLOAT32, Cell, auto_here, check_configs, plan, settle_precision, with_ranks
from slackoff.sweep.planner_process import PlannerProcess
from slackoff.wandb_view import agent_run, refuse_many_cells

_MOST_SKIPPED = 20


def run_jobs(
    jobs: Sequence[Job],
    configs: Sequence[Config],
    resources: Resources,
    planner: PlannerProcess,
    console: Console,
    dry_run: bool = False,
) -> int:
    """Do what the jobs ask for, or say what that would be: check, identify, train, draw.

    Args:
        jobs: all jobs of a command.
        configs: their configs, resolved.
        resources: where cells run.
        planner: where data is read and configs are checked; closed before anything is trained or measured.
        console: for progress and tables.
        dry_run: train and write nothing; show cells, states and cost.

    Returns:
        The number of cells that failed.

    Raises:
        SlackoffError: a mistake found before training, or all is trained but the study cannot be drawn.
    """
    jobs, configs, skipped = leave_out(jobs, configs)
    for each in skipped[:_MOST_SKIPPED]:
        say(console, str(each), "dim")
    if len(skipped) > _MOST_SKIPPED:
        console.print(f"... and {len(skipped) - _MOST_SKIPPED} more skipped.", style="dim")
    check_configs(configs, [job.row.place if job.row else None for job in jobs], planner)
    if configs[0]["study"].get("measure"):
        planner.close()
        return sum(_measure(config, console, dry_run) for config in configs)

    fingerprints = Fingerprints(dry_run, planner)
    with console.status("Reading data and records"):
        configs = settle_precision(
            with_ranks(configs, resources.slots[0].ranks),
            fingerprints,
            lambda accelerator: planner(auto_here, accelerator) if resources.local else FLOAT32,
        )
        cells = plan(configs, [job.overrides for job in jobs], [job.row for job in jobs], fingerprints)
        cells = [replace(cell, pruning=pruning_rule(cell.content)) for cell in cells]
    if dry_run:
        show_dry_run(cells, list(dict.fromkeys(fingerprints.problems.values())), resources.slots, console)
        return 0

    refuse_many_cells(len(cells))
    if costs := _network_costs_asked(cells):
        planner(_network_costs, *costs)
    with suppress(OSError):  # for whoever looks at the study, or packs it, meanwhile
        _write_study(cells, None, skipped)
    trained_before = agent_run() is not None and cells[0].status().state == "done"
    statuses = run_cells(cells, resources, console, planner)
    if trained_before:
        from slackoff.wandb_view.publish import show_done_cell

        show_done_cell(cells[0].folder, str(cells[0].config.logger.project))

    undrawn = draw_study(cells, statuses, console, skipped)
    failed = report_failures(cells, statuses, resources, console)
    if undrawn and not failed:
        raise undrawn
    if undrawn:
        say(console, str(undrawn), "red")
    return failed


def _measure(config: Config, console: Console, dry_run: bool) -> int:
    if dry_run:
        console.print("This study trains nothing: it measures, and draws what it finds.")
        return 0
    from slackoff.measurements.study import run_measurement

    return run_measurement(OmegaConf.create(config), console)


def draw_study(
    cells: Sequence[Cell],
    statuses: Sequence[Status],
    console: Console,
    skipped: Sequence[Skipped] = (),
    folder: Path | None = None,
) -> SlackoffError | None:
    """Write the study and its report; what keeps that from being done must not hide what became of the cells.

    Args:
        cells: of the study.
        statuses: of these cells.
        console: for the table.
        skipped: what the study leaves out; kept in its record.
        folder: of the study; None: under a name that says what it is and changes with the set of cells.

    Returns:
        What kept it from being drawn.
    """
    try:
        folder = _write_study(cells, folder, skipped)
        if any(status.state == "done" for status in statuses):
            keep_network_costs(cells, folder, console)
            _report(folder, console, cells[0].config.logger)
    except SlackoffError as error:
        return error
    except OSError as error:
        return SlackoffError(
            f"The study cannot be drawn in {Path(cells[0].config.runs) / 'studies'} ({error.strerror or error}): make "
            "it writable or free space, then run the same command again; cells that are done are not trained again"
        )
    return None


def _study_folder(cells: Sequence[Cell]) -> Path:
    config = cells[0].config
    digest = hashlib.sha256("".join(sorted(cell.id for cell in cells)).encode()).hexdigest()[:6]
    labels = [{str(cell.label[key]) for cell in cells} for key in ("background", "evaluation")]
    common = [found.pop() for found in labels if len(found) == 1]
    return Path(config.runs) / "studies" / folder_name(config.study.name, config.size, *common, digest=digest)


def _write_study(cells: Sequence[Cell], folder: Path | None = None, skipped: Sequence[Skipped] = ()) -> Path:
    config = cells[0].config
    study = config.study
    folder = folder or _study_folder(cells)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(
        folder / "study.json",
        {
            "name": folder.name,
            "experiment": study.name,
            "title": study.title,
            "question": study.question,
            "paper": study.paper,
            "size": config.size,
            "axis": str(study.axis).rsplit(".", 1)[-1],
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "test_sets": _drawn_test_sets(study, cells),
            "claims": list(study.claims),
            "options": OmegaConf.to_container(study.options),
            "command": shlex.join(["python", "-m", "slackoff", *sys.argv[1:]]),
            "cells": [{"id": cell.id, "axes": cell.axes} for cell in cells],
            **({"skipped": [each.told() for each in skipped]} if skipped else {}),
        },
    )
    return folder


def _drawn_test_sets(study: DictConfig, cells: Sequence[Cell]) -> list[str]:
    """Those of ``study.test_sets`` that any cell is tested on; none (which draws all) if the command chose others."""
    tested: set[str] = set()
    for cell in cells:
        evaluation = cell.content["evaluation"]
        tested |= {str(evaluation["test_set"].get("name", evaluation["name"])), *evaluation.get("also", {})}
    joined = study.options.get("joined_test_sets", {})
    tested |= {name for name, parts in joined.items() if set(parts) <= tested}
    return [str(name) for name in study.test_sets if name in tested]


def _report(folder: Path, console: Console, logger: DictConfig) -> None:
    from slackoff.analysis import load  # pandas and matplotlib: not needed while cells train
    from slackoff.analysis.cost import print_quality_cost, quality_cost_table
    from slackoff.analysis.report import build
    from slackoff.analysis.tables import print_table

    frames = load(folder)
    page = build(folder)
    print_table(frames, console)
    if len(table := quality_cost_table(frames)):
        print_quality_cost(table, console)
    console.print(f"Report: {page}", soft_wrap=True, markup=False)
    if logger.wandb and agent_run() is None:  # an agent's run is that of the cell
        from slackoff.wandb_view.publish import show_study

        show_study(frames, str(logger.project))


def keep_network_costs(cells: Sequence[Cell], folder: Path, console: Console) -> None:
    """Measure what each network of the cells costs, unless that was done on this machine, and keep it in a study's
    folder; nothing for a study without ``study.options.cost``.

    Raises:
        SlackoffError: a setting that cannot be, or one name for two networks.
    """
    asked = _network_costs_asked(cells)
    if asked is None:
        return
    from slackoff.analysis.cost import NETWORK_COSTS  # imports pandas

    place = folder / NETWORK_COSTS
    with PlannerProcess() as planner:
        fingerprint, announcement = planner(_network_costs, *asked)
        with suppress(OSError, DamagedFileError):
            if read_json(place / "study.json", dict[str, Any]).get("fingerprint") == fingerprint:
                return
        console.print(announcement, style="dim")
        planner(_network_costs, *asked, place)


def _network_costs_asked(cells: Sequence[Cell]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """``study.options.cost`` and the config of each network by its name; None for a study that asks for no costs."""
    settings = cells[0].content["study"]["options"].get("cost")
    if settings is None:
        return None
    nodes: dict[str, Any] = {}
    for cell in cells:
        name, network = str(cell.label["network"]), cell.content["network"]
        if nodes.setdefault(name, network) != network:
            raise SlackoffError(f"Two networks of this study have the name {name}: give one another network.name=...")
    return settings, nodes


def _network_costs(settings: dict[str, Any], nodes: dict[str, Any], keep_in: Path | None = None) -> tuple[str, str]:
    """Fingerprint and announcement of a measurement; it is made where a folder is given to keep it in."""
    from slackoff.measurements.runtime import NetworkCostMeasurement  # imports torch
    from slackoff.measurements.study import record_measurement

    found = NetworkCostMeasurement(**settings, nodes=nodes)
    if keep_in:
        kept = {name: getattr(found, name) for name in ("size_px", "rounds", "budget_s")}
        record_measurement(keep_in, found, kept | {"networks": nodes}, {"name": keep_in.parent.name})
    return found.fingerprint(), found.announcement
