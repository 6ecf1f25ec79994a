"""What a done cell leaves: weights, one row an image, and pictures under ``pictures/TEST_SET/IMAGE/KIND.png``.

Two test sets may hold images of the same name, and names may hold folders (a/001): names of test sets and images are
written as in a URL (a%2F001), so that each is one folder and can be read back.
"""

from functools import partial
from pathlib import Path
from urllib.parse import quote, unquote

from PIL import Image
from safetensors.torch import save
from torch import nn

from slackoff.evaluation import Evaluation
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


def write_results(folder: Path, name: str, network: nn.Module, found: Evaluation) -> None:
    """Write the results of a network into a cell's folder.

    ``network.safetensors``, ``images.parquet`` and the pictures rainy, output and background (their place:
    ``slackoff.record.results``) for the cell's own network; ``NAME.safetensors``, ``images_NAME.parquet`` and the
    picture output_NAME for a further one.

    Args:
        folder: the cell's folder.
        name: of a further network, such as 'teacher'; empty for the cell's own.
        network: what was measured.
        found: what was found.
    """
    weights = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    # Safetensors' own writing to a file hides a full disk.
    write_bytes(folder / f"{name or 'network'}.safetensors", save(weights))
    rows = folder / ("images.parquet" if not name else f"images_{name}.parquet")
    write_whole(rows, lambda path: found.rows.to_parquet(path))
    for named, shown in found.pictures.items():
        pictures = picture_folder(folder, named)
        pictures.mkdir(parents=True, exist_ok=True)
        files = {f"output_{name}": shown["output"]} if name else shown
        for file, pixels in files.items():
            write_whole(pictures / f"{file}.png", partial(Image.fromarray(pixels).save, format="PNG"))
