"""Names in the public weights of a DDN."""

import re
from collections.abc import Mapping

from torch import Tensor


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names of ``slackoff.networks.DDN``; a name that is not the reproduction's stays."""
    return {reproduction_name(name) or name: tensor for name, tensor in tensors.items()}


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
