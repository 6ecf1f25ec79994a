"""What a curve is held against: the oracle's level, or that of the untouched input, as dashed lines."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from slackoff.analysis.labels import FONT_POINTS, REFERENCE
from slackoff.analysis.lines import Line
from slackoff.analysis.style import QUIET
from slackoff.analysis.summary import DO_NOTHING, INPUTS, ORACLES
from slackoff.analysis.wording import NO_NUMBER, decimals, number


def draw_references(ax: Axes, table: pd.DataFrame, groups: list[Line], measure: str) -> None:
    """Dashed lines for the perfect output or the untouched input, named beyond the right edge.

    One line where all groups share the reference, else one per level in the colour of its group. Levels far
    off would flatten the curves: they are named at the edge on their side, with their values.
    """
    name = "oracle" if measure in ORACLES else "input" if measure in INPUTS else ""
    levels = _levels(table, groups, measure) if name else {}
    if not levels:
        return
    (low, high), (least, most), places = ax.get_ylim(), (min(levels), max(levels)), decimals(measure)
    if least < low - (high - low) or most > high + (high - low):
        far = NO_NUMBER.join(dict.fromkeys([number(least, places), number(most, places)]))
        edge = 1.0 if most > high else 0.0
        _write(ax, f"{name} {far}\n{'above' if edge else 'below'}", edge, QUIET, at_edge=True)
        return
    for value, colour in levels.items():
        ax.axhline(value, color=colour, linestyle=(0, (5, 3)), linewidth=1.1, zorder=1)
        text = f"{name} {number(value, places)}"
        _write(ax, text if len(levels) > 1 else text.replace(" ", "\n"), value, colour)
    margin = 0.06 * (max(high, most) - min(low, least))
    ax.set_ylim(min(low, least - margin), max(high, most + margin))


def _levels(table: pd.DataFrame, groups: list[Line], measure: str) -> dict[float, Any]:
    """Level -> colour: that of its group, or a quiet one where groups of several colours share it."""
    nothing = table[table["output"] == DO_NOTHING]
    found: dict[float, Any] = {}
    for line in groups:
        own = line.rows[f"{measure}_oracle"] if measure in ORACLES else line.where(nothing)[measure]
        for value in own.dropna().round(decimals(measure) + 1).unique():
            colour = found.setdefault(float(value), line.colour)
            found[float(value)] = colour if colour == line.colour else QUIET
    return found if len(found) > 1 else dict.fromkeys(found, QUIET)


def _write(ax: Axes, text: str, level: float, colour: Any, at_edge: bool = False) -> None:
    """Text right of the axes; `labels.move_apart` parts those at a level once the layout is known."""
    ax.annotate(
        text,
        (1, level),
        xycoords="axes fraction" if at_edge else ax.get_yaxis_transform(),
        xytext=(4, 0),
        textcoords="offset points",
        va=("top" if level else "bottom") if at_edge else "center",
        fontsize=FONT_POINTS,
        color=colour,
        annotation_clip=False,
        gid=None if at_edge else REFERENCE,
    )
