"""The verbs: look at the record without training anything."""

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console, RenderableType

from slackoff.cli import stop
from slackoff.cli.derain import demo, derain, export
from slackoff.cli.publish import publish
from slackoff.cli.user_study import app as user_study
from slackoff.errors import EXIT_STOPPED, SlackoffError, explain_unusable, failure_exit_code
from slackoff.record.ledger import HeartbeatMonitor, latest
from slackoff.record.status import State, Status, observed_status

if TYPE_CHECKING:
    from slackoff.sweep.display import Pace


app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(user_study, name="user-study")
app.command()(export)
app.command()(demo)
app.command()(derain)
app.command()(publish)
_UNDONE: frozenset[State] = frozenset(("pending", "failed", "interrupted"))
Runs = Annotated[Path, typer.Option(help="Where the records are.")]


@app.command()
def status(
    runs: Runs = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a cell.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing it until Ctrl-C.")] = False,
) -> None:
    """Show every cell: what it is, its state, how far it is, what went wrong."""
    from slackoff.sweep.display import Pace, watch_statuses

    signs, known = HeartbeatMonitor(), dict[str, Status]()
    if watch:
        pace = Pace()
        watch_statuses(lambda: _status_table(runs, signs, known, pace), Console())
        return
    try:
        if as_json:
            statuses = _guarded_statuses(runs, signs, known)
            places = _places(runs, statuses)
            print(json.dumps([{**asdict(item), "where": places.get(item.id)} for item in statuses], indent=2))
            return
        Console().print(*_status_table(runs, signs, known), sep="\n")
    except OSError as error:
        stop(error)


@app.command()
def report(
    study: Annotated[str | None, typer.Argument(help="Name or folder of a study; the newest one if left out.")] = None,
    runs: Runs = Path("runs"),
) -> None:
    """Rebuild figures, tables and index.html of a study from the record alone."""
    from slackoff.analysis import load
    from slackoff.analysis.report import build
    from slackoff.analysis.tables import print_table
    from slackoff.measurements import study as measured

    try:
        name = study or _newest(runs)
        if (found := measured.find(name, runs)) is not None:
            measured.show(found, Console())
            return
        frames = load(name, runs)
        page = build(frames.study.folder)
    except (SlackoffError, OSError) as error:
        stop(error)
    console = Console()
    print_table(frames, console)
    console.print(f"Report: {page}", soft_wrap=True)


@app.command()
def retry(
    cells: Annotated[list[str] | None, typer.Argument(help="Ids of cells; all that failed if left out.")] = None,
    runs: Runs = Path("runs"),
    slots: Annotated[int | None, typer.Option(help="Cells at once; one a GPU, or up to eight, if left out.")] = None,
) -> None:
    """Train the failed cells again, or those that are named, each from its last checkpoint.

    Exit code: 0 all done, 10 + the number of failed cells, 2 a mistake, 130 Ctrl-C.
    """
    from slackoff.sweep.backend import Resources
    from slackoff.sweep.cell_folders import named_cells, recorded_cells
    from slackoff.sweep.driver import report_failures, run_cells
    from slackoff.sweep.local import LocalBackend, make_slots

    console = Console()
    try:
        found = named_cells(runs, cells) if cells else recorded_cells(runs, ["failed"])
        again = [recorded.as_cell() for recorded in found]
        if not again:
            console.print(f"No cell under {runs} has failed.")
            return
        ranks = {cell.content["trainer"].get("ranks", 1) for cell in again}
        if len(ranks) > 1:
            raise SlackoffError("These cells are trained by different numbers of ranks: name those of one number")
        resources = Resources(make_slots(slots or "auto", gpus_per_cell=ranks.pop()), LocalBackend())
        statuses = run_cells(again, resources, console)
    except (SlackoffError, OSError) as error:
        stop(error)
    except KeyboardInterrupt:
        print("stopped; the same command again goes on from the last checkpoints", file=sys.stderr)
        raise typer.Exit(EXIT_STOPPED) from None
    console.print("python -m slackoff report STUDY draws a study with what is done now.")
    if failed := report_failures(again, statuses, resources, console):
        raise typer.Exit(failure_exit_code(failed))


