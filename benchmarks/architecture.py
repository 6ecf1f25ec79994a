"""Draw the rooms of the package and who imports whom: ``python -m benchmarks.architecture [--png FILE] [TREE]``.

Rooms and arrows come from the imports in the code, the order from the layers in ``.importlinter``: a room imports only
those below it. Layers between which there is no arrow share a row. The list of rooms and arrows is kept in the
description of the SVG, where a test compares it with the code.
"""

import argparse
import json
import math
import re
from configparser import ConfigParser
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from benchmarks.structure import ROOT, arrows, checked_out, rooms, sources

DRAWING = ROOT / "docs" / "images" / "architecture.svg"
INK, MUTED, PALE, HUES = "#1f2933", "#52606d", "#c3cad2", ("#1b6ca8", "#b3541e", "#1b7837", "#7b3fa0", "#a8861b")
WEAK = 2  # imports; so few make an arrow light
WIDTH, HEIGHT, ROW = 1.55, 0.62, 1.45  # of a box, and from row to row, in inches
COLUMNS = 7  # boxes in a row at most


@dataclass(frozen=True)
class Architecture:
    """Rooms in rows from the uppermost layer down, and arrows between them.

    Args:
        rows: names of rooms.
        sizes: room to its number of files and lines.
        arrows: importer and imported room to the number of imports.
    """

    rows: list[list[str]]
    sizes: dict[str, tuple[int, int]]
    arrows: dict[tuple[str, str], int]

    def listed(self) -> dict[str, list[str]]:
        """What the drawing must agree on with the code: each room and what it imports."""
        return {room: sorted(to for of, to in self.arrows if of == room) for room in sorted(self.sizes)}

    def implied(self, room: str, other: str) -> bool:
        """Whether other arrows lead from a room to another as well, through rooms between them."""
        below = {to for of, to in self.arrows if of == room} - {other}
        return any((between, other) in self.arrows or self.implied(between, other) for between in below)


def read(tree: Path) -> Architecture:
    """The architecture of a tree.

    Raises:
        ValueError: a room is in no layer of ``.importlinter``.
    """
    files = sources(tree / "src")
    found = rooms(files)
    sizes = {room: (len(paths), sum(files[path].count("\n") for path in paths)) for room, paths in found.items()}
    contracts = ConfigParser()
    contracts.read(tree / ".importlinter")
    layers = [re.split(r"\s*[|:]\s*", line) for line in contracts["importlinter:contract:layers"]["layers"].split("\n")]
    layers = [[room for room in layer if room in found] for layer in layers]
    if missing := found.keys() - {room for layer in layers for room in layer}:
        raise ValueError(f".importlinter has no layer for {', '.join(sorted(missing))}")
    pairs = arrows(files)
    rows: list[list[str]] = []
    for layer in filter(None, layers):
        known = rows and any((above, room) in pairs for above in rows[-1] for room in layer)
        if not rows or known or len(rows[-1]) + len(layer) > COLUMNS:
            rows.append([])
        rows[-1] += layer
    return Architecture(_untangled(rows, pairs), sizes, pairs)


def _untangled(rows: list[list[str]], pairs: dict[tuple[str, str], int]) -> list[list[str]]:
    """Order the rooms of each row by the mean place of their neighbours, a few times down and up."""
    rows = [list(row) for row in rows]
    for _ in range(12):
        place = {room: x for row in rows for room, x in zip(row, _places(len(row)), strict=True)}
        for row in rows:

            def wanted(room: str, place: dict[str, float] = place) -> float:
                near = {to if of == room else of: count for (of, to), count in pairs.items() if room in (of, to)}
                weights = {other: math.log2(1 + count) for other, count in near.items()}
                return sum(place[other] * weight for other, weight in weights.items()) / (sum(weights.values()) or 1)

            row.sort(key=wanted)
            place |= dict(zip(row, _places(len(row)), strict=True))
    return rows


def _places(count: int) -> list[float]:
    """Middles of so many boxes spread over the width."""
    gap = WIDTH * max(1.2, min(2.6, 7.5 / count))
    return [(number - (count - 1) / 2) * gap for number in range(count)]


