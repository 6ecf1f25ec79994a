"""The verb ``demo``."""

from pathlib import Path
from typing import Annotated

import typer

from slackoff.errors import SlackoffError
from slackoff.verb_mistakes import stop


def demo(
    cell: Annotated[list[str] | None, typer.Option(help="Id of a done cell; give it for each.")] = None,
    model: Annotated[list[Path] | None, typer.Option(help="A weight file; give it for each.")] = None,
    network: Annotated[str | None, typer.Option(help="The preset of --model; not for what export wrote.")] = None,
    teacher: Annotated[bool, typer.Option("--teacher", help="The moving averages that taught the cells.")] = False,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the page on this machine.")] = 7861,
    runs: Annotated[Path, typer.Option(help="Where the records are.")] = Path("runs"),
) -> None:
    """Show a page on this machine where trained networks take the rain out of photos, side by side; Ctrl-C ends it."""
    from slackoff.deraining.verbs import bound_kernel_caches

    bound_kernel_caches()
    from slackoff.deraining.demo import require_gradio, serve
    from slackoff.deraining.model import from_cell, from_file

    try:
        require_gradio()
        if not cell and not model:
            raise SlackoffError("Give --cell ID or --model FILE: python -m slackoff status lists the cells")
        models = [from_cell(identity, runs, teacher) for identity in cell or ()]
        models += [from_file(path, network) for path in model or ()]
        serve(models, port)
    except (SlackoffError, OSError) as error:
        stop(error)
