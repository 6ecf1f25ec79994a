"""Any two cells on the same test images: pairs per image, the worst images, the pictures that were kept."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import other_axes
from slackoff.analysis.wording import at
from slackoff.errors import SlackoffError
from slackoff.metrics.columns import COLUMNS
from slackoff.record.pictures import Named, kept_pictures, picture_folder

Pixels = NDArray[np.uint8]


def cell_names(frames: Frames) -> dict[str, str]:
    """Id of each cell that is done -> what tells it apart: 'N = 8, rain = small'; the id follows where two agree."""
    axes = [frames.study.axis, *other_axes(frames)]
    if "seed" in frames.cells and frames.cells["seed"].nunique() > 1:
        axes.append("seed")
    done = frames.cells[frames.cells["state"] == "done"]
    if done.duplicated(axes).any() and "evaluation" in done:
        axes.append("evaluation")
    named = {
        str(row["id"]): ", ".join(
            str(row[axis]) if isinstance(row[axis], str) and axis == frames.study.axis else at(axis, _shown(row[axis]))
            for axis in axes
            if pd.notna(row[axis])
        )
        for row in done.to_dict("records")
    }
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
    if measure not in frames.images:
        raise SlackoffError(f"The study '{frames.study.name}' has no '{measure}': choose a column of frames.images")
    keys = ["test_set", "image"]
    sides = []
    for name, cell in (("first", first), ("second", second)):
        rows = frames.images[frames.images["cell"] == cell]
        if rows.empty:
            raise SlackoffError(
                f"The cell '{cell}' has no results in '{frames.study.name}': see frames.cells for those done"
            )
        side = rows[[*keys, measure]].rename(columns={measure: name})
        sides.append(side.astype({"test_set": str, "image": str}))
    pairs = sides[0].merge(sides[1], on=keys).dropna(subset=["first", "second"])
    if pairs.empty:
        raise SlackoffError(f"The cells '{first}' and '{second}' have no test image with {measure} in common")
    sign = -1.0 if COLUMNS[measure].better == "lower" else 1.0
    pairs["gain"] = sign * (pairs["second"] - pairs["first"])
    return pairs.sort_values(["gain", *keys], ignore_index=True)


def worst_images(frames: Frames, cell: str, measure: str, count: int = 5) -> pd.DataFrame:
    """The `count` test images on which a cell is worst by a measure, the worst first.

    Returns:
        Columns `test_set`, `image`, the measure, that of the untouched input (m_input) where it is recorded, and
        `kept`: whether pictures of it were kept.

    Raises:
        SlackoffError: a cell without results or no such measure.
    """
    rows = frames.images[frames.images["cell"] == cell]
    if rows.empty or measure not in rows:
        what = "results" if rows.empty else f"'{measure}'"
        raise SlackoffError(
            f"The cell '{cell}' has no {what} in '{frames.study.name}': see frames.cells and frames.images"
        )
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
    kept = set.intersection(*(set(kept_pictures(_folder(frames, cell))) for cell in cells))
    rows = frames.images[frames.images["cell"].isin(cells)][["test_set", "image"]].astype(str).drop_duplicates()
    there = rows.itertuples(index=False, name=None)
    return sorted((test_set, image) for test_set, image in there if frames.study.recorded(test_set, image) in kept)


def read_picture(frames: Frames, cell: str, named: Named, kind: str) -> Pixels:
    """A picture that a cell kept of an image (test set, image): (H, W, 3) uint8; `kind` is one of `KINDS`.

    Raises:
        SlackoffError: it is not there or cannot be read.
    """
    path = picture_folder(_folder(frames, cell), frames.study.recorded(*named)) / f"{kind}.png"
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


def _shown(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value
