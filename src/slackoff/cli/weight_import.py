"""Published weights as files of ours: read, rename, check, write."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save

from slackoff.config.build import build
from slackoff.config.presets import check_presets, compose_preset
from slackoff.errors import SlackoffError
from slackoff.networks.weights import fitted, named_as_ours, read_tensors
from slackoff.record.files import write_bytes

SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Imported:
    """A written weight file, and how many trained parameters the network has."""

    path: Path
    parameters: int


def import_weights(preset: str, source: Path, target: Path | None = None) -> Imported:
    """Write the weights of a published network as safetensors under our names; all of them fit, or nothing is written.

    Args:
        preset: the network, by its name in ``network/``.
        source: the published file; see ``slackoff.networks.weights.read_tensors``.
        target: what to write; None is the source's name with the ending .safetensors, in the folder of the call.

    Raises:
        SlackoffError: no such preset, a file that cannot be read or holds more than tensors, tensors that do not fit,
            or a target that is there already or ends otherwise.
        OSError: the target cannot be written.
    """
    check_presets([preset], "import-weights")
    target = target or Path(source.name).with_suffix(SUFFIX)
    _check_target(target)
    with torch.device("meta"):
        network = build(compose_preset(preset), f"network={preset}").to("meta")
    tensors = named_as_ours(type(network).__name__, read_tensors(source), network.state_dict())
    weights = fitted(network, tensors, str(source))
    write_bytes(target, save(weights))
    return Imported(target, sum(parameter.numel() for parameter in network.parameters()))


def _check_target(target: Path) -> None:
    if target.suffix != SUFFIX:
        raise SlackoffError(f"-o {target} must end in {SUFFIX}")
    if not target.parent.is_dir():
        raise SlackoffError(f"{target.parent} is no folder: make it, or give another place with -o")
    if target.exists():
        raise SlackoffError(f"{target} is there already: give another name with -o, or remove it")
