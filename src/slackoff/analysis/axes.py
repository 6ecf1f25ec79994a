"""The parts of all figures: style, a measure drawn into one pair of axes, reference levels, labels that do not overlap.

Quiet axes, colour-blind safe colours, labels where the lines end. Figures are made without pyplot, so nothing global
is left behind and any thread may draw.
"""

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Annotation, Text
from matplotlib.ticker import FuncFormatter
from matplotlib.transforms import Bbox

from slackoff.analysis.groups import describe, in_order, is_number, ranked
from slackoff.analysis.tables import DO_NOTHING, INPUTS, ORACLES, label_columns
from slackoff.analysis.text import NO_NUMBER, axis_label, decimals, first_of, number, shortened
from slackoff.metrics.columns import COLUMNS, OWN

INK = "#222222"
QUIET = "#6b6b6b"
_FONT = "DejaVu Sans"
"""Comes with matplotlib."""

LINE_STYLES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")
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
        "font.sans-serif": [_FONT],
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
        "text.parse_math": False,
        "svg.hashsalt": "slackoff",
    }
    with mpl.rc_context(settings):
        yield


def new_figure(width: float, height: float, w_pad: float = 0.12, h_pad: float = 0.1, **layout: Any) -> Figure:
    """An empty figure of so many inches, its parts laid out so that nothing overlaps, with these pads in inches."""
    return _Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=w_pad, h_pad=h_pad, **layout))


_OWN_SYMBOL = re.compile(r"(\$[EC]_[RBk]\$)")


@cache
def _font_with(letter: str) -> str | None:
    """The family of a font of this machine that has a letter; None where there is none."""
    faces = sorted(
        font_manager.fontManager.ttflist,
        key=lambda face: (face.name != _FONT, face.style != "normal", face.weight != 400, face.name),
    )
    for face in faces:
        with suppress(OSError, RuntimeError):  # it was removed, or matplotlib cannot draw it
            font = font_manager.get_font(face.fname)
            # "Last Resort" has a box for every letter.
            if font.scalable and font.get_char_index(ord(letter)) and not face.name.startswith("Last Resort"):
                return face.name
    return None


def letters_without_font(texts: str) -> str:
    """A sentence on the letters of some texts that figures cannot show; empty where there are none."""
    lacking = [letter for letter in dict.fromkeys(texts) if letter != "\n" and _font_with(letter) is None]
    if not lacking:
        return ""
    return (
        f"No font that matplotlib knows on this machine has {first_of(lacking, 12)}: figures show their numbers "
        f"instead, such as {_escaped(lacking[0])}. Install a font that has them, Noto Sans CJK say, and remove "
        "matplotlib's cache of fonts."
    )


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def _drawable(text: str) -> str:
    """A text with numbers for the letters that no font has: an empty box would make names of such letters alike."""
    known = text.isascii() and text.isprintable()
    return text if known else "".join(_escaped(x) if x != "\n" and _font_with(x) is None else x for x in text)


def _drawable_tick(written: Callable[..., str], *place: Any) -> str:
    return _drawable(written(*place))


def _set_fonts(text: Text) -> None:
    """Lets a text use other fonts for letters that the usual one lacks."""
    if text.get_text().isascii():
        return
    fonts = dict.fromkeys(map(_font_with, text.get_text()))
    if others := [font for font in fonts if font not in (None, _FONT)]:
        text.set(fontfamily=[_FONT, *others], fontweight="normal")  # their bold faces may lack the letters


class _Figure(Figure):
    """A figure in whose texts only our own symbols are formulas: a dollar in a name is a dollar."""

    def draw(self, renderer: RendererBase) -> None:
        for axis in (axis for ax in self.axes for axis in (ax.xaxis, ax.yaxis)):
            formatter = axis.get_major_formatter()  # writes the names at the ticks anew each time
            if isinstance(formatter, FuncFormatter) and getattr(formatter.func, "func", None) is not _drawable_tick:
                formatter.func = partial(_drawable_tick, formatter.func)
        for text in self.findobj(Text):
            _set_fonts(text)
            text.set_text(_drawable(text.get_text()))
            if _OWN_SYMBOL.search(text.get_text()):
                parts = _OWN_SYMBOL.split(text.get_text())
                parts[::2] = [re.sub(r"(?<!\\)\$", r"\\$", part) for part in parts[::2]]
                text.set(text="".join(parts), parse_math=True)
        super().draw(renderer)


