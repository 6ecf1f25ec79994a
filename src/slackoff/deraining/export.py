"""A trained network as a folder for other people: weights, model card, config, ONNX."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from omegaconf import OmegaConf
from safetensors.torch import save

from slackoff.deraining.card import model_card
from slackoff.deraining.model import CELL, NETWORK, Model
from slackoff.deraining.onnx_file import OnnxError, OnnxFile, require_onnx, write_onnx
from slackoff.deraining.record import read_record
from slackoff.errors import SlackoffError
from slackoff.networks.per_image import PerImageMethod
from slackoff.record.atomic import write_bytes, write_text

WEIGHTS, CARD, CONFIG, ONNX = "model.safetensors", "README.md", "config.yaml", "model.onnx"
"""What an export folder holds; nothing else is written there, and nothing else is replaced."""


@dataclass(frozen=True)
class Exported:
    """What was written. `onnx` is None where none was asked for or none could be made; then `refusal` says why."""

    folder: Path
    onnx: OnnxFile | None
    refusal: str = ""


def export(
    model: Model,
    folder: Path,
    with_onnx: bool = True,
    size: tuple[int, int] | None = None,
    overwrite: bool = False,
    license_id: str | None = None,
) -> Exported:
    """Write a network for other people; the folder appears whole or not at all.

    Args:
        model: what to write; what is measured and trained is read from the record of its cell, if it has one.
        folder: where to; its parent folders are made.
        with_onnx: write `model.onnx`, too, if it computes the same as PyTorch.
        size: (height, width) in pixels that `model.onnx` is for; None: any.
        overwrite: replace what an earlier export wrote there.
        license_id: of the weights, see `model_card`.

    Raises:
        SlackoffError: there are no weights, the folder has something in it, the record is damaged, or the extra for
            ONNX is missing.
        OSError: it cannot be written.
    """
    if isinstance(model.network, PerImageMethod):
        raise SlackoffError(f"{model.name} has no weights to export: derain photos with it instead")
    _check_target(folder, overwrite)
    if with_onnx:
        require_onnx()
    record = read_record(model.cell, model.teaches) if model.cell else None
    with _in_place_of(folder) as partial:
        _write_weights(model, partial / WEIGHTS)
        write_text(partial / CONFIG, OmegaConf.to_yaml(record.config if record else {"network": model.node}))
        onnx, refusal = None, ""
        if with_onnx:
            try:
                onnx = write_onnx(model.network, partial / ONNX, size)
            except OnnxError as error:
                refusal = str(error)
        write_text(partial / CARD, model_card(model, record, onnx, license_id))
    return Exported(folder, onnx, refusal)


def _write_weights(model: Model, path: Path) -> None:
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.network.state_dict().items()}
    metadata = {"format": "pt", NETWORK: json.dumps(OmegaConf.to_container(model.node, resolve=True))}
    if model.cell:
        metadata[CELL] = model.cell.name
    write_bytes(path, save(tensors, metadata))


def _check_target(folder: Path, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise SlackoffError(f"-o {folder} is a file: give a folder")
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if foreign := [name for name in there if name not in (WEIGHTS, CARD, CONFIG, ONNX)]:
        raise SlackoffError(f"{folder} holds {foreign[0]}, which no export wrote: give a folder of its own with -o")
    if there and not overwrite:
        raise SlackoffError(f"{folder} holds an export already: give another folder with -o, or --overwrite")


@contextmanager
def _in_place_of(folder: Path) -> Iterator[Path]:
    """A folder to fill beside one, put in its place at the end; where anything goes wrong, the old one stays."""
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    mark = uuid4().hex
    partial, old = (folder.with_name(f".{folder.name}.{mark}.{kind}") for kind in ("partial", "old"))
    try:
        partial.mkdir()
        yield partial
        if folder.exists():
            folder.replace(old)
        try:
            partial.replace(folder)
        except OSError:
            if old.exists():
                old.replace(folder)
            raise
    finally:
        for left in (partial, old):
            shutil.rmtree(left, ignore_errors=True)
