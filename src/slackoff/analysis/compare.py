"""Any two cells on the same test images: pairs per image, the worst images, pictures with a zoom and error maps."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from slackoff.analysis.axes import INK, QUIET, colours, fix_layout, house_style, label_points, new_figure
from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import SEED, other_axes, plain
from slackoff.analysis.text import at, decimals, number, shortened
from slackoff.errors import SlackoffError
from slackoff.metrics.columns import COLUMNS
from slackoff.record.results import Named, kept_pictures, picture_folder

Pixels = NDArray[np.uint8]


def cell_names(frames: Frames) -> dict[str, str]:
    """Id of each cell that is done -> what tells it apart: 'N = 8, rain = small'; the id follows where two agree."""
    main, axes = frames.study.axis, [frames.study.axis, *other_axes(frames)]
    if SEED in frames.cells and frames.cells[SEED].nunique() > 1:
        axes.append(SEED)
    done = frames.cells[frames.cells["state"] == "done"]
    if done.duplicated(axes).any() and "evaluation" in done:
        axes.append("evaluation")
    named = {}
    for row in done.to_dict("records"):
        there = {axis: plain(row[axis]) for axis in axes if pd.notna(row[axis])}
        words = [value if axis == main and isinstance(value, str) else at(axis, value) for axis, value in there.items()]
        named[str(row["id"])] = ", ".join(words)
    names = list(named.values())
    return {cell: f"{name} [{cell[:6]}]" if names.count(name) > 1 else name for cell, name in named.items()}


def image_pairs(frames: Frames, first: str, second: str, measure: str) -> pd.DataFrame:
    """A measure of two cells on the test images that both have.

    Returns:
        Columns `test_set`, `image`, `first`, `second` (the measure of each cell), `gain`: by how much `second` is
        better, positive whichever direction of the measure is good. Sorted by the gain, worst first.

    Raises:
        SlackoffError: a cell without results, no such measure, or no image in common.
    """
    keys, names = ["test_set", "image"], ("first", "second")
    sides = [
        _results(frames, cell, measure)[[*keys, measure]]
        .rename(columns={measure: name})
        .astype(dict.fromkeys(keys, str))
        for name, cell in zip(names, (first, second), strict=True)
    ]
    pairs = sides[0].merge(sides[1], on=keys).dropna(subset=names)
    if pairs.empty:
        raise SlackoffError(f"The cells '{first}' and '{second}' have no test image with {measure} in common")
    sign = -1.0 if COLUMNS[measure].better == "lower" else 1.0
    pairs["gain"] = sign * (pairs["second"] - pairs["first"])
    return pairs.sort_values(["gain", *keys], ignore_index=True)


def _results(frames: Frames, cell: str, measure: str) -> pd.DataFrame:
    """The results of a cell on all its test images, among which is the measure."""
    rows = frames.images[frames.images["cell"] == cell]
    if rows.empty or measure not in rows:
        what = "results" if rows.empty else f"'{measure}'"
        raise SlackoffError(
            f"The cell '{cell}' has no {what} in '{frames.study.name}': see frames.cells and frames.images"
        )
    return rows


def worst_images(frames: Frames, cell: str, measure: str, count: int = 5) -> pd.DataFrame:
    """The `count` test images on which a cell is worst by a measure, the worst first.

    Returns:
        Columns `test_set`, `image`, the measure, that of the untouched input (m_input) where it is recorded, and
        `kept`: whether pictures of it were kept.

    Raises:
        SlackoffError: a cell without results or no such measure.
    """
    rows = _results(frames, cell, measure)
    columns = [name for name in ("test_set", "image", measure, f"{measure}_input") if name in rows]
    ascending = COLUMNS[measure].better != "lower"
    worst = rows[columns].dropna(subset=[measure]).sort_values([measure, "image"], ascending=[ascending, True])[:count]
    kept = set(kept_images(frames, [cell]))
    named = zip(worst["test_set"].astype(str), worst["image"].astype(str), strict=True)
    return worst.assign(kept=[image in kept for image in named]).reset_index(drop=True)


def kept_images(frames: Frames, cells: Sequence[str]) -> list[Named]:
    """The test images, (test set, image), of which all these cells kept rainy image, output and truth, sorted."""
    if not cells:
        return []

    def of(cell: str) -> set[Named]:
        kept, rows = kept_pictures(_folder(frames, cell)), frames.images[frames.images["cell"] == cell]
        tested = zip(rows["test_set"].astype(str), rows["image"].astype(str), strict=True)
        return {image for image in tested if frames.recorded(image) in kept}

    return sorted(set.intersection(*map(of, cells)))


def read_picture(frames: Frames, cell: str, named: Named, kind: str) -> Pixels:
    """A picture that a cell kept of an image (test set, image): (H, W, 3) uint8; `kind` is one of `KINDS`.

    Raises:
        SlackoffError: it is not there or cannot be read, or the cell was tested on another image of that name.
    """
    if named in frames.renamed and _row(frames, cell, named).empty:
        raise SlackoffError(f"The cell '{cell}' was not tested on {named[1]} of {named[0]}: see kept_images")
    path = picture_folder(_folder(frames, cell), frames.recorded(named)) / f"{kind}.png"
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except OSError as error:
        raise SlackoffError(
            f"{path} cannot be read ({error.strerror or error}): choose an image of kept_images, or train with a "
            "larger evaluation.picture_count"
        ) from error


def error_map(output: Pixels, truth: Pixels) -> NDArray[np.float64]:
    """Root mean square over the channels of output less truth, in grey levels: (H, W)."""
    difference = output.astype(np.float64) - truth.astype(np.float64)
    return np.asarray(np.sqrt(np.mean(difference**2, axis=-1)))


def worst_window(error: NDArray[np.float64], side: int) -> tuple[int, int]:
    """(top, left) of the square of `side` px with the largest mean square of an error map (H, W)."""
    sums = np.pad(np.cumsum(np.cumsum(error**2, axis=0), axis=1), ((1, 0), (1, 0)))
    side = min(side, *error.shape)
    windows = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    top, left = np.unravel_index(int(windows.argmax()), windows.shape)
    return int(top), int(left)


def _folder(frames: Frames, cell: str) -> Path:
    return frames.study.runs / "cells" / cell


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
    untouched = _value(frames, cells[0], image, f"{measure}_input").replace("of input ", "")
    shown = [("rainy", read_picture(frames, cells[0], image, "rainy"), untouched)]
    for cell in cells:
        output = read_picture(frames, cell, image, "output")
        shown.append((names.get(cell, cell), output, _value(frames, cell, image, measure)))
    if zoom is None:
        side = max(8, min(truth.shape[:2]) // 3)
        zoom = (*worst_window(error_map(shown[1][1], truth), side), side)
    height, width = truth.shape[:2]
    with house_style():
        inches = (2.35 * (len(shown) + 1) + 0.7, 2.35 * (2 * height / width + 1) + 0.8)
        figure = new_figure(*inches, 0.03, 0.03, wspace=0, hspace=0)
        ratios = [height / width, 1, height / width]
        axes = figure.subplots(3, len(shown) + 1, squeeze=False, height_ratios=ratios)
        top, left, side = zoom
        for (whole, part, below), (name, pixels, told) in zip(axes.T, [*shown, ("truth", truth, "")], strict=True):
            _picture(whole, pixels)
            whole.set_title(f"{name}\n{told}", fontsize=8.5, fontweight="normal", loc="center", color=INK)
            for colour, width in (("white", 2.2), (INK, 1)):
                look: dict[str, Any] = {"fill": False, "edgecolor": colour, "linewidth": width}
                whole.add_patch(Rectangle((left - 0.5, top - 0.5), side, side, **look))
            _picture(part, pixels[top : top + side, left : left + side])
            if pixels is truth:
                below.set_axis_off()
                continue
            error = error_map(pixels, truth)
            drawn = _picture(below, error, cmap="magma", vmin=0, vmax=MOST_GREY_LEVELS)
            below.set_xlabel(f"RMS {number(float(np.sqrt(np.mean(error**2))), 1)}", fontsize=8.5)
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
        figure = new_figure(6.4, 5.4, 0.1, 0.1, rect=(0, 0, 0.86, 1))
        ax = figure.add_subplot()
        both = pairs[["first", "second"]].to_numpy(dtype=float)
        low, high = float(both.min()), float(both.max())
        pad = 0.08 * (high - low) or 0.5
        ends = (low - pad, high + pad)
        ax.plot(ends, ends, color=QUIET, linestyle=(0, (5, 3)), linewidth=1.1, zorder=1, gid="alike")
        for chosen, marker, fill in ((better, "o", colour[0]), (~better, "s", colour[3])):
            look: dict[str, Any] = {"marker": marker, "color": [fill], "alpha": 0.75, "linewidths": 0, "zorder": 3}
            ax.scatter(pairs.loc[chosen, "first"], pairs.loc[chosen, "second"], s=24, **look)
        column = COLUMNS[measure]
        unit = f" ({column.unit})" if column.unit else ""
        ax.set(xlim=ends, ylim=ends, aspect="equal", xlabel=f"{names[0]}{unit}", ylabel=f"{names[1]}{unit}")
        ax.grid(True, axis="both")
        ax.set_title(f"{column.label} of each test image")
        told = f"better with {names[1]}:\n{int(better.sum())} of {len(pairs)} images"
        x, y, ha, va = (0.02, 0.98, "left", "top") if column.better != "lower" else (0.98, 0.02, "right", "bottom")
        ax.text(x, y, told, transform=ax.transAxes, fontsize=8.5, color=INK, ha=ha, va=va)
        figure.draw_without_rendering()
        several = pairs["test_set"].nunique() > 1
        names_of = losing["test_set"] + ", " + losing["image"] if several else losing["image"]
        entries = [
            (row["first"], row["second"], shortened(name, 15), colour[3])
            for name, (_, row) in zip(names_of, losing.iterrows(), strict=True)
        ]
        label_points(ax, entries, [tuple(point) for point in both])
        fix_layout(figure)
    return figure


def _picture(ax: Axes, pixels: NDArray[Any] | None, **look: Any) -> Any:
    """Draws pixels as they are, without ticks or frame; None: leaves the place empty."""
    drawn = None if pixels is None else ax.imshow(pixels, interpolation="nearest", **look)
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set_visible(False)
    return drawn


def _value(frames: Frames, cell: str, image: Named, measure: str) -> str:
    """'PSNR 27.10 dB' of an image; empty where the record has nothing of it."""
    rows = _row(frames, cell, image)
    if rows.empty or measure not in rows:
        return ""
    column = COLUMNS[measure]
    label = column.label.split(" (")[0]
    return f"{label} {number(float(rows[measure].iloc[0]), decimals(measure))} {column.unit}".rstrip()


def _row(frames: Frames, cell: str, image: Named) -> pd.DataFrame:
    """The results of a cell on an image; without a row where it was not tested on it."""
    rows = frames.images[frames.images["cell"] == cell]
    return rows[(rows["test_set"].astype(str) == image[0]) & (rows["image"].astype(str) == image[1])]


_SIDE = 1.35
"""Inches of the longer side of a picture."""


def contact_sheet(
    rows: Mapping[str, Sequence[Pixels]], captions: Mapping[str, Sequence[str]] | None = None, title: str = ""
) -> Figure:
    """One row of pictures per name, in their own pixels (nearest neighbour, grey levels as they are).

    Args:
        rows: name -> uint8 pictures, (H, W, 3) or, drawn in grey from 0 to 255, (H, W). Rows may differ in length.
        captions: name -> a text below each picture of the row.
        title: above all.

    Raises:
        ValueError: no picture at all, or captions that are not as many as the pictures.
    """
    columns = max((len(pictures) for pictures in rows.values()), default=0)
    if columns == 0:
        raise ValueError("a contact sheet needs at least one picture")
    captions = captions or {}
    room = _SIDE + (0.22 if captions else 0.06)
    with house_style():
        inches = (_SIDE * columns + 1.2, room * len(rows) + (0.4 if title else 0.1))
        figure = new_figure(*inches, 0.02, 0.02, wspace=0, hspace=0)
        axes = figure.subplots(len(rows), columns, squeeze=False)
        for line, (name, pictures) in zip(axes, rows.items(), strict=True):
            texts = captions.get(name, [""] * len(pictures))
            if len(texts) != len(pictures):
                raise ValueError(f"{len(pictures)} pictures of '{name}' have {len(texts)} captions")
            ax: Axes
            for ax, pixels, text in zip_longest(line, pictures, texts, fillvalue=None):  # type: ignore[assignment]
                _picture(ax, pixels, cmap="gray", vmin=0, vmax=255)
                ax.set_xlabel(text or "", fontsize=8, color=QUIET, labelpad=2)
            line[0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=8, color=INK)
        if title:
            figure.suptitle(title, fontsize=10.5, fontweight="bold", x=0.01, ha="left", color=INK)
    return figure


def as_grey_levels(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """An image in [0, 1], (C, H, W) with one or three channels, as uint8 pixels (H, W) or (H, W, 3)."""
    pixels = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)
