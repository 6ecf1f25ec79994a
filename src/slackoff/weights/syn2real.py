"""Names in Syn2Real's published weights (github.com/rajeevyasarla/Syn2Real), as its code gives them.

No published file was at hand: the names are those of the authors' module, not checked on a file.
"""

import re
from collections.abc import Mapping

from torch import Tensor

_PLAIN = {
    "conv_input": "head",
    "zout": "to_latent",
    "conv_refin": "rain",
    "refine3": "image",
    "refineclean1": "clean.0",
    "refineclean2": "clean.2",
}
_BLOCK_PARTS = {"bn1": "norm", "conv1": "widen", "bns": "split_norms", "convs": "filters"}
_BLOCK_PARTS |= {"bn3": "joined_norm", "conv3": "narrow"}
_TRANSITION_PARTS = {"bn1": "norm", "conv1": "change"}
_BLOCK = re.compile(r"dense_block([1-9])\.(bn1|bn3|conv1|conv3|bns(?=\.[0-4]\.)|convs(?=\.[0-4]\.))((?:\.\d)?\.\w+)")
_TRANSITION = re.compile(r"trans_block([2-9])(_o)?\.(bn1|conv1)(\.\w+)")
_UNUSED = re.compile(r"dense_block[1-9]\.SE\..+")
_ENCODER_DOWN = (2, 3, 4)
_ENCODER_FLAT = (5, 6)


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names of ``slackoff.networks.Syn2Real``; a name that is not the authors' stays.

    Squeeze-excitations, which the release declares and never calls, are left out. Shapes are the same.
    """
    return {_ours(name): tensor for name, tensor in tensors.items() if not _UNUSED.fullmatch(name)}


def _ours(name: str) -> str:
    if found := _BLOCK.fullmatch(name):
        return f"{_block(int(found[1]))}.{_BLOCK_PARTS[found[2]]}{found[3]}"
    if found := _TRANSITION.fullmatch(name):
        number = int(found[1])
        place = _after(number) if found[2] else _before(number)
        return name if place is None else f"{place}.{_TRANSITION_PARTS[found[3]]}{found[4]}"
    layer, _, kind = name.rpartition(".")
    return f"{_PLAIN[layer]}.{kind}" if layer in _PLAIN else name


def _block(number: int) -> str:
    """Where the block of a scale is."""
    if number == 1:
        return "encoder1"
    return f"encoder{number}.1" if number in _ENCODER_DOWN else f"{_side(number)}{number}.0"


def _before(number: int) -> str | None:
    """The change of channels before the block; two scales of the encoder have none."""
    if number in _ENCODER_FLAT:
        return None
    return f"encoder{number}.0" if number in _ENCODER_DOWN else f"up{number}"


def _after(number: int) -> str:
    return f"encoder{number}.2" if number in _ENCODER_DOWN else f"{_side(number)}{number}.1"


def _side(number: int) -> str:
    return "encoder" if number <= max(_ENCODER_FLAT) else "decoder"
