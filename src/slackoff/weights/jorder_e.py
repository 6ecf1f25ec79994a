"""Names of JORDER-E's published weights (github.com/flyywh/JORDER-E-Deep-Image-Deraining-TPAMI-2019-Journal)."""

import re
from collections.abc import Mapping

from torch import Tensor

RELEASED = re.compile(r"jorder([12])\.(.+)\.(weight|bias)")
BLOCK = re.compile(r"updater\.res(\d+)\.conv([1-6])")
PATHS = ("near", "wide", "wider")
MODULES = {
    "encoder": "encoder",
    "mask_estimator1": "mask.0",
    "mask_estimator2": "mask.1",
    "level_estimator1": "level.0",
    "level_estimator2": "level.1",
    "mask_F_w_encoder1": "mask_scale.0",
    "mask_F_w_encoder2": "mask_scale.2",
    "mask_F_b_encoder1": "mask_shift.0",
    "mask_F_b_encoder2": "mask_shift.2",
    "level_F_w_encoder1": "level_scale.0",
    "level_F_w_encoder2": "level_scale.2",
    "level_F_b_encoder1": "level_shift.0",
    "level_F_b_encoder2": "level_shift.2",
    "decoder.0": "decoder.0",
    "decoder.1": "decoder.1",
}


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names of ``slackoff.networks.JORDERE``; a name that is not the authors' stays."""
    return {rename(name): tensor for name, tensor in tensors.items()}


def rename(key: str) -> str:
    """The name that a tensor of the release has in ``slackoff.networks.JORDERE``; a key that is none stays as it is."""
    found = RELEASED.fullmatch(key)
    if found is None:
        return key
    stage, module, tensor = found.groups()
    own = _block_module(module) or MODULES.get(module)
    return key if own is None else f"stage{stage}.{own}.{tensor}"


def _block_module(module: str) -> str | None:
    """For a convolution of a block: numbered from 1 there, two to a path."""
    found = BLOCK.fullmatch(module)
    if found is None or found[1] == "0":
        return None
    path, place = divmod(int(found[2]) - 1, 2)
    return f"blocks.{int(found[1]) - 1}.{PATHS[path]}.{2 * place}"
