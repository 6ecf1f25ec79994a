"""Published weights: tensors read without running anything in the file, renamed from the authors' names to ours.

A new family is a function from the authors' names to ours, and its line in ``AUTHORS``.
"""

import re
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from slackoff.errors import SlackoffError

_WRAPPED = "module."
"""What DataParallel puts before each name."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a weight file by the names that they have there, on the CPU.

    Args:
        path: a state dict by ``torch.save`` (.pth, .pt), arrays by ``numpy.savez`` (.npz), or .safetensors. Where every
            name starts with "module.", as DataParallel has it, that is left out.

    Raises:
        SlackoffError: there is no such file, it is of another kind, it is damaged, or it holds anything but tensors of
            numbers, such as a pickled network; no object in it is made.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise SlackoffError(f"{path} is no weight file: give one that ends in {', '.join(_READERS)}")
    if not path.is_file():
        raise SlackoffError(f"{path} is not there: give a weight file")
    tensors = _checked(path, reader(path))
    if all(name.startswith(_WRAPPED) for name in tensors):
        return {name.removeprefix(_WRAPPED): tensor for name, tensor in tensors.items()}
    return tensors


def _read_torch(path: Path) -> Any:
    load: Callable[..., Any] = torch.load
    try:
        with warnings.catch_warnings(action="ignore"):  # of pickles that torch did not write: they are read or refused
            return load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise _objects(path) from error
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise _damaged(path, error) from error


def _read_numpy(path: Path) -> Any:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(np.asarray(arrays[name])) for name in arrays.files}
    except ValueError as error:
        raise (_objects(path) if "pickle" in str(error) else _damaged(path, error)) from error
    except Exception as error:  # zip, zlib and numpy each have errors of their own for bad bytes
        raise _damaged(path, error) from error


def _read_safetensors(path: Path) -> Any:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise _damaged(path, error) from error


_READERS: dict[str, Callable[[Path], Any]] = {
    ".pth": _read_torch,
    ".pt": _read_torch,
    ".npz": _read_numpy,
    ".safetensors": _read_safetensors,
}


def _checked(path: Path, content: Any) -> dict[str, Tensor]:
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()
    ):
        raise _objects(path)
    if not content:
        raise SlackoffError(f"{path} holds no tensors: give a file with the weights of a network")
    for name, tensor in content.items():
        if not torch.isfinite(tensor).all():
            raise SlackoffError(f"{path}: {name} holds values that are not finite: give an undamaged file")
    return {name: tensor.detach() for name, tensor in content.items()}


def _objects(path: Path) -> SlackoffError:
    return SlackoffError(
        f"{path} holds something else than tensors by name, which was not read, since reading it can run code: where "
        "you trust it, save the network's state_dict() by torch.save, and give that"
    )


def _damaged(path: Path, error: Exception) -> SlackoffError:
    why = " ".join(str(error).split())[:120] or type(error).__name__
    return SlackoffError(f"{path} cannot be read ({why}): give an undamaged file")


_NAMED = 3


def fitted(network: nn.Module, tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """The tensors in the order and types of the network's own, ready for ``load_state_dict``; nothing is changed.

    Args:
        network: what they are for; one on the meta device will do.
        tensors: by our names.
        source: where they come from, for the message.

    Raises:
        SlackoffError: tensors are missing, are too many, or have other shapes; all kinds in one sentence.
    """
    wanted = network.state_dict()
    misfits = {
        "missing": [name for name in wanted if name not in tensors],
        "unexpected": [name for name in tensors if name not in wanted],
        "of another shape": [
            f"{name} ({_sides(tensors[name])}, not {_sides(tensor)})"
            for name, tensor in wanted.items()
            if name in tensors and tensors[name].shape != tensor.shape
        ],
    }
    if any(misfits.values()):
        found = "; ".join(f"{len(names)} {kind}: {_some(names)}" for kind, names in misfits.items() if names)
        raise SlackoffError(
            f"{source} does not fit this {type(network).__name__} ({found}): choose the network that it was trained "
            "as; python -m slackoff networks lists them"
        )
    return {name: tensors[name].to(tensor.dtype).contiguous() for name, tensor in wanted.items()}


def _some(names: Sequence[str]) -> str:
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return ", ".join([*names[:_NAMED], *more])


def _sides(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"


def ddn_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names of ``slackoff.networks.DDN``; a name that is neither's stays.

    Of SIRR's two sets of biases and norms the one for labelled images is taken, with which its authors test.
    """
    if any(_SIRR_NAME.fullmatch(name) for name in tensors):
        return _from_sirr(tensors)
    return {reproduction_name(name) or name: tensor for name, tensor in tensors.items()}


_SIRR_NAME = re.compile(r"conv_(\d+)(_1)?__(weights|biases|scale|beta)_\d+")
"""A variable of SIRR's TensorFlow graph, slashes written as two underscores; ``_1``: of the pass over real photos."""

_SIRR_LAST = 26
_SIRR_KINDS = {"weights": "0.weight", "biases": "0.bias", "scale": "1.weight", "beta": "1.bias"}


