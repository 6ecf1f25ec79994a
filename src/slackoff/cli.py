"""The verbs: look at the record without training anything."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from slackoff.errors import SlackoffError
from slackoff.record.status import Status, observed_status

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
Runs = Annotated[Path, typer.Option(help="Where the records are.")]


@app.command()
def status(
    runs: Runs = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a cell.")] = False,
) -> None:
    """Show every cell: what it is, its state, how far it is, what went wrong."""
    from slackoff.sweep.display import status_table

    statuses = _guarded_statuses(runs)
    if as_json:
        print(json.dumps([asdict(item) for item in statuses], indent=2))
        return
    console = Console()
    if not statuses:
        console.print(f"{runs} holds no cells yet.")
        return
    console.print(status_table(statuses))


@app.command()
def report(
    study: Annotated[str | None, typer.Argument(help="Name or folder of a study; the newest one if left out.")] = None,
    runs: Runs = Path("runs"),
) -> None:
    """Rebuild figures, tables and index.html of a study from the record alone."""
    from slackoff.analysis import complexity, load
    from slackoff.analysis.report import build
    from slackoff.analysis.tables import print_table

    try:
        name = study or _newest(runs)
        if (folder := complexity.find(name, runs)) is not None:
            from slackoff.analysis.complexity.report import show

            show(folder, Console())
            return
        frames = load(name, runs)
        page = build(frames.study.folder)
    except SlackoffError as error:
        _stop(error)
    console = Console()
    print_table(frames, console)
    console.print(f"Report: {page}", soft_wrap=True)


@app.command()
def networks(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a preset.")] = False,
) -> None:
    """List every network preset: parameters, operations, source paper."""
    from slackoff.network_table import measure_presets, network_table

    try:
        rows = measure_presets()
    except SlackoffError as error:
        _stop(error)
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return
    Console().print(network_table(rows))


def _guarded_statuses(runs: Path) -> list[Status]:
    try:
        found = [observed_status(path.parent) for path in sorted((runs / "cells").glob("*/status.json"))]
    except SlackoffError as error:
        _stop(error)
    return sorted(
        (item for item in found if item),
        key=lambda item: [str(value).zfill(8) for value in item.label.values()],
    )


def _newest(runs: Path) -> str:
    studies = sorted((runs / "studies").glob("*/study.json"), key=lambda path: path.stat().st_mtime)
    if not studies:
        raise SlackoffError(
            f"{runs} holds no study: run one first, for example python -m slackoff +experiment=patchcount -m"
        )
    return str(studies[-1].parent)


def _stop(error: SlackoffError) -> None:
    print(f"error: {error}", file=sys.stderr)
    raise typer.Exit(2)
