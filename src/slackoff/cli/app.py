"""All verbs, and those that look at studies and their cells without starting one."""

import json
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from slackoff.cli import RUNS, Port, Runs, Verbs, stopped
from slackoff.cli.data import data
from slackoff.cli.derain import demo, derain, export
from slackoff.cli.import_weights import import_weights
from slackoff.cli.own_code import check, new
from slackoff.cli.packing import pack, unpack, verify
from slackoff.errors import SlackoffError, explain_unusable, failure_exit_code
from slackoff.record.files import Patience
from slackoff.record.ledger import latest
from slackoff.record.status import State, Status

app = typer.Typer(cls=Verbs, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
user_study = typer.Typer(no_args_is_help=True, help="Ask people which method's results they like best, and report it.")
app.add_typer(user_study, name="user-study")
for _verb in (export, demo, derain, data, pack, unpack, verify, new, check):
    app.command()(_verb)


@app.command()
def publish(
    study: Annotated[str, typer.Option(help="Name of a study (or the beginning of it, if one fits), or its folder.")],
    runs: Runs = RUNS,
    project: Annotated[str, typer.Option(help="W&B project.")] = "slackoff",
    entity: Annotated[str | None, typer.Option(help="W&B user or team; your own if left out.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Write runs for wandb sync; no dashboard.")] = False,
) -> None:
    """Show a study in W&B from its record: a run per cell, one of the study, a workspace and a report.

    Again with the same record it changes nothing; with a newer one it brings all of it up to date.

    Exit code: 0 all done, 10 + the number of runs that could not be written, 2 a mistake.
    """
    from slackoff.wandb_view.publish import publish as publish_study
    from slackoff.wandb_view.publish import study_named

    console = Console(markup=False, highlight=False)
    with console.status("reading the record") as shown:
        name = study_named(study, runs)
        done = publish_study(
            name,
            runs,
            project,
            entity,
            offline,
            lambda number, of: shown.update(f"{number} of {of} cells"),
            lambda sentence: _warn([sentence]),
        )
    console.print(f"{name}: {done.written} cells written, {done.there} were there already")
    if done.unstarted:
        console.print(f"{done.unstarted} cells have no steps on record yet and are left out", style="yellow")
    if offline:
        folder = shlex.quote(str(done.folder / "wandb"))
        console.print(f"Upload: wandb sync {folder}/offline-run-*", soft_wrap=True)
    else:
        places = {"Workspace": done.workspace, "Report": done.report}
        console.print(*(f"{what}: {url}" for what, url in places.items() if url), sep="\n", soft_wrap=True)
    if done.failures:
        raise typer.Exit(failure_exit_code(len(done.failures)))


@app.command()
def status(
    runs: Runs = RUNS,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a cell.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing it until Ctrl-C.")] = False,
) -> None:
    """Show every cell: what it is, its state, how far it is, what went wrong."""
    from slackoff.sweep.cell_folders import CellFolders, told_apart
    from slackoff.sweep.display import MOST_ROWS, Pace, rows_of, status_table, watch_statuses

    cells = CellFolders(runs, Patience(0.0 if watch else 3.0))
    pace = Pace() if watch else None

    def statuses() -> list[Status]:
        found = [cell.status for cell in cells.look()]
        return sorted(found, key=lambda item: [str(value).zfill(8) for value in item.label.values()])

    def table() -> list[RenderableType]:
        found = statuses()
        if not found:
            return [Text(f"{runs} holds no cells yet.")]
        if pace:
            pace.see(found)
        return status_table(
            told_apart(runs, found), _places(runs, found), pace, rows_of(console) if watch else MOST_ROWS
        )

    console = Console()
    if watch:
        watch_statuses(table, console)
        return
    if as_json:
        found = statuses()
        places = _places(runs, found)
        print(json.dumps([{**asdict(item), "where": places.get(item.id)} for item in found], indent=2))
    else:
        console.print(*table(), sep="\n")
    _warn(cells.troubles)


@app.command()
def report(
    study: Annotated[str | None, typer.Argument(help="Name or folder of a study; the newest one if left out.")] = None,
    runs: Runs = RUNS,
) -> None:
    """Rebuild figures, tables and index.html of a study from the record alone."""
    from slackoff.analysis import load
    from slackoff.analysis.report import build
    from slackoff.analysis.tables import print_table
    from slackoff.measurements import study as measured

    console = Console()
    if not (name := study):
        studies = (runs / "studies").glob("*/study.json")
        newest = max(studies, key=lambda path: path.stat().st_mtime, default=None)
        if newest is None:
            raise SlackoffError(
                f"{runs} holds no study: run one first, for example python -m slackoff +experiment=patchcount -m"
            )
        name = str(newest.parent)
    if Path(name).is_file():
        raise SlackoffError(
            f"{name} is a file: slackoff unpack {name} puts it among the records, then report its study"
        )
    if (found := measured.find(name, runs)) is not None:
        measured.show(found, console)
        return
    frames = load(name, runs)
    if set(frames.cells["state"]) == {"missing"}:
        raise SlackoffError(
            f"None of the cells of {frames.study.folder} is under {frames.study.runs}: say with --runs where they are, "
            "or run the study's command again"
        )
    page = build(frames.study.folder)
    print_table(frames, console)
    console.print(f"Report: {page}", soft_wrap=True, markup=False)


@app.command()
def retry(
    cells: Annotated[list[str] | None, typer.Argument(help="Ids of cells; all that failed if left out.")] = None,
    runs: Runs = RUNS,
    slots: Annotated[
        int | None, typer.Option(min=1, help="Cells at once; one a GPU, or up to eight, if left out.")
    ] = None,
) -> None:
    """Train the failed and lost cells again, or those that are named (pruned ones, too), from their last checkpoints.

    Exit code: 0 all done, 10 + the number of failed cells, 2 a mistake, 130 Ctrl-C.
    """
    from slackoff.sweep.backend import Resources
    from slackoff.sweep.cell_folders import CellFolders
    from slackoff.sweep.driver import report_failures, run_cells
    from slackoff.sweep.local import LocalBackend, make_slots
    from slackoff.sweep.planner_process import PlannerProcess

    console = Console()
    try:
        folders, again, planner = CellFolders(runs, Patience()), [], PlannerProcess()
        for recorded in folders.named(cells) if cells else folders.look(["failed", "lost"]):
            try:
                again.append(folders.patience(partial(recorded.as_cell, planner)))
            except SlackoffError as error:
                if cells:
                    raise
                folders.troubles.append(str(error))
            except OSError as error:
                folders.troubles.append(explain_unusable(error, recorded.folder))
        _warn(folders.troubles)
        if not again:
            console.print(f"No {'other ' if folders.troubles else ''}cell under {runs} has failed.", markup=False)
            return
        ranks = {cell.content["trainer"].get("ranks", 1) for cell in again}
        if len(ranks) > 1:
            raise SlackoffError("These cells are trained by different numbers of ranks: name those of one number")
        resources = Resources(make_slots(slots or "auto", gpus_per_cell=ranks.pop()), LocalBackend, local=True)
        statuses = run_cells(again, resources, console, planner)
    except KeyboardInterrupt:
        stopped("from the last checkpoints")
    console.print("python -m slackoff report STUDY draws a study with what is done now.")
    if failed := report_failures(again, statuses, resources, console):
        raise typer.Exit(failure_exit_code(failed))


@app.command()
def why(
    first: Annotated[str, typer.Argument(help="Id of a cell, or its beginning.")],
    second: Annotated[str, typer.Argument(help="Id of another one.")],
    runs: Runs = RUNS,
) -> None:
    """Say why two cells are not the same: the keys, data or source code in which they differ, one a line."""
    from slackoff.sweep.identity import explain_difference

    lines = explain_difference(first, second, runs)
    print(*(lines or [f"{first} and {second} are the same cell"]), sep="\n")


@app.command()
def clean(
    runs: Runs = RUNS,
    done: Annotated[bool, typer.Option("--done", help="Remove done cells too: their networks and results.")] = False,
    pruned: Annotated[bool, typer.Option("--pruned", help="Remove pruned cells too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove cells that failed, were lost, interrupted or never ran; asks first. Running, done, pruned ones stay."""
    from slackoff.sweep.cell_folders import CellFolders
    from slackoff.sweep.display import status_table

    console = Console()
    states: set[State] = {"pending", "failed", "interrupted", "lost"}
    folders = CellFolders(runs, Patience())
    left = folders.finish_removing()
    states |= {"done"} if done else set()
    states |= {"pruned"} if pruned else set()
    cells = folders.look(states)
    _warn(folders.troubles)
    if cells:
        console.print(*status_table([cell.status for cell in cells]), sep="\n")
        size = sum(cell.size() for cell in cells) / 1e6
        if not yes and not typer.confirm(f"Remove these {len(cells)} cells ({size:.1f} MB)?"):
            raise typer.Exit(1)
        left = folders.remove(cells)
    else:
        console.print(f"Nothing to remove under {runs}.", markup=False)
    for sentence in left:
        console.print(sentence, style="yellow", markup=False, soft_wrap=True)


@app.command()
def networks(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a preset.")] = False,
) -> None:
    """List every network preset: parameters, operations, source paper."""
    from slackoff.config.counting import count_presets, preset_table

    rows = count_presets()
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        Console().print(preset_table(rows))


app.command()(import_weights)


@user_study.command()
def show(
    images: Annotated[Path, typer.Option(help="Folder of the original, rainy images.")],
    method: Annotated[list[str], typer.Option(help="NAME=FOLDER of a method's results; give it for each method.")],
    votes: Annotated[Path, typer.Option(help="CSV that the votes are added to.")] = Path("votes.csv"),
    groups: Annotated[int, typer.Option(help="Images that each rater is shown.")] = 10,
    seed: Annotated[int, typer.Option(help="Decides which images a rater sees, and the order of the methods.")] = 0,
    port: Port = 7860,
) -> None:
    """Show a page on this machine where people pick the best of several anonymous results; Ctrl-C ends it.

    A FOLDER holds pictures under the names of the originals, or is a cell of the record (runs/cells/ID).
    """
    from slackoff.user_study.page import Questionnaire, find_groups, import_gradio, named_folders, serve
    from slackoff.user_study.votes import VoteFile

    import_gradio()
    folders = named_folders(method)
    found = find_groups(images, folders)
    study = Questionnaire(found, VoteFile(votes, list(folders)), groups, seed)
    print(f"{len(found)} images, {study.total} for each rater; methods: {', '.join(study.methods)}; votes: {votes}")
    serve(study, port)


@user_study.command("report")
def report_votes(
    votes: Annotated[Path, typer.Argument(help="CSV of votes (rater,image,method) or scores (image,method,score).")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report; NAME_report beside NAME.csv if left out.")
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option(help="A method that was shown; for votes without 'shown'.")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the images, to tell those without votes.")] = None,
) -> None:
    """Draw selection percentages and rank-n scores from a CSV of votes: tables, a figure and index.html."""
    from slackoff.user_study.page import image_names
    from slackoff.user_study.report import answer, build, counted, notes, summarise

    summary = summarise(votes, method or (), image_names(images) if images else ())
    page = build(summary, out or votes.with_name(f"{votes.stem}_report"), f"User study: {votes.name}")
    console = Console(markup=False, highlight=False)
    console.print(counted(summary), answer(summary)[1], *notes(summary), sep="\n")
    console.print(f"Report: {page}", soft_wrap=True)


def _places(runs: Path, statuses: Sequence[Status]) -> dict[str, str]:
    """Where the running cells run, by id: the slot that a driver gave it, and the machine if it is another one."""
    places = {}
    for item in statuses:
        with suppress(OSError):
            if item.state in ("running", "lost") and (found := latest(runs / "cells" / item.id)):
                places[item.id] = found.place()
    return places


def _warn(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        print(sentence, file=sys.stderr)
