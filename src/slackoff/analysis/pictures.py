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
from slackoff.analysis.groups import Group, in_order
from slackoff.analysis.wording import at, number
from slackoff.metrics.columns import HEADLINE_FIDELITY, headline_channel

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
    """One test image: rainy, true background, and the outputs along the main axis of a group."""

    image: str
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
        for image in _common_images(list(cells.values()), group)[:count]:
            found.append(_strip(group, cells, image))
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
    """'N = 8' -> pictures folder of the first cell with that value and results in the group; other seeds are not shown.

    A variant can have a cell of its own for each test set.
    """
    done = group.cells[(group.cells["state"] == "done") & group.cells["id"].isin(group.images["cell"])]
    folders = {}
    for value in in_order(done[group.axis]):
        identity = done.loc[done[group.axis] == value, "id"].iloc[0]
        folders[at(group.axis, value)] = frames.study.runs / "cells" / identity / "pictures"
    return folders


def _common_images(folders: list[Path], group: Group) -> list[str]:
    """Names of the group's test images of which every cell has kept all three pictures."""
    kept = [{path.parent.name for path in folder.glob("*/output.png") if _complete(path.parent)} for folder in folders]
    return sorted(set.intersection(*kept) & set(group.images["image"].astype(str))) if kept else []


def _complete(folder: Path) -> bool:
    return all((folder / f"{kind}.png").is_file() for kind in ("rainy", "background"))


def _strip(group: Group, cells: dict[str, Path], image: str) -> Strip:
    folder = next(iter(cells.values())) / image
    with Image.open(folder / "rainy.png") as rainy:
        width, height = rainy.size
    rows = group.images[group.images["image"].astype(str) == image].set_index("cell")
    first = rows.iloc[0]
    outputs = [
        Output(name, photo_uri(path / image / "output.png"), _numbers(rows.loc[path.parent.name]))
        for name, path in cells.items()
    ]
    untouched = number(first.get(f"{_psnr(first)}_input", nan), 1)
    oracle = number(first.get("e_r_oracle", nan), 1)
    references = f"E_R oracle {oracle}, PSNR of input {untouched} dB"
    pictures = photo_uri(folder / "rainy.png"), photo_uri(folder / "background.png")
    return Strip(image, group.name, *pictures, width, height, references, outputs)


def _numbers(row: pd.Series) -> str:
    return (
        f"E_R {number(row.get('e_r', nan), 1)}, removal share {number(row['removal_share'], 2)}, "
        f"PSNR {number(row.get(_psnr(row), nan), 1)} dB"
    )


def _psnr(row: pd.Series) -> str:
    """The one of the headline channel, as in the tables."""
    return HEADLINE_FIDELITY[headline_channel(row.dropna().index)][0]
