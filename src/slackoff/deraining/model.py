"""A network or method, ready for photos: from the record of a cell, from a file, or without training."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

from omegaconf import DictConfig, OmegaConf
from safetensors import SafetensorError, safe_open
from torch import nn

from slackoff.config.build import build
from slackoff.config.presets import check_presets, compose_preset
from slackoff.config.validate import ForeignTargetError
from slackoff.errors import SlackoffError, printable
from slackoff.networks.interfaces import PerImageMethod
from slackoff.networks.weights import fitted, named_as_ours, read_tensors
from slackoff.record.archive import FURTHER
from slackoff.record.config import FILE, read_config
from slackoff.record.origin import find_cell
from slackoff.record.status import read_status

NETWORK = "slackoff.network"
"""The key in the metadata of an exported file under which the network's config stands, as JSON."""

CELL = "slackoff.cell"
"""The key in the metadata of an exported file under which the id of its cell stands."""

Weights = Literal["last", "teacher", "ema", "best"]
"""Which of a cell's weights: those after its last step, or one of ``slackoff.record.archive.FURTHER``."""

_CALLED = {"teacher": "teacher", "ema": "moving average of the weights", "best": "best checkpoint"}


@dataclass(frozen=True)
class Model:
    """A trained network and where it comes from.

    - `network`: rainy image (N, 3, H, W), float32 RGB in [0, 1], in; background in about [0, 1] out; any size; in
      eval mode, on the CPU.
    - `node`: its config, with `_target_` and `name`.
    - `name`: what to call it, in a few words.
    - `weights`: the file of its weights; None for a method without training.
    - `cell`: the folder of the cell that it was trained as; None for one from a file.
    """

    network: nn.Module
    node: DictConfig
    name: str
    weights: Path | None
    cell: Path | None = None

    @property
    def which(self) -> Weights:
        """Which of its cell's weights it has."""
        found = self.weights.stem if self.cell is not None and self.weights is not None else "last"
        return cast(Weights, found) if found in FURTHER else "last"

    @property
    def suffix(self) -> str:
        """What is said behind its cell: ", teacher", or nothing for the weights after the last step."""
        return f", {_CALLED[self.which]}" if self.which in _CALLED else ""


def provenance(model: Model) -> str:
    """What stands in derained files about where they come from: "slackoff, cell HASH", or the file of the weights."""
    if model.weights is None:
        return f"slackoff, {model.name}"
    metadata = _metadata(model.weights)
    cell = model.cell.name if model.cell is not None else metadata.get(CELL)
    return f"slackoff, cell {cell}{model.suffix}" if cell else f"slackoff, weights {printable(model.weights.name)}"


def from_cell(identity: str, runs: Path, which: Weights = "last") -> Model:
    """The network of a cell that is done.

    Args:
        identity: the cell's id, or as much of its beginning as no other cell shares.
        runs: where the records are.
        which: of the weights that it left.

    Raises:
        SlackoffError: there is no such cell or several, it is not done, it left no such weights, or a file of it is
            missing, damaged or of a version whose network is no longer built like that.
    """
    folder = find_cell(identity, runs)
    status = read_status(folder)
    if status is None or status.state != "done":
        state = "has no status" if status is None else f"is {status.state}"
        raise SlackoffError(
            f"The cell {folder.name} under {runs} {state}: only the network of a done cell can be used; run the "
            f"command of its study again, or python -m slackoff retry {folder.name} --runs {runs}"
        )
    weights = folder / f"{'network' if which == 'last' else which}.safetensors"
    if which != "last" and not weights.exists():
        there = ", ".join(["last", *(name for name in FURTHER if (folder / f"{name}.safetensors").exists())])
        raise SlackoffError(f"The cell {folder.name} under {runs} has no --weights {which}: it has {there}")
    path = folder / FILE
    node = OmegaConf.create(read_config(folder)).get("network")
    if not isinstance(node, DictConfig):
        raise SlackoffError(f"{path} names no network: run the command of its study again, which writes it anew")
    label = ", ".join(f"{key} {value}" for key, value in status.label.items() if value not in ("", None))
    found = Model(_filled(node, weights, path), node, "", weights, folder)
    return replace(found, name=f"cell {folder.name}{found.suffix}{f' ({label})' if label else ''}")


def from_file(path: Path, preset: str | None = None) -> Model:
    """The network of a weight file: one that `export` wrote, which says what it is, or any other with its preset.

    Args:
        path: see `slackoff.networks.weights.read_tensors`.
        preset: its network, by the name in ``network/``; not needed for what `export` wrote.

    Raises:
        SlackoffError: the file cannot be read, does not say what network it is and no preset is given, or does not fit.
    """
    if preset is not None:
        check_presets([preset], "--network")
        node = compose_preset(preset)
    else:
        read_tensors(path)  # what is no weight file is refused by its own sentence
        metadata = _metadata(path)
        if NETWORK not in metadata:
            raise SlackoffError(
                f"{path} does not say which network it holds: name its preset with --network; "
                "python -m slackoff networks lists them"
            )
        try:
            if "${" in metadata[NETWORK]:  # what was exported is resolved
                raise ValueError
            node = OmegaConf.create(dict(json.loads(metadata[NETWORK])))
        except (ValueError, TypeError, RecursionError):
            raise SlackoffError(
                f"{path}: {NETWORK} in its metadata is damaged: name its preset with --network"
            ) from None
    return Model(_filled(node, path, path), node, printable(path.stem), path)


def from_preset(preset: str) -> Model:
    """A method that needs no training, such as ``dsc``.

    Args:
        preset: its name in ``network/``.

    Raises:
        SlackoffError: there is no such preset, or it is a network, which needs weights.
    """
    check_presets([preset], "--network")
    node = compose_preset(preset)
    method = build(node, f"network={preset}")
    if not isinstance(method, PerImageMethod):
        raise SlackoffError(
            f"--network {preset} needs its weights: give them as --model FILE, or a cell as --cell HASH"
        )
    return Model(method.eval(), node, preset, None)


def _metadata(path: Path) -> dict[str, str]:
    """What a safetensors file says about itself; nothing for a file of another kind."""
    if path.suffix.lower() != ".safetensors":
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise SlackoffError(f"{path} cannot be read ({error}): give an undamaged file") from error


def _filled(node: DictConfig, weights: Path, named: Path) -> nn.Module:
    """The network of a config, which the file `named` gave, with the weights of a file."""
    try:
        network = build(node, "network")
    except ForeignTargetError as error:
        raise SlackoffError(f"{named}: {error}") from error
    except SlackoffError as error:
        raise SlackoffError(f"{named}: {error}; a file of another version of slackoff needs that version") from error
    if not isinstance(network, nn.Module):
        raise SlackoffError(f"{named}: network._target_={node.get('_target_')} makes no network: give another file")
    tensors = named_as_ours(type(network).__name__, read_tensors(weights), network.state_dict())
    network.load_state_dict(fitted(network, tensors, str(weights)))
    return network.float().eval().requires_grad_(False)