def _from_sirr(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Kernels there are (height, width, in, out)."""
    ours = {}
    for name, tensor in tensors.items():
        found = _SIRR_NAME.fullmatch(name)
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


JORDER_E_RELEASED = re.compile(r"jorder([12])\.(.+)\.(weight|bias)")
JORDER_E_BLOCK = re.compile(r"updater\.res(\d+)\.conv([1-6])")
JORDER_E_PATHS = ("near", "wide", "wider")
JORDER_E_MODULES = {
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


def jorder_e_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names of ``slackoff.networks.JORDERE``; a name that is not the authors' stays."""
    return {jorder_e_name(name): tensor for name, tensor in tensors.items()}


def jorder_e_name(key: str) -> str:
    """The name that a tensor of the release has in ``slackoff.networks.JORDERE``; a key that is none stays as it is."""
    found = JORDER_E_RELEASED.fullmatch(key)
    if found is None:
        return key
    stage, module, tensor = found.groups()
    own = _jorder_e_block(module) or JORDER_E_MODULES.get(module)
    return key if own is None else f"stage{stage}.{own}.{tensor}"


def _jorder_e_block(module: str) -> str | None:
    """For a convolution of a block: numbered from 1 there, two to a path."""
    found = JORDER_E_BLOCK.fullmatch(module)
    if found is None or found[1] == "0":
        return None
    path, place = divmod(int(found[2]) - 1, 2)
    return f"blocks.{int(found[1]) - 1}.{JORDER_E_PATHS[path]}.{2 * place}"


_PRENET_PARTS = {
    "conv0.0": "head.0",
    "conv_i.0": "unit.input_gate",
    "conv_f.0": "unit.forget_gate",
    "conv_g.0": "unit.candidate",
    "conv_o.0": "unit.output_gate",
    "conv_z.0": "unit.update_gate",
    "conv_b.0": "unit.reset_gate",
    "conv.0": "output",
}
_PRENET_BLOCK = re.compile(r"res_conv([1-9]\d*)\.([02])")
_PRENET_CONVOLUTIONS = {"0": "conv1", "2": "conv2"}


def prenet_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names of ``slackoff.networks.PReNet``; a name that is not the authors' stays."""
    return {_prenet_name(name): tensor for name, tensor in tensors.items()}


def _prenet_name(name: str) -> str:
    layer, _, kind = name.rpartition(".")
    if block := _PRENET_BLOCK.fullmatch(layer):
        return f"blocks.{int(block[1]) - 1}.{_PRENET_CONVOLUTIONS[block[2]]}.{kind}"
    return f"{_PRENET_PARTS[layer]}.{kind}" if layer in _PRENET_PARTS else name


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


def syn2real_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names of ``slackoff.networks.Syn2Real``; a name that is not the authors' stays.

    Squeeze-excitations, which the release declares and never calls, are left out. Shapes are the same.
    """
    return {_syn2real_name(name): tensor for name, tensor in tensors.items() if not _UNUSED.fullmatch(name)}


def _syn2real_name(name: str) -> str:
    if found := _BLOCK.fullmatch(name):
        return f"{_syn2real_block(int(found[1]))}.{_BLOCK_PARTS[found[2]]}{found[3]}"
    if found := _TRANSITION.fullmatch(name):
        number = int(found[1])
        place = _after_block(number) if found[2] else _before_block(number)
        return name if place is None else f"{place}.{_TRANSITION_PARTS[found[3]]}{found[4]}"
    layer, _, kind = name.rpartition(".")
    return f"{_PLAIN[layer]}.{kind}" if layer in _PLAIN else name


def _syn2real_block(number: int) -> str:
    """Where the block of a scale is."""
    if number == 1:
        return "encoder1"
    return f"encoder{number}.1" if number in _ENCODER_DOWN else f"{_side(number)}{number}.0"


def _before_block(number: int) -> str | None:
    """The change of channels before the block; two scales of the encoder have none."""
    if number in _ENCODER_FLAT:
        return None
    return f"encoder{number}.0" if number in _ENCODER_DOWN else f"up{number}"


def _after_block(number: int) -> str:
    return f"encoder{number}.2" if number in _ENCODER_DOWN else f"{_side(number)}{number}.1"


def _side(number: int) -> str:
    return "encoder" if number <= max(_ENCODER_FLAT) else "decoder"


Tensors = Mapping[str, Tensor]

AUTHORS: dict[str, Callable[[Tensors], dict[str, Tensor]]] = {
    "DDN": ddn_names,
    "JORDERE": jorder_e_names,
    "PReNet": prenet_names,
    "Syn2Real": syn2real_names,
}
"""By class of network. Each takes the tensors under the authors' names and gives them under ours, in our layout; a name
that it does not know stays as it is."""


def named_as_ours(network: str, tensors: Tensors, ours: Collection[str]) -> dict[str, Tensor]:
    """The tensors under our names, as far as they are known.

    Args:
        network: its class.
        tensors: as they came from a file, under the authors' names or ours.
        ours: the names of the network's own tensors.
    """
    if network not in AUTHORS or set(tensors) == set(ours):
        return dict(tensors)
    return AUTHORS[network](tensors)


def start_from(network: nn.Module, path: Path) -> None:
    """Give a network all the weights of a file, which has our names or those of the network's authors.

    Raises:
        SlackoffError: the file cannot be read, holds more than tensors, or does not fit the network.
    """
    try:
        tensors = named_as_ours(type(network).__name__, read_tensors(path), network.state_dict())
        network.load_state_dict(fitted(network, tensors, str(path)))
    except SlackoffError as error:
        raise SlackoffError(f"start_from: {error}") from error
