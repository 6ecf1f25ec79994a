"""The verbs that use a trained network: ``derain``, ``demo``, ``export``."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from slackoff.cli import RUNS, Port, Runs, stopped
from slackoff.errors import EXIT_WITHOUT_ONNX, SlackoffError, failure_exit_code

if TYPE_CHECKING:
    import torch

    from slackoff.deraining.model import Model

_Which = Literal["last", "teacher", "ema", "best"]
_Weights = Annotated[_Which, typer.Option(help="Of the cell: after its last step, or its teacher, average or best.")]
_Preset = Annotated[str | None, typer.Option(help="The preset of --model; not for what export wrote.")]


def derain(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Photos, and folders of photos.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results, or a file for a single photo.")],
    cell: Annotated[str | None, typer.Option(help="Id of a cell that is done, or its beginning.")] = None,
    model: Annotated[Path | None, typer.Option(help="File of weights, in the place of a cell.")] = None,
    network: Annotated[
        str | None, typer.Option(help="Preset of the network of --model; alone, a method without training: dsc.")
    ] = None,
    weights: _Weights = "last",
    runs: Runs = RUNS,
    tile: Annotated[
        int | None, typer.Option(help="Side of the tiles, px; by the network's memory if left out.")
    ] = None,
    overlap: Annotated[int, typer.Option(help="Overlap of the tiles, px.")] = 64,
    format: Annotated[Literal["keep", "png", "jpg"], typer.Option(help="What results are written as.")] = "keep",
    sheet: Annotated[Path | None, typer.Option(help="PNG to write: the first photos before and after.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write results that are there anew.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
) -> None:
    """Take the rain out of photos with a trained network, or with a method that needs no training.

    The same command again goes on where it was stopped. Exit code: 0 all done, 10 + the number of photos that failed,
    2 a mistake, 130 Ctrl-C.
    """
    console = Console(markup=False, highlight=False)
    _bound_kernel_caches()
    try:
        from slackoff.deraining.model import from_preset
        from slackoff.deraining.photos import derain_jobs, plan_jobs, write_sheet
        from slackoff.deraining.tiles import Tiling, choose_tiling
        from slackoff.networks.interfaces import PerImageMethod

        plan = plan_jobs(inputs, out, format, [sheet] if sheet else [])
        if network is not None and cell is None and model is None and weights == "last":
            chosen = from_preset(network)
        else:
            chosen = _named_model(cell, model, network, weights, runs)
        chosen.network.to(_device(device))
        whole = isinstance(chosen.network, PerImageMethod)
        if whole and tile is not None:
            raise SlackoffError(f"--tile is not for {chosen.name}, which takes a photo as a whole: leave it out")
        tiling = Tiling(tile, overlap) if tile is not None else choose_tiling(chosen.network, overlap)
        cut = "each as a whole" if whole else f"tiles of {tiling.side} px"
        console.print(f"{chosen.name}: {len(plan.jobs)} photos, {cut}", soft_wrap=True)
        console.print(*plan.sentences(), sep="\n", end="\n" if plan.left_out else "", soft_wrap=True)
        outcome = derain_jobs(chosen, plan, tiling, overwrite, console)
        console.print(outcome.summary() + f": {out}", soft_wrap=True)
        if sheet is not None and sheet.exists() and not overwrite:
            console.print(f"{sheet} was there already and kept (--overwrite writes it again)", soft_wrap=True)
        elif sheet is not None and outcome.results:
            write_sheet(outcome.results, sheet)
            console.print(f"Contact sheet: {sheet}", soft_wrap=True)
    except KeyboardInterrupt:
        stopped("with what is not there yet")
    if outcome.failures:
        raise typer.Exit(failure_exit_code(len(outcome.failures)))


def _bound_kernel_caches() -> None:
    """Keep few of the kernels that are made for a size of image; a folder of many sizes would fill gigabytes with them.

    The libraries read this when they are first used, so it comes before torch.
    """
    for cache in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(cache, "8")


def _named_model(cell: str | None, file: Path | None, network: str | None, weights: _Which, runs: Path) -> "Model":
    """The network that the options of a verb name.

    Raises:
        SlackoffError: the options contradict each other, or as for `from_cell` and `from_file`.
    """
    from slackoff.deraining.model import from_cell, from_file

    if (cell is None) == (file is None):
        raise SlackoffError("Name the network by --cell HASH or by --model FILE, one of the two")
    if cell is not None:
        if network is not None:
            raise SlackoffError("--network is for --model: a cell's record says which network it has")
        return from_cell(cell, runs, weights)
    assert file is not None
    if weights != "last":
        raise SlackoffError(f"--weights {weights} is for --cell: give that file itself as --model")
    return from_file(file, network)


def _device(name: str) -> "torch.device":
    """The device of a name; for "auto" the first GPU, or the CPU.

    Raises:
        SlackoffError: there is no such device here.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
        if device.type == "meta":
            raise RuntimeError("it has no values")
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise SlackoffError(f"--device={name} cannot be used here: choose auto, cpu, cuda, cuda:1 or mps") from error
    return device


