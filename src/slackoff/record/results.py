"""What a done cell leaves: weights, one row an image, and pictures under ``pictures/TEST_SET/IMAGE/KIND.png``.

Two test sets may hold images of the same name, and names may be anything. A plain name is that of its folder; any other
is shortened and told apart by a digest. ``images.parquet`` has the names as they are.
"""

import hashlib
import json
import re
import time
from argparse import Namespace
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save
from torch import nn

from slackoff.errors import SlackoffError
from slackoff.record.files import read_lines, write_bytes, write_text, write_whole

KINDS = ("rainy", "output", "background")
"""The pictures of the cell's own network; ``output_NAME`` is of a further one."""

Named = tuple[str, str]
"""A test image: name of its test set, name in that set."""

_PLAIN_NAME = re.compile(r"[a-z0-9]([a-z0-9 _.-]{0,78}[a-z0-9])?")


def picture_folder(cell: Path, named: Named) -> Path:
    """Where the folder of a cell keeps the pictures of a test image."""
    return cell.joinpath("pictures", *map(_folder_name, named))


def _folder_name(name: str) -> str:
    """A name that any file system takes, another for another name: not all of them tell A from a, or take 255 bytes."""
    if _PLAIN_NAME.fullmatch(name):
        return name
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower())[:60].strip("-")
    return f"{readable}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def kept_pictures(cell: Path) -> dict[Named, Path]:
    """Test image -> its folder, of those that a cell kept all `KINDS` of, sorted by test set and name.

    Raises:
        SlackoffError: the results of the cell, which have the names, cannot be read.
    """
    path = cell / "images.parquet"
    try:
        rows = pd.read_parquet(path, columns=["test_set", "image"])
    except (OSError, ValueError) as error:
        raise SlackoffError(f"{path} cannot be read ({error}): name a cell that is done.") from error
    whole = cell.resolve()  # a link from a record of somebody else to a file elsewhere is no picture of the cell
    found = {named: picture_folder(cell, named) for named in sorted(rows.itertuples(index=False, name=None))}
    return {
        named: place
        for named, place in found.items()
        if all((kept := place / f"{kind}.png").is_file() and kept.resolve().is_relative_to(whole) for kind in KINDS)
    }


class RecordLogger(Logger):
    """Appends one JSON line an event to ``steps.jsonl``: ``step``, ``elapsed_s`` (training time so far) and values.

    Args:
        folder: the cell's folder.
        resume_step: lines of later steps are dropped, because those steps are about to be trained again, and so is the
            last measurement, which is about to be taken again.
    """

    def __init__(self, folder: Path, resume_step: int = 0) -> None:
        super().__init__()
        self.path = folder / "steps.jsonl"
        kept = [
            row
            for row in read_lines(self.path)
            if row["step"] <= resume_step and not any(key.startswith("final/") for key in row)
        ]
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in kept))
        self.kept = kept
        self.elapsed_before = max((row["elapsed_s"] for row in kept), default=0.0)
        self.started = time.monotonic()

    @property
    def name(self) -> str:
        return "record"

    @property
    def version(self) -> str:
        return "0"

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: the resolved config is in the record already."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        row: dict[str, float | int] = {"step": step or 0, "elapsed_s": round(self.elapsed(), 3)}
        row |= {key: float(value) for key, value in metrics.items() if key != "epoch"}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def elapsed(self) -> float:
        """Seconds of training so far, earlier attempts counted up to where this one goes on from."""
        return self.elapsed_before + time.monotonic() - self.started

    def close(self) -> None:
        """Turn the lines into ``steps.parquet``, one row a step."""
        frame = pd.DataFrame(read_lines(self.path))
        if not frame.empty:
            frame = frame.groupby("step", as_index=False).last()
            write_whole(self.path.with_suffix(".parquet"), frame.to_parquet)


def write_results(
    folder: Path,
    name: str,
    network: nn.Module,
    rows: pd.DataFrame,
    pictures: Mapping[Named, Mapping[str, NDArray[np.uint8]]],
) -> None:
    """Write the results of a network into a cell's folder.

    ``network.safetensors``, ``images.parquet`` and the pictures rainy, output and background (their place:
    ``slackoff.record.results``) for the cell's own network; ``NAME.safetensors``, ``images_NAME.parquet`` and the
    picture output_NAME for a further one.

    Args:
        folder: the cell's folder.
        name: of a further network, such as 'teacher'; empty for the cell's own.
        network: what was measured.
        rows: what was measured, one row a test image.
        pictures: of some test images, uint8 (H, W, 3) under rainy, output and background.
    """
    weights = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    # Safetensors' own writing to a file hides a full disk.
    write_bytes(folder / f"{name or 'network'}.safetensors", save(weights))
    write_whole(folder / ("images.parquet" if not name else f"images_{name}.parquet"), rows.to_parquet)
    for named, shown in pictures.items():
        place = picture_folder(folder, named)
        place.mkdir(parents=True, exist_ok=True)
        files = {f"output_{name}": shown["output"]} if name else shown
        for file, pixels in files.items():
            write_whole(place / f"{file}.png", partial(Image.fromarray(pixels).save, format="PNG"))
