"""The before/after pictures of a report, as data URIs."""

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import ceil, nan
from pathlib import Path

import pandas as pd
from PIL import Image

from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import TEST_SET, Group, describe, in_order
from slackoff.analysis.wording import at, number
from slackoff.metrics.columns import HEADLINE_FIDELITY, headline_channel
from slackoff.record.pictures import Named, kept_pictures, picture_folder

MOST_OUTPUTS = 96
"""Outputs shown in one report; with more cells fewer test images are shown, so that the page stays light."""

_MOST_IMAGES = 4
_MOST_COLUMNS = 5
_LOSSLESS_BYTES = 60_000
_LONGEST_SIDE = 640


@dataclass(frozen=True)
class Output:
    """What one network made of a test image: its name, the picture and its numbers on that image."""

    name: str
    picture: str
    numbers: str


@dataclass(frozen=True)
class Strip:
    """One test image: rainy, true background, and the outputs along the main axis of a group.

    `group` says what tells the group from the others of its test set.
    """

    image: str
    test_set: str
    group: str
    rainy: str
    background: str
    width: int
    height: int
    numbers: str
    outputs: list[Output] = field(default_factory=list)

    @property
    def columns(self) -> int:
        """Pictures in a row, so that outputs and truth fill their rows evenly."""
        tiles = len(self.outputs) + 1
        return ceil(tiles / ceil(tiles / _MOST_COLUMNS))


def strips(frames: Frames, groups: Iterable[Group]) -> list[Strip]:
    """The pictures of a study: for each group and test image the outputs side by side, one cell per axis value."""
    chosen = [(group, _one_cell_each(frames, group)) for group in groups]
    outputs = sum(len(cells) for _, cells in chosen)
    count = max(1, min(_MOST_IMAGES, MOST_OUTPUTS // max(1, outputs)))
    found = []
    for group, cells in chosen:
        for image, named in list(_common_images(frames, group, list(cells.values())).items())[:count]:
            found.append(_strip(group, cells, image, named))
    return found


def data_uri(path: Path) -> str:
    """A PNG or SVG file as it is."""
    kind = "svg+xml" if path.suffix == ".svg" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def photo_uri(path: Path) -> str:
    """A picture for the page: as it is where it is small, else at most 640 pixels wide or high and in WebP."""
    if path.stat().st_size <= _LOSSLESS_BYTES:
        return data_uri(path)
    buffer = io.BytesIO()
    with Image.open(path) as picture:
        small = picture.convert("RGB")
        small.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.LANCZOS)
        small.save(buffer, "WEBP", quality=90)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _one_cell_each(frames: Frames, group: Group) -> dict[str, Path]:
    """'N = 8' -> folder of the first cell with that value and results in the group; other seeds are not shown.

    A variant can have a cell of its own for each test set.
    """
    done = group.cells[(group.cells["state"] == "done") & group.cells["id"].isin(group.images["cell"])]
    folders = {}
    for value in in_order(done[group.axis]):
        identity = done.loc[done[group.axis] == value, "id"].iloc[0]
        folders[at(group.axis, value)] = frames.study.runs / "cells" / identity
    return folders


def _common_images(frames: Frames, group: Group, cells: list[Path]) -> dict[str, Named]:
    """The group's test images of which every cell has kept all three pictures, with their names in the record."""
    if not cells:
        return {}
    kept = set.intersection(*(set(kept_pictures(cell)) for cell in cells))
    names = {image: frames.study.recorded(group.test_set, image) for image in group.image_names}
    return {image: named for image, named in names.items() if named in kept}


def _strip(group: Group, cells: dict[str, Path], image: str, named: Named) -> Strip:
    folder = picture_folder(next(iter(cells.values())), named)
    with Image.open(folder / "rainy.png") as rainy:
        width, height = rainy.size
    rows = group.images[group.images["image"].astype(str) == image].set_index("cell")
    first = rows.iloc[0]
    outputs = [
        Output(name, photo_uri(picture_folder(cell, named) / "output.png"), _numbers(rows.loc[cell.name]))
        for name, cell in cells.items()
    ]
    untouched = number(first.get(f"{_psnr(first)}_input", nan), 1)
    oracle = number(first.get("e_r_oracle", nan), 1)
    references = f"E_R oracle {oracle}, PSNR of input {untouched} dB"
    pictures = photo_uri(folder / "rainy.png"), photo_uri(folder / "background.png")
    rest = describe({key: value for key, value in group.labels.items() if key != TEST_SET})
    return Strip(image, group.test_set, rest, *pictures, width, height, references, outputs)


def _numbers(row: pd.Series) -> str:
    return (
        f"E_R {number(row.get('e_r', nan), 1)}, removal share {number(row['removal_share'], 2)}, "
        f"PSNR {number(row.get(_psnr(row), nan), 1)} dB"
    )


def _psnr(row: pd.Series) -> str:
    """The one of the headline channel, as in the tables."""
    return HEADLINE_FIDELITY[headline_channel(row.dropna().index)][0]
