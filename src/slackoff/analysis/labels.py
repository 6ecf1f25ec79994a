"""Names written beside lines and points, placed so that they do not overlap."""

from collections.abc import Sequence
from itertools import product
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

Entry = tuple[float, float, str, Any]
"""x and y in the units of the axes, text, colour."""

FONT_POINTS = 8.5
REFERENCE = "reference"
"""gid of texts that `move_apart` may move up or down."""

_GAP = 1.25 * FONT_POINTS
_FAR = 20
"""From this distance on, in points, a line leads from a text to its point."""
_ASIDE = [(1, -1), (-1, 1), (1, 1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1)]


def fix_layout(figure: Figure) -> None:
    """Keeps the layout as it is and counts all texts in where a picture is cropped to what is drawn (as notebooks do).

    Call it last: texts beside points would move the axes if they counted while these are laid out.
    """
    figure.set_layout_engine("none")
    for ax in figure.axes:
        for text in ax.texts:
            text.set_in_layout(True)


def label_ends(ax: Axes, entries: Sequence[Entry]) -> None:
    """Writes each text to the right of its point, moved up or down where texts would overlap.

    Call it when limits and layout are final, after `figure.draw_without_rendering()`.
    """
    height = ax.get_window_extent().height / _pixels_per_point(ax)
    shares = [ax.transAxes.inverted().transform(ax.transData.transform((x, y)))[1] for x, y, *_ in entries]
    for (x, _, text, colour), y in zip(entries, apart([height * y for y in shares], _GAP, height), strict=True):
        place = ax.transData.inverted().transform(ax.transAxes.transform((0, y / height)))[1]
        _write(ax, (x, place), (6, 0), text, colour, va="center")


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
        for distance, (right, up) in product(distances, _ASIDE):
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
                _write(ax, (x, y), (right * distance, up * distance), text, colour, **alignment)
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


def _write(
    ax: Axes, point: tuple[float, float], offset: tuple[float, float], text: str, colour: Any, **options: Any
) -> None:
    ax.annotate(
        text,
        point,
        xytext=offset,
        textcoords="offset points",
        color=colour,
        fontsize=FONT_POINTS,
        annotation_clip=False,
        in_layout=False,
        **options,
    )
