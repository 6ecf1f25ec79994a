"""From the record to the answer: frames, statistics, claims, tables, figures and the HTML report.

Everything here is drawn from the local record alone and knows nothing of training. Importing this room is cheap; what
draws and what counts is imported when it is asked for.

    frames = load("patchcount")               # of runs/studies
    table = study_table(frames)               # a row for each value of the study's axis
    curves(table, frames.study.axis).savefig("curves.png")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from slackoff.analysis.frames import Frames, load
from slackoff.analysis.study import Study

if TYPE_CHECKING:
    from slackoff.analysis.figures import curves
    from slackoff.analysis.tables import study_table

__all__ = ["Frames", "Study", "curves", "load", "study_table"]

_LATER = {"curves": "figures", "study_table": "tables"}


def __getattr__(name: str) -> Any:
    """Load what draws or counts."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"slackoff.analysis.{_LATER[name]}"), name)
