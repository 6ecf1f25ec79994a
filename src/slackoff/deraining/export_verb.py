"""The verb ``export``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from slackoff import exit_codes
from slackoff.deraining.verbs import load_model
from slackoff.errors import SlackoffError
from slackoff.verb_mistakes import stop


def export(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")],
    cell: Annotated[str | None, typer.Option(help="Id of a done cell, or how it begins.")] = None,
    model: Annotated[Path | None, typer.Option(help="A weight file in the place of a cell.")] = None,
    network: Annotated[str | None, typer.Option(help="The preset of --model; not for what export wrote.")] = None,
    teacher: Annotated[bool, typer.Option("--teacher", help="The moving average that taught the cell.")] = False,
    onnx: Annotated[bool, typer.Option(help="Write model.onnx, if it computes the same.")] = True,
    size: Annotated[
        tuple[int, int] | None, typer.Option(metavar="HEIGHT WIDTH", help="The only size of model.onnx, in pixels.")
    ] = None,
    license_id: Annotated[
        str | None, typer.Option("--license", help="Of the weights, for the card: mit, cc-by-nc-4.0 ...")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export.")] = False,
    runs: Annotated[Path, typer.Option(help="Where the records are.")] = Path("runs"),
) -> None:
    """Write a trained network for other people: model.safetensors, a model card, config.yaml and model.onnx.

    Exit code: 0 all of it, 3 all but model.onnx, which could not be made or does not compute the same, 2 a mistake.
    """
    from slackoff.deraining.export import export as write

    console = Console()
    try:
        if size is not None and min(size) < 1:
            raise SlackoffError(f"--size {size[0]} {size[1]} must be at least 1 pixel a side")
        found = load_model(cell, model, network, teacher, runs)
        written = write(found, out, onnx, size, overwrite, license_id)
    except (SlackoffError, OSError) as error:
        stop(error)
    console.print(f"{written.folder}: {found.name}", soft_wrap=True, markup=False, highlight=False)
    if written.onnx:
        sizes = "{}x{} pixels".format(*written.onnx.size) if written.onnx.size else "any size"
        console.print(
            f"model.onnx: {sizes}, opset {written.onnx.opset}, {written.onnx.bytes / 1e6:.1f} MB, at most "
            f"{written.onnx.difference:.1e} from PyTorch",
            soft_wrap=True,
        )
    if written.refusal:
        console.print(written.refusal, style="yellow", soft_wrap=True, markup=False, highlight=False)
        raise typer.Exit(exit_codes.WITHOUT_ONNX)
