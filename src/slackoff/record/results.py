"""What a done cell leaves: weights, one row an image, and pictures under ``pictures/TEST_SET/IMAGE/KIND.png``.

Two test sets may hold images of the same name, and names may hold folders (a/001): names of test sets and images are
written as in a URL (a%2F001), so that each is one folder and can be read back.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save
from torch import nn

from slackoff.record.files import write_bytes, write_whole

KINDS = ("rainy", "output", "background")
"""The pictures of the cell's own network; ``output_NAME`` is of a further one."""

Named = tuple[str, str]
"""A test image: name of its test set, name in that set."""


def picture_folder(cell: Path, named: Named) -> Path:
    """Where the folder of a cell keeps the pictures of a test image."""
    return cell.joinpath("pictures", *(quote(name, safe=" ") for name in named))


def kept_pictures(cell: Path) -> dict[Named, Path]:
    """Test image -> its folder, of those that a cell kept all `KINDS` of, sorted by test set and name."""
    found = {
        (unquote(folder.parent.name), unquote(folder.name)): folder
        for folder in (cell / "pictures").glob("*/*")
        if all((folder / f"{kind}.png").is_file() for kind in KINDS)
    }
    return dict(sorted(found.items()))


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
