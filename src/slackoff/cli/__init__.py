"""The command line: the verbs, the Hydra entry, and how a verb ends at a person's mistake."""

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from slackoff.errors import EXIT_MISTAKE, EXIT_STOPPED, SlackoffError

Runs = Annotated[Path, typer.Option(help="Where the records are.")]
RUNS = Path("runs")
Port = Annotated[int, typer.Option(min=1, max=65535, help="Port of the page on this machine.")]


class Verbs(typer.core.TyperGroup):
    """A verb that raises ends with one sentence on standard error and no traceback, whichever verb it is.

    A `SlackoffError` is the sentence, and an `OSError` names the file that cannot be used. The exit code is
    `EXIT_MISTAKE`.
    """

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SlackoffError as error:
            sentence = str(error)
        except OSError as error:
            place, why = error.filename or "A file", error.strerror or error
            sentence = f"{place} cannot be used ({why}): make it writable or free some space"
        print(f"error: {sentence}", file=sys.stderr)
        raise typer.Exit(EXIT_MISTAKE)


def stopped(goes_on: str) -> NoReturn:
    """End a verb at Ctrl-C: say what the same command will go on with, and end with `EXIT_STOPPED`."""
    print(f"stopped; the same command again goes on {goes_on}", file=sys.stderr)
    raise typer.Exit(EXIT_STOPPED)