def legend_name(name: str) -> str:
    """A name that a legend shows: matplotlib leaves out those that begin with an underscore."""
    return f" {name}" if name.startswith("_") else name


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
    if all(map(is_number, values)):
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
    if all(map(is_number, values)) and low > 0 and high / low >= _LOG_RATIO:
        ax.set_xscale("log", base=2)
        pad = (high / low) ** 0.06
        ax.set_xlim(low / pad, high * pad * (high / low) ** room)
    else:
        # Groups stand side by side at a name, up to half of the way to the next.
        pad = (0.08 * (high - low) if all(map(is_number, values)) else 0.5) or 0.5
        ax.set_xlim(low - pad, high + pad + room * (high - low + 2 * pad))
    names = [shortened(str(value)) for value in values]
    names = names if len(set(names)) == len(names) else [str(value) for value in values]
    long = sum(map(len, names)) > _LONG
    mark = f"{' ' if long else chr(10)}\N{MULTIPLICATION SIGN}"
    texts = [f"{name}{mark}" if value in gaps else name for name, value in zip(names, values, strict=True)]
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


Entry = tuple[float, float, str, Any]
"""x and y in the units of the axes, text, colour."""

FONT_POINTS = 8.5
REFERENCE = "reference"
"""gid of texts that `move_apart` may move up or down."""

_GAP = 1.25 * FONT_POINTS
_FAR = 20
"""From this distance on, in points, a line leads from a text to its point."""
_LABEL_PLACES = [(1, -1), (-1, 1), (1, 1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1)]


def fix_layout(figure: Figure) -> None:
    """Keeps the layout as it is and counts all texts in where a picture is cropped to what is drawn (as notebooks do).

    Call it last: texts beside points would move the axes if they counted while these are laid out.
    """
    figure.set_layout_engine("none")
    for ax in figure.axes:
        for text in ax.texts:
            text.set_in_layout(True)


def write_right(ax: Axes, text: str, place: float, colour: Any, **options: Any) -> None:
    """Writes a text right of the axes at the height of `place`, in the units of the axes."""
    look: dict[str, Any] = {"xycoords": ax.get_yaxis_transform(), "xytext": (4, 0), "textcoords": "offset points"}
    look |= {"va": "center", "fontsize": FONT_POINTS, "color": colour, "annotation_clip": False}
    ax.annotate(text, (1, place), **look | options)


def draw_level(ax: Axes, level: float, colour: Any = QUIET) -> None:
    """Draws a dashed line at a height, for what has no place on the main axis: a rule, a reference."""
    ax.axhline(level, color=colour, linestyle=(0, (5, 3)), linewidth=1.1, zorder=1)


def label_ends(ax: Axes, entries: Sequence[Entry]) -> None:
    """Writes each text to the right of its point, moved up or down where texts would overlap.

    Call it when limits and layout are final, after `figure.draw_without_rendering()`.
    """
    height = ax.get_window_extent().height / _pixels_per_point(ax)
    shares = [ax.transAxes.inverted().transform(ax.transData.transform((x, y)))[1] for x, y, *_ in entries]
    for (x, _, text, colour), y in zip(entries, apart([height * y for y in shares], _GAP, height), strict=True):
        place = ax.transData.inverted().transform(ax.transAxes.transform((0, y / height)))[1]
        _write_label(ax, (x, place), (6, 0), text, colour, va="center")