def demo(
    cell: Annotated[list[str] | None, typer.Option(help="Id of a done cell; give it for each.")] = None,
    model: Annotated[list[Path] | None, typer.Option(help="A weight file; give it for each.")] = None,
    network: _Preset = None,
    weights: _Weights = "last",
    port: Port = 7861,
    runs: Runs = RUNS,
) -> None:
    """Show a page on this machine where trained networks take the rain out of photos, side by side; Ctrl-C ends it."""
    _bound_kernel_caches()
    from slackoff.deraining.demo import require_gradio, serve
    from slackoff.deraining.model import from_cell, from_file

    require_gradio()
    if not cell and not model:
        raise SlackoffError("Give --cell ID or --model FILE: python -m slackoff status lists the cells")
    models = [from_cell(identity, runs, weights) for identity in cell or ()]
    models += [from_file(path, network) for path in model or ()]
    serve(models, port)


def export(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")],
    cell: Annotated[str | None, typer.Option(help="Id of a done cell, or how it begins.")] = None,
    model: Annotated[Path | None, typer.Option(help="A weight file in the place of a cell.")] = None,
    network: _Preset = None,
    weights: _Weights = "last",
    onnx: Annotated[bool, typer.Option(help="Write model.onnx, if it computes the same.")] = True,
    size: Annotated[
        tuple[int, int] | None, typer.Option(metavar="HEIGHT WIDTH", help="The only size of model.onnx, in pixels.")
    ] = None,
    license_id: Annotated[
        str | None, typer.Option("--license", help="Of the weights, for the card: mit, cc-by-nc-4.0 ...")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export.")] = False,
    runs: Runs = RUNS,
) -> None:
    """Write a trained network for other people: model.safetensors, a model card, config.yaml and model.onnx.

    Exit code: 0 all of it, 3 all but model.onnx, which could not be made or does not compute the same, 2 a mistake.
    """
    from slackoff.deraining.export import export as write

    console = Console(highlight=False)
    if size is not None and min(size) < 1:
        raise SlackoffError(f"--size {size[0]} {size[1]} must be at least 1 pixel a side")
    found = _named_model(cell, model, network, weights, runs)
    written, refusal = write(found, out, onnx, size, overwrite, license_id)
    console.print(f"{out}: {found.name}", soft_wrap=True, markup=False)
    if written:
        sizes = "{}x{} pixels".format(*written.size) if written.size else "any size"
        console.print(
            f"model.onnx: {sizes}, opset {written.opset}, {written.bytes / 1e6:.1f} MB, at most "
            f"{written.difference:.1e} from PyTorch",
            soft_wrap=True,
        )
    if refusal:
        console.print(refusal, style="yellow", soft_wrap=True, markup=False)
        raise typer.Exit(EXIT_WITHOUT_ONNX)
