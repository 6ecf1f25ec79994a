"""The environment in which every report's page is filled: templates of this room, everything escaped."""

import re
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from slackoff.analysis.smoke import WARNING, is_smoke

_SYMBOL = re.compile(r"\b(?:E_[RB]|C_k)\b")
_TEMPLATES = Path(__file__).parent / "templates"


def environment() -> jinja2.Environment:
    """Jinja with the filter ``terms``, which sets the symbols of the field in a text."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["terms"] = terms
    made.globals |= {"is_smoke": is_smoke, "smoke_warning": WARNING}
    return made


def terms(text: str) -> Markup:
    """Sets E_R, E_B and C_k with their subscripts; everything else is escaped."""
    return Markup(_SYMBOL.sub(_subscript, str(escape(text))))


def _subscript(symbol: re.Match[str]) -> str:
    letter, _, index = symbol.group().partition("_")
    return f"<i>{letter}<sub>{index}</sub></i>"