def move_apart(ax: Axes) -> None:
    """Moves the names of reference lines up or down where they would overlap. Call it as `label_ends`."""
    names = [text for text in ax.texts if text.get_gid() == REFERENCE and isinstance(text, Annotation)]
    height = ax.get_window_extent().height / _pixels_per_point(ax)
    wanted = [height * ax.transAxes.inverted().transform(ax.transData.transform((1, text.xy[1])))[1] for text in names]
    for text, old, new in zip(names, wanted, apart(wanted, _GAP, height), strict=True):
        text.xyann = (text.xyann[0], new - old)


def label_points(
    ax: Axes,
    entries: Sequence[Entry],
    others: Sequence[tuple[float, float]] = (),
    distances: Sequence[float] = (7, 16),
    inside: bool = False,
) -> None:
    """Writes each text beside its point, on the side that is free; leaves out a text that fits on none.

    `others` are points without a text that none may cover; `distances` those to try, in points, the first one first.
    `inside`: no text may leave the axes.

    Call it when limits and layout are final, after `figure.draw_without_rendering()`.
    """
    points, room = _pixels_per_point(ax), ax.get_window_extent()
    at = [ax.transData.transform((x, y)) for x, y, *_ in entries]
    covered = [*at, *(ax.transData.transform(point) for point in others)]
    taken = [Bbox.from_bounds(x - 5 * points, y - 5 * points, 10 * points, 10 * points) for x, y in covered]
    for (x, y, text, colour), place in zip(entries, at, strict=True):
        width, height = 0.62 * FONT_POINTS * len(text) * points, _GAP * points
        for distance, (right, up) in product(distances, _LABEL_PLACES):
            left = place[0] + right * distance * points - width * (1 - right) / 2
            bottom = place[1] + up * distance * points - height * (1 - up) / 2
            box = Bbox.from_bounds(left, bottom, width, height)
            within = not inside or (room.x0 <= box.x0 and box.x1 <= room.x1 and room.y0 <= box.y0 and box.y1 <= room.y1)
            if within and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                sides = {-1: ("right", "top"), 0: ("center", "center"), 1: ("left", "bottom")}
                alignment: dict[str, Any] = {"ha": sides[right][0], "va": sides[up][1]}
                if distance > _FAR:
                    alignment["arrowprops"] = {"arrowstyle": "-", "color": colour, "linewidth": 0.5, "alpha": 0.6}
                _write_label(ax, (x, y), (right * distance, up * distance), text, colour, **alignment)
                break


def _pixels_per_point(ax: Axes) -> float:
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure.dpi / 72


def apart(wanted: Sequence[float], gap: float, height: float) -> list[float]:
    """Positions as near to those wanted as a gap between neighbours allows, inside 0 .. height where they
    fit.

    Neighbours that are too close are joined into a block, which is centred on the mean of what its members
    want.
    """
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    blocks: list[tuple[float, int]] = []
    for index in order:
        centre, count = wanted[index], 1
        while blocks and centre - blocks[-1][0] < gap * (count + blocks[-1][1]) / 2:
            before, number = blocks.pop()
            centre = (centre * count + before * number) / (count + number)
            count += number
        blocks.append((centre, count))
    spread = []
    for centre, count in blocks:
        half = gap * count / 2
        middle = min(max(centre, half), max(height - half, half))
        spread += [middle - half + gap * (place + 0.5) for place in range(count)]
    result = [0.0] * len(wanted)
    for index, place in zip(order, spread, strict=True):
        result[index] = place
    return result


def _write_label(
    ax: Axes, point: tuple[float, float], offset: tuple[float, float], text: str, colour: Any, **options: Any
) -> None:
    options |= {"color": colour, "fontsize": FONT_POINTS, "annotation_clip": False, "in_layout": False}
    ax.annotate(text, point, xytext=offset, textcoords="offset points", **options)


