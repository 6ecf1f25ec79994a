"""Cells side by side on one test image, with a zoom and error maps, and two cells against each other per image."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle

from slackoff.analysis.compare import Pixels, cell_names, error_map, read_picture, worst_window
from slackoff.analysis.frames import Frames
from slackoff.analysis.labels import fix_layout, label_points
from slackoff.analysis.style import INK, QUIET, colours, house_style
from slackoff.analysis.wording import decimals, number
from slackoff.errors import SlackoffError
from slackoff.metrics.columns import COLUMNS
from slackoff.record.pictures import Named

MOST_GREY_LEVELS = 60.0
"""Where the colours of all error maps end, so that those of two pictures can be compared."""


def side_by_side(
    frames: Frames,
    cells: Sequence[str],
    image: Named,
    measure: str = "psnr_rgb",
    zoom: tuple[int, int, int] | None = None,
) -> Figure:
    """Rainy image, outputs of the cells and truth; below them a zoom, below that the errors against the truth.

    Args:
        frames: of the study.
        cells: ids of one to four cells that kept this image (`compare.kept_images`).
        image: its test set and name.
        measure: the number above each picture.
        zoom: top, left and side in px of what is magnified; None: where the first cell's error is largest, a third of
            the shorter side.

    Raises:
        SlackoffError: no cell, or a picture that is not there.
    """
    if not cells:
        raise SlackoffError("There is nothing to lay side by side: name at least one cell")
    truth = read_picture(frames, cells[0], image, "background")
    names = cell_names(frames)
    shown = [("rainy", read_picture(frames, cells[0], image, "rainy"), _input(frames, cells[0], image, measure))]
    for cell in cells:
        output = read_picture(frames, cell, image, "output")
        shown.append((names.get(cell, cell), output, _value(frames, cell, image, measure)))
    if zoom is None:
        side = max(8, min(truth.shape[:2]) // 3)
        zoom = (*worst_window(error_map(shown[1][1], truth), side), side)
    height, width = truth.shape[:2]
    with house_style():
        side_in = 2.35
        figure = Figure(
            figsize=(side_in * (len(shown) + 1) + 0.7, side_in * (2 * height / width + 1) + 0.8),
            layout=ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0),
        )
        ratios = [height / width, 1, height / width]
        axes = figure.subplots(3, len(shown) + 1, squeeze=False, height_ratios=ratios)
        for column, (name, pixels, told) in enumerate([*shown, ("truth", truth, "")]):
            _picture(axes[0, column], pixels)
            axes[0, column].set_title(f"{name}\n{told}", fontsize=8.5, fontweight="normal", loc="center", color=INK)
            _frame(axes[0, column], zoom)
            _picture(axes[1, column], _cut(pixels, zoom))
            if column <= len(cells):
                drawn = _errors(axes[2, column], error_map(pixels, truth))
            else:
                axes[2, column].set_axis_off()
        for row, text in enumerate(("whole", "zoom", "error")):
            axes[row, 0].set_ylabel(text, color=QUIET)
        bar = figure.colorbar(drawn, cax=axes[2, -1].inset_axes((0.03, 0.05, 0.07, 0.9)), extend="max")
        bar.set_label("error, grey levels")
        figure.suptitle(f"{image[1]} of {image[0]}", fontsize=9.5, x=0.01, ha="left", color=QUIET)
    return figure


def image_scatter(pairs: pd.DataFrame, names: tuple[str, str], measure: str, worst: int = 5) -> Figure:
    """Each test image at the measure of the first cell and of the second; the images that lose most are named.

    Points on the dashed line are alike in both. The corner says on how many images the second cell is better.

    Args:
        pairs: of `compare.image_pairs`.
        names: what the two cells are called.
        measure: what the pairs are of.
        worst: how many images to name.
    """
    better, colour = pairs["gain"] > 0, colours(4)
    losing = pairs[pairs["gain"] < 0][:worst]
    with house_style():
        figure = Figure(figsize=(6.4, 5.4), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1, rect=(0, 0, 0.86, 1)))
        ax = figure.add_subplot()
        both = pairs[["first", "second"]].to_numpy(dtype=float)
        low, high = float(both.min()), float(both.max())
        pad = 0.08 * (high - low) or 0.5
        ends = (low - pad, high + pad)
        ax.plot(ends, ends, color=QUIET, linestyle=(0, (5, 3)), linewidth=1.1, zorder=1, gid="alike")
        for chosen, marker, fill in ((better, "o", colour[0]), (~better, "s", colour[3])):
            rows = pairs[chosen]
            ax.scatter(
                rows["first"], rows["second"], s=24, marker=marker, color=[fill], alpha=0.75, linewidths=0, zorder=3
            )
        column = COLUMNS[measure]
        unit = f" ({column.unit})" if column.unit else ""
        ax.set(xlim=ends, ylim=ends, aspect="equal", xlabel=f"{names[0]}{unit}", ylabel=f"{names[1]}{unit}")
        ax.grid(True, axis="both")
        ax.set_title(f"{column.label} of each test image")
        told = f"better with {names[1]}:\n{int(better.sum())} of {len(pairs)} images"
        where = (0.02, 0.98) if column.better != "lower" else (0.98, 0.02)
        sides: dict[str, Any] = {"ha": "left", "va": "top"} if where[0] < 0.5 else {"ha": "right", "va": "bottom"}
        ax.text(*where, told, transform=ax.transAxes, fontsize=8.5, color=INK, **sides)
        figure.draw_without_rendering()
        several = pairs["test_set"].nunique() > 1
        names_of = losing["test_set"] + ", " + losing["image"] if several else losing["image"]
        entries = [
            (row["first"], row["second"], _short(name), colour[3])
            for name, (_, row) in zip(names_of, losing.iterrows(), strict=True)
        ]
        label_points(ax, entries, [tuple(point) for point in both])
        fix_layout(figure)
    return figure


def _picture(ax: Axes, pixels: Any) -> None:
    ax.imshow(pixels, interpolation="nearest")
    _bare(ax)


def _errors(ax: Axes, error: Any) -> Any:
    drawn = ax.imshow(error, cmap="magma", vmin=0, vmax=MOST_GREY_LEVELS, interpolation="nearest")
    _bare(ax)
    ax.set_xlabel(f"RMS {number(float(np.sqrt(np.mean(error**2))), 1)}", fontsize=8.5)
    return drawn


def _bare(ax: Axes) -> None:
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set_visible(False)


def _frame(ax: Axes, zoom: tuple[int, int, int]) -> None:
    top, left, side = zoom
    ax.add_patch(Rectangle((left - 0.5, top - 0.5), side, side, fill=False, edgecolor="white", linewidth=2.2))
    ax.add_patch(Rectangle((left - 0.5, top - 0.5), side, side, fill=False, edgecolor=INK, linewidth=1))


def _cut(pixels: Pixels, zoom: tuple[int, int, int]) -> Pixels:
    top, left, side = zoom
    return pixels[top : top + side, left : left + side]


def _value(frames: Frames, cell: str, image: Named, measure: str) -> str:
    rows = frames.images[frames.images["cell"] == cell]
    rows = rows[(rows["test_set"].astype(str) == image[0]) & (rows["image"].astype(str) == image[1])]
    if rows.empty or measure not in rows:
        return ""
    column = COLUMNS[measure]
    label = column.label.split(" (")[0]
    return f"{label} {number(float(rows[measure].iloc[0]), decimals(measure))} {column.unit}".rstrip()


def _input(frames: Frames, cell: str, image: Named, measure: str) -> str:
    return (
        _value(frames, cell, image, f"{measure}_input").replace("of input ", "")
        if f"{measure}_input" in COLUMNS
        else ""
    )


def _short(image: str) -> str:
    """The name of a test image, cut where it is long."""
    return image if len(image) <= 15 else f"{image[:14]}\N{HORIZONTAL ELLIPSIS}"
