"""How a verb of the command line ends at a person's mistake: one sentence, no traceback."""

import sys
from typing import NoReturn

import typer

from slackoff import exit_codes
from slackoff.errors import SlackoffError


def stop(error: SlackoffError | OSError) -> NoReturn:
    """Print the sentence of a mistake, or of a file that cannot be used, and end with `exit_codes.MISTAKE`."""
    sentence = str(error)
    if isinstance(error, OSError):
        place, why = error.filename or "A file", error.strerror or error
        sentence = f"{place} cannot be used ({why}): make it writable or free some space"
    print(f"error: {sentence}", file=sys.stderr)
    raise typer.Exit(exit_codes.MISTAKE)
