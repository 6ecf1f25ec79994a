"""The verb ``publish``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from slackoff.cli import stop
from slackoff.errors import SlackoffError


def publish(
    study: Annotated[str, typer.Option(help="Name of a study (or the beginning of it, if one fits), or its folder.")],
    runs: Annotated[Path, typer.Option(help="Where the records are.")] = Path("runs"),
    project: Annotated[str, typer.Option(help="W&B project.")] = "slackoff",
    entity: Annotated[str | None, typer.Option(help="W&B user or team; your own if left out.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Write runs for wandb sync; no dashboard.")] = False,
) -> None:
    """Show a study in W&B from its record: a run per cell, one of the study, a workspace and a report.

    Again with the same record it changes nothing; with a newer one it brings all of it up to date.
    """
    from slackoff.wandb_view.publish import publish as publish_study
    from slackoff.wandb_view.publish import study_named

    console = Console()
    try:
        with console.status("reading the record") as shown:
            name = study_named(study, runs)
            done = publish_study(
                name, runs, project, entity, offline, lambda number, of: shown.update(f"{number} of {of} cells")
            )
    except (SlackoffError, OSError) as error:
        stop(error)
    console.print(f"{name}: {done.written} cells written, {done.there} were there already", highlight=False)
    if done.unstarted:
        console.print(f"{done.unstarted} cells have no steps on record yet and are left out", style="yellow")
    if offline:
        folder = runs / "studies" / Path(name).name / "wandb"
        console.print(f"Upload: wandb sync {folder}/offline-run-*", soft_wrap=True, highlight=False)
        return
    console.print(f"Workspace: {done.workspace}", soft_wrap=True, highlight=False)
    console.print(f"Report: {done.report}", soft_wrap=True, highlight=False)
