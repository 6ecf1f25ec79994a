"""What a cell leaves behind when it is done: weights, one row an image, pictures."""

from functools import partial
from pathlib import Path

from PIL import Image
from safetensors.torch import save
from torch import nn

from slackoff.evaluation import Evaluation
from slackoff.record.atomic import write_bytes, write_whole
from slackoff.record.pictures import picture_folder


def write_results(folder: Path, name: str, network: nn.Module, found: Evaluation) -> None:
    """Write the results of a network into a cell's folder.

    ``network.safetensors``, ``images.parquet`` and the pictures rainy, output and background (their place:
    ``slackoff.record.pictures``) for the cell's own network; ``NAME.safetensors``, ``images_NAME.parquet`` and the
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
