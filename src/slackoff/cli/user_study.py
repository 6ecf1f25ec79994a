"""The verbs ``user-study show`` and ``user-study report``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from slackoff.cli import stop
from slackoff.errors import SlackoffError

app = typer.Typer(no_args_is_help=True, help="Ask people which method's results they like best, and report it.")


@app.command()
def show(
    images: Annotated[Path, typer.Option(help="Folder of the original, rainy images.")],
    method: Annotated[list[str], typer.Option(help="NAME=FOLDER of a method's results; give it for each method.")],
    votes: Annotated[Path, typer.Option(help="CSV that the votes are added to.")] = Path("votes.csv"),
    groups: Annotated[int, typer.Option(help="Images that each rater is shown.")] = 10,
    seed: Annotated[int, typer.Option(help="Decides which images a rater sees, and the order of the methods.")] = 0,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the page on this machine.")] = 7860,
) -> None:
    """Show a page on this machine where people pick the best of several anonymous results; Ctrl-C ends it.

    A FOLDER holds pictures under the names of the originals, or is a cell of the record (runs/cells/ID).
    """
    from slackoff.user_study.page import import_gradio, serve
    from slackoff.user_study.questionnaire import Questionnaire, find_groups, named_folders
    from slackoff.user_study.votes import VoteFile

    try:
        import_gradio()
        folders = named_folders(method)
        found = find_groups(images, folders)
        study = Questionnaire(found, VoteFile(votes, list(folders)), groups, seed)
        print(f"{len(found)} images, {study.total} for each rater; methods: {', '.join(study.methods)}; votes: {votes}")
        serve(study, port)
    except (SlackoffError, OSError) as error:
        stop(error)


@app.command()
def report(
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
    from slackoff.user_study.questionnaire import image_names
    from slackoff.user_study.report import answer, build, counted, notes, summarise

    try:
        summary = summarise(votes, method or (), image_names(images) if images else ())
        page = build(summary, out or votes.with_name(f"{votes.stem}_report"), f"User study: {votes.name}")
    except (SlackoffError, OSError) as error:
        stop(error)
    console = Console()
    for line in (counted(summary), answer(summary)[1], *notes(summary)):
        console.print(line, markup=False, highlight=False)
    console.print(f"Report: {page}", soft_wrap=True)
