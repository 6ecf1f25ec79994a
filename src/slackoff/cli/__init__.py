"""The command line: the verbs, the Hydra entry, and how a verb ends at a person's mistake."""

import sys
from typing import NoReturn

import typer

from slackoff.errors import EXIT_MISTAKE, SlackoffError


def stop(error: SlackoffError | OSError) -> NoReturn:
    """Print the sentence of a mistake, or of a file that cannot be used, and end with `EXIT_MISTAKE`."""
    sentence = str(error)
    if isinstance(error, OSError):
        place, why = error.filename or "A file", error.strerror or error
        sentence = f"{place} cannot be used ({why}): make it writable or free some space"
    print(f"error: {sentence}", file=sys.stderr)
    raise typer.Exit(EXIT_MISTAKE)
