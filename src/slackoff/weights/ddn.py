"""Names in the public weights of a DDN."""

import re
from collections.abc import Mapping

from torch import Tensor


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names of ``slackoff.networks.DDN``; a name that is neither's stays.

    Of SIRR's two sets of biases and norms the one for labelled images is taken, with which its authors test.
    """
    if any(_SIRR.fullmatch(name) for name in tensors):
        return _from_sirr(tensors)
    return {reproduction_name(name) or name: tensor for name, tensor in tensors.items()}


_SIRR = re.compile(r"conv_(\d+)(_1)?__(weights|biases|scale|beta)_\d+")
"""A variable of SIRR's TensorFlow graph, slashes written as two underscores; ``_1``: of the pass over real photos."""

_SIRR_LAST = 26
_SIRR_KINDS = {"weights": "0.weight", "biases": "0.bias", "scale": "1.weight", "beta": "1.bias"}


def _from_sirr(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Kernels there are (height, width, in, out)."""
    ours = {}
    for name, tensor in tensors.items():
        found = _SIRR.fullmatch(name)
        if found is None:
            ours[name] = tensor
        elif found[2] is None:
            number = int(found[1])
            layer = {1: "first", _SIRR_LAST: "last"}.get(number, f"layers.{number - 2}")
            ours[f"{layer}.{_SIRR_KINDS[found[3]]}"] = tensor.permute(3, 2, 0, 1) if tensor.dim() == 4 else tensor
    return ours


def reproduction_name(name: str) -> str | None:
    """What ``DDN(skip="long")`` calls a tensor of the PyTorch reproduction (H. Yan, Deep_Detailed_Network-PyTorch).

    There a chain b1, b2, b3 holds the first, the inner and the last layers; in b2 each layer is a convolution, a norm
    and a ReLU, counted one by one. Shapes are the same.

    Args:
        name: in the reproduction's state dict, with or without the prefix ``module.`` of ``DataParallel``.

    Returns:
        None for a name that the reproduction does not have.
    """
    found = re.fullmatch(r"(?:module\.)?b([123])\.(\d+)\.(\w+)", name)
    if found is None:
        return None
    part, position, tensor = found[1], int(found[2]), found[3]
    layer, within = divmod(position, 3)
    if within > 1 or (part != "2" and layer):
        return None
    return f"{ {'1': 'first', '2': f'layers.{layer}', '3': 'last'}[part] }.{within}.{tensor}"
