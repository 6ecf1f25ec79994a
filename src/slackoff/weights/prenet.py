"""The names of PReNet's authors (github.com/csdwren/PReNet): those of PReNet, PRN, their _r forms and the ablations."""

import re
from collections.abc import Mapping

from torch import Tensor

_PARTS = {
    "conv0.0": "head.0",
    "conv_i.0": "unit.input_gate",
    "conv_f.0": "unit.forget_gate",
    "conv_g.0": "unit.candidate",
    "conv_o.0": "unit.output_gate",
    "conv_z.0": "unit.update_gate",
    "conv_b.0": "unit.reset_gate",
    "conv.0": "output",
}
_BLOCK = re.compile(r"res_conv([1-9]\d*)\.([02])")
_CONVOLUTIONS = {"0": "conv1", "2": "conv2"}


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names of ``slackoff.networks.PReNet``; a name that is not the authors' stays."""
    return {_ours(name): tensor for name, tensor in tensors.items()}


def _ours(name: str) -> str:
    layer, _, kind = name.rpartition(".")
    if block := _BLOCK.fullmatch(layer):
        return f"blocks.{int(block[1]) - 1}.{_CONVOLUTIONS[block[2]]}.{kind}"
    return f"{_PARTS[layer]}.{kind}" if layer in _PARTS else name