@dataclass(frozen=True, eq=False)
class Line:
    """One group of a study table and how it is drawn; `labels` and `name` are empty where there is one group only.

    No two lines of a table have one name.
    """

    rows: pd.DataFrame
    labels: dict[str, Any]
    name: str
    colour: Any
    style: str
    marker: str

    def where(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of another frame that are about this group, or about all groups in a label (NA there)."""
        for label, value in self.labels.items():
            frame = frame[(frame[label] == value) | frame[label].isna()]
        return frame


def lines(table: pd.DataFrame, axis: str, whole: pd.DataFrame | None = None) -> list[Line]:
    """The groups of a table; the first label sets the colour, the others together dash and marker.

    Sizes and numbers are put in their order and have colours that follow it, dark to light. `whole`: a table with
    the same labels that this one is a part of, whose groups have the same looks in all its parts.
    """
    rows = table[table["output"] != DO_NOTHING]
    labels = label_columns(table, axis)
    if not labels:
        return [Line(rows, {}, "", colours(1)[0], "-", "o")]
    every = rows if whole is None else whole[whole["output"] != DO_NOTHING]
    named = [_comparable(values) for values in every[labels].itertuples(index=False, name=None)]
    firsts, others = ([*dict.fromkeys(part)] for part in ([key[0] for key in named], [key[1:] for key in named]))
    ranks = None if None in firsts else ranked(firsts)
    firsts = ranks or firsts
    palette = ordered_colours(len(firsts)) if ranks else colours(len(firsts))
    names = line_names(every[labels].drop_duplicates())
    found: list[tuple[int, Line]] = []
    for key, group in rows.groupby(labels, sort=False, dropna=False):
        first, other = firsts.index(_comparable(key)[0]), others.index(_comparable(key)[1:])
        style, marker = LINE_STYLES[other % len(LINE_STYLES)], MARKERS[other % len(MARKERS)]
        values = dict(zip(labels, key, strict=True))
        line = Line(group, values, names[_comparable(key)], palette[first], style, marker)
        found.append((first, line))
    return [line for _, line in sorted(found, key=lambda pair: pair[0])]


def line_names(rows: pd.DataFrame) -> dict[tuple[Any, ...], str]:
    """'unet, small' by the labels of each row, with their names where else two would read the same."""
    keys = [_comparable(values) for values in rows.itertuples(index=False, name=None)]
    names = [", ".join(NO_NUMBER if value is None else str(value) for value in key) for key in keys]
    longer = [describe(dict(zip(rows.columns, key, strict=True))) for key in keys]
    told = [long if names.count(name) > 1 else name for name, long in zip(names, longer, strict=True)]
    return dict(zip(keys, told, strict=True))


def _comparable(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The labels of a group with None for those it lacks, since NaN is not equal to itself."""
    return tuple(None if pd.isna(value) else value for value in values)


def draw_references(ax: Axes, table: pd.DataFrame, groups: list[Line], measure: str) -> None:
    """Dashed lines for the perfect output or the untouched input, named beyond the right edge.

    One line where all groups share the reference, else one per level in the colour of its group. Levels far
    off would flatten the curves: they are named at the edge on their side, with their values.
    """
    name = "oracle" if measure in ORACLES else "input" if measure in INPUTS or measure in OWN else ""
    levels = _levels(table, groups, measure) if name else {}
    if not levels:
        return
    (low, high), (least, most), places = ax.get_ylim(), (min(levels), max(levels)), decimals(measure)
    if least < low - (high - low) or most > high + (high - low):
        far = NO_NUMBER.join(dict.fromkeys([number(least, places), number(most, places)]))
        edge, side, alignment = (1.0, "above", "top") if most > high else (0.0, "below", "bottom")
        write_right(ax, f"{name} {far}\n{side}", edge, QUIET, xycoords="axes fraction", va=alignment)
        return
    for value, colour in levels.items():
        draw_level(ax, value, colour)
        text = f"{name} {number(value, places)}"
        write_right(ax, text if len(levels) > 1 else text.replace(" ", "\n"), value, colour, gid=REFERENCE)
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


TITLES = {
    "e_r": "$E_R$: change in the rain",
    "removal_share": "Removal share",
    "e_b": "$E_B$: error outside the rain",
    "psnr_rgb": "PSNR (RGB)",
    "ssim_rgb": "SSIM (RGB)",
    "psnr_y": "PSNR (Y)",
    "ssim_y": "SSIM (Y)",
}

_MOST_BANDS = 6
"""Up to this many lines have a band each; more would be one grey area."""

_OFFSET, _WIDTH = 0.22, 0.72
"""Distance of groups at one name, and what they take at most together, in names."""


def axis_values(table: pd.DataFrame, axis: str) -> list[Any]:
    """The values of the main axis in a study table, in their order."""
    return in_order(table.loc[table["output"] != DO_NOTHING, axis])


def draw_measure(
    ax: Axes,
    table: pd.DataFrame,
    axis: str,
    measure: str,
    *,
    points: pd.DataFrame | None = None,
    room: float = 0.0,
    whole: pd.DataFrame | None = None,
) -> None:
    """Draws a measure with its 95 % intervals and its references against the main axis.

    Intervals are bands along numbers (bars too where there is one line, bars alone where there are very many)
    and bars at names, where groups stand side by side. `points`, a `cell_means`: open circles, one per cell, at those
    values that several training seeds share. `room`: share of the width to keep free on the right, for names of the
    groups. `whole`: as for `lines`.
    """
    values = axis_values(table, axis)
    ordered = all(map(is_number, values))
    groups = lines(table, axis, whole)
    banded = ordered and len(groups) <= _MOST_BANDS
    for line in groups:
        rows = line.rows.dropna(subset=[measure])
        x = _places(rows, axis, values, groups, line)
        if banded:
            low, high = rows[f"{measure}_low"], rows[f"{measure}_high"]
            ax.fill_between(x, low, high, color=line.colour, alpha=0.15, linewidth=0)
        ax.errorbar(
            x,
            rows[measure],
            yerr=None if banded and len(groups) > 1 else bars(rows, measure),
            color=line.colour,
            linestyle=line.style if ordered else "",
            marker=line.marker,
            elinewidth=1.1,
            capsize=2.5,
            label=legend_name(line.name),
            zorder=3,
        )
    gaps = {}
    for value, rows in table[table["output"] != DO_NOTHING].groupby(axis, sort=False):
        if not rows["done"].any():
            gaps[value] = ", ".join(dict.fromkeys(rows["state"]))
    draw_main_axis(ax, axis, values, gaps, room)
    column = COLUMNS[measure]
    ax.set_title(TITLES.get(measure, column.label))
    ax.set_ylabel(column.unit)
    direction = f"{column.better} is better" if column.better else ""
    direction = "higher: removal or damage" if measure == "e_r" else direction
    ax.set_title(direction, loc="right", fontsize=8.5, color=QUIET, fontweight="normal")
    draw_references(ax, table, groups, measure)
    for line in groups if points is not None and len(points) else []:
        own = line.where(points)
        repeated = own[own.duplicated(axis, keep=False)].dropna(subset=[measure])
        if len(repeated):
            x = _places(repeated, axis, values, groups, line)
            look: dict[str, Any] = {"facecolors": "none", "edgecolors": [line.colour], "linewidths": 0.9, "zorder": 4}
            ax.scatter(x, repeated[measure], s=16, **look)


def _places(rows: pd.DataFrame, axis: str, values: list[Any], groups: list[Line], line: Line) -> pd.Series:
    """Where rows stand along the axis: at names the groups stand side by side."""
    aside = 0.0
    if not all(map(is_number, values)):
        aside = min(_OFFSET, _WIDTH / len(groups)) * (groups.index(line) - (len(groups) - 1) / 2)
    return rows[axis].map(positions(values)).astype(float) + aside


def bars(rows: pd.DataFrame, measure: str) -> Any:
    """(2, n) lengths of the error bars below and above the mean; 0 where there is no interval."""
    below = (rows[measure] - rows[f"{measure}_low"]).clip(lower=0)
    above = (rows[f"{measure}_high"] - rows[measure]).clip(lower=0)
    return pd.DataFrame([below, above]).fillna(0.0).to_numpy()
