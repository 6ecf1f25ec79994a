"""The verbs of records that travel: pack, unpack, verify."""

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from slackoff.cli import RUNS, Runs
from slackoff.errors import failure_exit_code

_MOST_LINES = 20


def pack(
    studies: Annotated[list[str], typer.Argument(metavar="STUDY...", help="Names or folders of studies.")],
    runs: Runs = RUNS,
    out: Annotated[Path | None, typer.Option(help="The file; STUDY.zip in this folder if left out.")] = None,
    weights: Annotated[bool, typer.Option("--weights", help="Pack the networks of done cells, too.")] = False,
    checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="Pack the last checkpoints of cells that are not done.")
    ] = False,
    pictures: Annotated[int, typer.Option(min=0, help="Images of each test set whose pictures are packed.")] = 1,
) -> None:
    """Write studies as one file: configs, digests, results per image, tables, claims, some pictures.

    Half a sweep can be packed: with --checkpoints, unpack and the same command go on with it on another machine.
    """
    from slackoff.sweep import packing

    console = Console(markup=False, highlight=False)
    with console.status("Reading the record"):
        packed = packing.pack(studies, runs, out, weights, checkpoints, pictures)
    counts = {"done": packed.done, "unfinished": packed.unfinished, "not begun": packed.missing}
    said = ", ".join(f"{len(ids)} {what}" for what, ids in counts.items() if ids) or "no cells"
    console.print(f"{packed.path}: {packed.path.stat().st_size / 1e6:.2f} MB; cells: {said}", soft_wrap=True)
    if packed.unfinished and not checkpoints:
        console.print("Unfinished cells travel without their checkpoints: --checkpoints packs them.", style="yellow")
    for trouble in packed.troubles:
        console.print(trouble, style="yellow", soft_wrap=True)


def unpack(
    file: Annotated[Path, typer.Argument(help="A file that slackoff pack wrote.")],
    runs: Runs = RUNS,
) -> None:
    """Merge a packed record into a folder of records: what is there is kept, what is new is added."""
    from slackoff.sweep import packing

    console = Console(markup=False, highlight=False)
    merged = packing.unpack(file, runs)
    counts = {
        "new": merged.new,
        "got further than those here, which they replace": merged.replaced,
        "here already": merged.there,
        "not taken, as those here are kept": merged.kept,
    }
    said = "; ".join(f"{len(ids)} {what}" for what, ids in counts.items() if ids) or "none"
    console.print(f"Cells: {said}", soft_wrap=True)
    for sentence in merged.said:
        console.print(sentence, style="yellow", soft_wrap=True)
    for name in merged.studies:
        where = [] if runs == RUNS else ["--runs", str(runs)]
        command = shlex.join(["python", "-m", "slackoff", "report", name, *where])
        console.print(f"Study {name}: {command} draws it", soft_wrap=True)


def verify(
    file: Annotated[Path, typer.Argument(help="A file that slackoff pack wrote.")],
    data_root: Annotated[
        Path | None, typer.Option(help="Where the data lie that the configs have below their data_root.")
    ] = None,
    data: Annotated[bool, typer.Option("--data/--no-data", help="Compare with the data of this machine.")] = True,
) -> None:
    """Recompute every table and claim of a packed record from its results per image, and look for what was changed.

    Exit code: 0 all holds, 10 + the number of things that do not, 2 a mistake.
    """
    from slackoff.sweep.verify import verify as check

    console = Console(markup=False, highlight=False)
    with console.status("Recomputing tables and claims"):
        found = check(file, data_root, data)
    for sentence in found.held:
        console.print(f"holds: {sentence}", soft_wrap=True)
    for sentence in found.notes:
        console.print(f"note: {sentence}", style="yellow", soft_wrap=True)
    for sentence in found.wrong[:_MOST_LINES]:
        console.print(f"WRONG: {sentence}", style="red", soft_wrap=True)
    if len(found.wrong) > _MOST_LINES:
        console.print(f"... and {len(found.wrong) - _MOST_LINES} more", style="red")
    console.print(f"{file} is the record {found.digest}", soft_wrap=True)
    if found.wrong:
        raise typer.Exit(failure_exit_code(len(found.wrong)))
