"""The one exception a person causes and can cure."""

from collections.abc import Iterable
from difflib import get_close_matches


class SlackoffError(Exception):
    """A mistake in a config, a folder or a file: one sentence that names it and says the cure.

    The command line prints the sentence without a traceback; anything else that is raised is a defect of slackoff.
    """


def did_you_mean(wrong: object, known: Iterable[str], otherwise: str = "") -> str:
    """The known name that comes closest to a wrong one, as the end of a sentence; ``otherwise`` where none is close."""
    close = get_close_matches(str(wrong), list(known), n=1, cutoff=0.4)
    return f"did you mean '{close[0]}'?" if close else otherwise
