"""The house style of all figures: quiet axes, colour-blind safe colours, labels where the lines end.

Figures are made without pyplot, so nothing global is left behind and any thread may draw.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from slackoff.analysis.groups import is_number
from slackoff.analysis.wording import axis_label

INK = "#222222"
QUIET = "#6b6b6b"
LINE_STYLES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D")

_CROWDED = 8
"""From so many ticks on, their labels are set aslant, long ones steeper."""

_LONG = 50
"""From so many characters on all names together do not fit below an axis side by side."""

_LOG_RATIO = 8
"""From this ratio of largest to smallest value on, an axis of positive numbers is drawn in powers of two."""


@contextmanager
def house_style() -> Iterator[None]:
    """Settings under which figures are made and saved; restored on leaving."""
    settings = sns.axes_style("ticks") | {
        "figure.dpi": 100,
        "savefig.dpi": 200,
        "savefig.facecolor": "white",
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 9.5,
        "axes.titlesize": 10.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 9.5,
        "axes.labelcolor": INK,
        "axes.edgecolor": QUIET,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "grid.color": "#e4e4e4",
        "grid.linewidth": 0.7,
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "xtick.color": QUIET,
        "ytick.color": QUIET,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "lines.linewidth": 1.8,
        "lines.markersize": 5,
        "svg.hashsalt": "slackoff",
    }
    with mpl.rc_context(settings):
        yield


def colours(count: int) -> list[Any]:
    """Colours for unordered things, told apart with every common colour blindness and by their lightness."""
    return list(sns.color_palette("colorblind", count))


def ordered_colours(count: int) -> list[Any]:
    """Colours for ordered things, dark to light, none too light for white paper."""
    shades = sns.color_palette("viridis", 256)
    if count == 1:
        return [shades[90]]
    return [shades[round(195 * position / (count - 1))] for position in range(count)]


def positions(values: Sequence[Any]) -> dict[Any, float]:
    """Where each value of the main axis lies: numbers at themselves, names at 0, 1, 2 ..."""
    if all(is_number(value) for value in values):
        return {value: float(value) for value in values}
    return {value: float(number) for number, value in enumerate(values)}


def draw_main_axis(
    ax: Axes, axis: str, values: Sequence[Any], gaps: Mapping[Any, str] | None = None, room: float = 0.0
) -> None:
    """Ticks at the values there are, on a scale of powers of two where numbers range widely.

    `gaps`: values without results and why, marked below the axis. `room`: share of the width to keep free on
    the right.
    """
    at, gaps = positions(values), gaps or {}
    low, high = min(at.values()), max(at.values())
    if all(is_number(value) for value in values) and low > 0 and high / low >= _LOG_RATIO:
        ax.set_xscale("log", base=2)
        pad = (high / low) ** 0.06
        ax.set_xlim(low / pad, high * pad * (high / low) ** room)
    else:
        pad = 0.08 * (high - low) or 0.5
        ax.set_xlim(low - pad, high + pad + room * (high - low))
    long = sum(len(str(value)) for value in values) > _LONG
    mark = f"{' ' if long else chr(10)}\N{MULTIPLICATION SIGN}"
    texts = [f"{value}{mark}" if value in gaps else str(value) for value in values]
    ax.set_xticks(list(at.values()), texts)
    ax.set_xticks([], minor=True)
    if long:
        slope = 30 if len(values) < _CROWDED else 60
        ax.set_xticks(ax.get_xticks(), texts, rotation=slope, ha="right", rotation_mode="anchor")
    else:
        ax.tick_params(axis="x", labelrotation=45 if len(values) >= _CROWDED and not gaps else 0)
    named = ", ".join(f"{value} {state}" for value, state in gaps.items()) if len(gaps) <= 4 else len(gaps)
    ax.set_xlabel(f"{axis_label(axis)}\n\N{MULTIPLICATION SIGN} no result: {named}" if gaps else axis_label(axis))


def save(figure: Figure, folder: Path, name: str) -> tuple[Path, Path]:
    """Writes `name`.png and `name`.svg, the same bytes for the same figure."""
    folder.mkdir(parents=True, exist_ok=True)
    png, svg = folder / f"{name}.png", folder / f"{name}.svg"
    with house_style():
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # what is laid out once need not be laid out for each format
        figure.savefig(png)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg.write_text(text.getvalue(), encoding="utf-8")
    return png, svg
