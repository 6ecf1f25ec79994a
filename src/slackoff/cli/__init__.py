"""The command line: the verbs, the Hydra entry, and how a verb ends at a person's mistake."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from slackoff.errors import EXIT_MISTAKE, EXIT_STOPPED, SlackoffError, is_temporary

Runs = Annotated[Path, typer.Option(help="Where the records are.")]
RUNS = Path("runs")
Port = Annotated[int, typer.Option(min=1, max=65535, help="Port of the page on this machine.")]


class Verbs(typer.core.TyperGroup):
    """A verb that raises ends with one sentence on standard error and no traceback, whichever verb it is."""

    def invoke(self, ctx: Any) -> Any:
        with mistakes_in_one_sentence():
            return super().invoke(ctx)


@contextmanager
def mistakes_in_one_sentence(other_place: str = "") -> Iterator[None]:
    """End the program with `EXIT_MISTAKE` at a person's mistake.

    A `SlackoffError` is the sentence, and an `OSError` names the file that cannot be used.

    Args:
        other_place: how another place than that of the file is given, if it can be.
    """
    try:
        yield
    except SlackoffError as error:
        stop(str(error))
    except OSError as error:
        cure = (
            "see that it can be read and written, then try again"
            if is_temporary(error)
            else "free space or make it writable"
        )
        cure += other_place and f", or choose another place with {other_place}"
        stop(f"{error.filename or 'A file'} cannot be used ({error.strerror or error}): {cure}")


def stop(sentence: str) -> NoReturn:
    """End the program with one sentence about a mistake."""
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(EXIT_MISTAKE)


def stopped(goes_on: str) -> NoReturn:
    """End the program at Ctrl-C: say what the same command will go on with, and end with `EXIT_STOPPED`."""
    print(f"stopped; the same command again goes on {goes_on}", file=sys.stderr)
    sys.exit(EXIT_STOPPED)
