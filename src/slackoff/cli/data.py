"""The verb that looks at a data set: ``data``."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from slackoff.errors import SlackoffError


def data(
    root: Annotated[Path | None, typer.Argument(help="Folder of the pairs, or a list of them.")] = None,
    rainy: Annotated[
        str | None, typer.Option(help="Folder of the rainy images, or a pattern such as r/{n}.png.")
    ] = None,
    clean: Annotated[str | None, typer.Option(help="Folder or pattern of the clean ones.")] = None,
    pairs: Annotated[Path | None, typer.Option(help="Text or CSV file with a rainy and a clean path a line.")] = None,
    layout: Annotated[
        Literal["auto", "side_by_side", "side_by_side_clean_left"], typer.Option(help="Of DIR.")
    ] = "auto",
    other: Annotated[
        list[Path] | None, typer.Option(help="Another set, such as a test set, whose scenes are looked for.")
    ] = None,
    sheet: Annotated[Path | None, typer.Option(help="PNG to write: some pairs, rainy left and clean right.")] = None,
) -> None:
    """Say what a set of rainy and clean images is made of: pairs, sizes, the darker side, repeated files and scenes."""
    from slackoff.images import find_pairs
    from slackoff.images.survey import contact_sheet, survey
    from slackoff.record.files import write_whole

    listed = None if pairs is None else str(pairs)
    try:
        found = find_pairs(root, "--.root", layout, darker_rain=True, rainy=rainy, clean=clean, pairs=listed)
    except SlackoffError as error:  # which names config keys: here they are options
        raise SlackoffError(
            str(error).replace("--.root=", "").replace("--.root", "DIR").replace("--.", "--")
        ) from error
    others = {str(folder): find_pairs(folder, "--other", darker_rain=True) for folder in other or ()}
    console = Console(markup=False, highlight=False)
    console.print(*survey(found, others).lines(), sep="\n", soft_wrap=True)
    if sheet is not None:
        image = contact_sheet(found)
        write_whole(sheet, lambda partial: image.save(partial, "PNG"))
        console.print(f"Contact sheet: {sheet}", soft_wrap=True)