@app.command()
def why(
    first: Annotated[str, typer.Argument(help="Id of a cell, or its beginning.")],
    second: Annotated[str, typer.Argument(help="Id of another one.")],
    runs: Runs = Path("runs"),
) -> None:
    """Say why two cells are not the same: the keys, data or source code in which they differ, one a line."""
    from slackoff.sweep.identity import explain_difference

    try:
        lines = explain_difference(first, second, runs)
    except SlackoffError as error:
        stop(error)
    print(*(lines or [f"{first} and {second} are the same cell"]), sep="\n")


@app.command()
def clean(
    runs: Runs = Path("runs"),
    done: Annotated[bool, typer.Option("--done", help="Remove done cells too: their networks and results.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove cells that failed, were interrupted or never ran; asks first, and leaves running and done ones alone."""
    from slackoff.sweep.cell_folders import recorded_cells, remove
    from slackoff.sweep.display import status_table

    console = Console()
    try:
        cells = recorded_cells(runs, _UNDONE | {"done"} if done else _UNDONE)
    except (SlackoffError, OSError) as error:
        stop(error)
    if not cells:
        console.print(f"Nothing to remove under {runs}.")
        return
    console.print(*status_table([cell.status for cell in cells]), sep="\n")
    size = sum(cell.size() for cell in cells) / 1e6
    if not yes and not typer.confirm(f"Remove these {len(cells)} cells ({size:.1f} MB)?"):
        raise typer.Exit(1)
    try:
        left = remove(cells)
    except OSError as error:
        stop(error)
    for folder in left:
        console.print(f"{folder} was left: another process trains it now", style="yellow")


@app.command()
def networks(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a preset.")] = False,
) -> None:
    """List every network preset: parameters, operations, source paper."""
    from slackoff.config.counting import count_presets, preset_table

    try:
        rows = count_presets()
    except SlackoffError as error:
        stop(error)
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return
    Console().print(preset_table(rows))


@app.command("import-weights")
def import_weights(
    network: Annotated[str, typer.Argument(help="The network's preset: python -m slackoff networks lists them.")],
    file: Annotated[Path, typer.Argument(help="Published weights: .pth, .pt, .npz or .safetensors.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="What to write; FILE's name, in this folder, if left out.")
    ] = None,
) -> None:
    """Write the published weights of a network as safetensors under our names, for +start_from=...

    Nothing in FILE is run. Where anything does not fit, nothing is written and the exit code is 2.
    """
    from slackoff.cli.weight_import import import_weights as write_weights

    try:
        written = write_weights(network, file, out)
    except (SlackoffError, OSError) as error:
        stop(error)
    console = Console()
    console.print(f"{written.path}: {written.parameters:,} parameters of network={network}", soft_wrap=True)


def _status_table(
    runs: Path, monitor: HeartbeatMonitor, known: dict[str, Status], pace: "Pace | None" = None
) -> list[RenderableType]:
    from slackoff.sweep.display import status_table

    statuses = _guarded_statuses(runs, monitor, known)
    if not statuses:
        return [f"{runs} holds no cells yet."]
    if pace:
        pace.see(statuses)
    return status_table(statuses, _places(runs, statuses), pace)


def _places(runs: Path, statuses: Sequence[Status]) -> dict[str, str]:
    """Where the running cells run, by id: the slot that a driver gave it, and the machine if it is another one."""
    places = {}
    for item in statuses:
        with suppress(OSError):
            if item.state == "running" and (found := latest(runs / "cells" / item.id)):
                places[item.id] = found.place()
    return places


def _guarded_statuses(runs: Path, monitor: HeartbeatMonitor, known: dict[str, Status]) -> list[Status]:
    """The statuses of all cells; of one that cannot be read now the one in ``known``, which is kept up to date.

    Raises:
        OSError: the folder of the cells cannot be read.
    """
    found = []
    for folder in (runs / "cells").glob("*"):
        try:
            if status := observed_status(folder, monitor):
                known[folder.name] = status
                found.append(status)
        except SlackoffError as error:
            print(error, file=sys.stderr)
        except OSError as error:
            if folder.name in known:
                found.append(known[folder.name])
            elif not isinstance(error, NotADirectoryError):
                print(explain_unusable(error, folder), file=sys.stderr)
    return sorted(found, key=lambda item: [str(value).zfill(8) for value in item.label.values()])


def _newest(runs: Path) -> str:
    studies = sorted((runs / "studies").glob("*/study.json"), key=lambda path: path.stat().st_mtime)
    if not studies:
        raise SlackoffError(
            f"{runs} holds no study: run one first, for example python -m slackoff +experiment=patchcount -m"
        )
    return str(studies[-1].parent)