def draw(house: Architecture) -> Figure:
    """The drawing."""
    at = {
        room: (x, -row * ROW)
        for row, rooms_of_row in enumerate(house.rows)
        for room, x in zip(rooms_of_row, _places(len(rooms_of_row)), strict=True)
    }
    wide = max(abs(x) for x, _ in at.values()) + WIDTH
    tall = (len(house.rows) - 1) * ROW + 2 * HEIGHT
    figure = plt.figure(figsize=(2 * wide, tall + 0.5))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(-wide, wide)
    axes.set_ylim(-tall + HEIGHT - 0.5, HEIGHT)
    common = {room for room in at if sum(to == room for _, to in house.arrows) > len(at) / 2}
    strong = {pair for pair, count in house.arrows.items() if count > WEAK and pair[1] not in common}
    hues = dict(zip((room for room in at if any(of == room for of, _ in strong)), cycle(HUES), strict=False))
    for pair, count in sorted(house.arrows.items(), key=lambda item: item[1]):
        if pair in strong or (pair[1] not in common and not house.implied(*pair)):
            _arrow(axes, at[pair[0]], at[pair[1]], count, hues[pair[0]] if pair in strong else PALE)
    for room, (x, y) in at.items():
        files, lines = house.sizes[room]
        size = min(1.0, lines / 4000)
        shade = (0.95 - 0.22 * size, 0.97 - 0.12 * size, 1.0)
        corner = (x - WIDTH / 2, y - HEIGHT / 2)
        axes.add_patch(
            FancyBboxPatch(corner, WIDTH, HEIGHT, "round,pad=0,rounding_size=0.08", fc=shade, ec=INK, zorder=3)
        )
        axes.text(x, y + 0.1, room, ha="center", va="center", fontsize=10.5, color=INK, weight="bold", zorder=4)
        told = f"{files} file{'s' if files > 1 else ''}, {lines:,} lines"
        axes.text(x, y - 0.15, told, ha="center", va="center", fontsize=8, color=MUTED, zorder=4)
    used = " and ".join(f"{room} ({sum(to == room for _, to in house.arrows)} rooms)" for room in at if room in common)
    told = f"An arrow leads to what a room imports; the wider, the more often; light: at most {WEAK} times. Left out:\n"
    told += f"light ones where others lead there too, and those to what most rooms use, {used}."
    axes.text(0, -tall + HEIGHT - 0.2, told, ha="center", va="center", fontsize=10, color=MUTED)
    return figure


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], count: int, hue: str) -> None:
    """From the lower edge of a box to the upper edge of another; bent where others stand between."""
    (x, y), (to_x, to_y) = start, end
    x, to_x = (a + 0.3 * WIDTH * math.tanh((b - a) / 4) for a, b in ((x, to_x), (to_x, x)))
    rows = round((y - to_y) / ROW)
    bend = 0.0 if rows <= 1 else 0.1 + 0.02 * rows
    style = f"arc3,rad={bend if to_x >= x else -bend}"
    weak = hue == PALE
    axes.add_patch(
        FancyArrowPatch(
            (x, y - HEIGHT / 2),
            (to_x, to_y + HEIGHT / 2),
            arrowstyle="-|>",
            mutation_scale=7 if weak else 10,
            connectionstyle=style,
            shrinkA=0,
            shrinkB=0,
            lw=0.7 if weak else 0.5 + 0.45 * math.log2(count),
            color=hue,
            alpha=0.9 if weak else 0.75,
            zorder=1 if weak else 2,
        )
    )


def drawn(drawing: Path = DRAWING) -> dict[str, list[str]]:
    """The rooms and what they import that a drawing was made of, from its description."""
    found = re.search(r"<dc:description>(.*?)</dc:description>", drawing.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None, f"{drawing} has no description"
    listed: dict[str, list[str]] = json.loads(found[1].replace("&quot;", '"'))
    return listed


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.architecture", description=__doc__)
    parser.add_argument("tree", nargs="?", default=str(ROOT), help="commit or folder")
    parser.add_argument("--svg", type=Path, default=DRAWING, help="where the drawing goes")
    parser.add_argument("--png", type=Path, help="as pixels too")
    arguments = parser.parse_args()
    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "slackoff", "font.family": "DejaVu Sans"})
    with checked_out(arguments.tree) as tree:
        house = read(tree)
    figure = draw(house)
    description = json.dumps(house.listed(), indent=1)
    figure.savefig(arguments.svg, facecolor="white", metadata={"Date": None, "Description": description})
    if arguments.png:
        figure.savefig(arguments.png, dpi=110, facecolor="white")
    print(f"{len(house.sizes)} rooms and {len(house.arrows)} arrows: {arguments.svg}")


if __name__ == "__main__":
    main()
