"""Published weights: tensors read without running anything in the file, renamed from the authors' names to ours.

A new family is a function from a name of the authors to ours, and its line in ``AUTHORS``.
"""

import os
import re
import warnings
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from slackoff.errors import SlackoffError, one_line


def read_tensors(path: Path, only: Collection[str] | None = None) -> dict[str, Tensor]:
    """The tensors of a weight file by the names that they have there, on the CPU.

    Args:
        path: a state dict by ``torch.save`` (.pth, .pt), arrays by ``numpy.savez`` (.npz), or .safetensors. Where every
            name starts with "module.", as DataParallel has it, that is left out. A checkpoint of BasicSR's holds them
            under "params" or "params_ema".
        only: names to which the result is confined; None takes all.

    Raises:
        SlackoffError: there is no such file, it is of another kind, it is damaged, or it holds anything but tensors of
            numbers, such as a pickled network; no object in it is made.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise SlackoffError(f"{path} is no weight file: give one that ends in {', '.join(_READERS)}")
    if not path.is_file():
        raise SlackoffError(f"{path} is not there: give a weight file")
    refuse_bomb(path)
    tensors = _checked(path, reader(path), only)
    if all(name.startswith("module.") for name in tensors):
        return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return tensors


def _read_torch(path: Path) -> Any:
    load: Callable[..., Any] = torch.load
    try:
        with warnings.catch_warnings(action="ignore"):  # of pickles that torch did not write: they are read or refused
            return load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise _objects(path) from error
    except Exception as error:  # a damaged pickle is a program that ends in any error
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
    if not str(path).isascii() and os.fsencode(path) != str(path).encode(errors="replace"):
        raise SlackoffError(f"{path} is not UTF-8, as safetensors wants the names of files: rename that file or folder")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise _damaged(path, error) from error


_NUMBERS = {torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128, torch.bool}
_NUMBERS |= {torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8}
_MOST_SHRUNK = 20
_HARMLESS_BYTES = 256 * 1024**2

_READERS: dict[str, Callable[[Path], Any]] = {
    ".pth": _read_torch,
    ".pt": _read_torch,
    ".npz": _read_numpy,
    ".safetensors": _read_safetensors,
}


def _checked(path: Path, content: Any, only: Collection[str] | None) -> dict[str, Tensor]:
    if isinstance(content, Mapping):
        content = content.get("params", content.get("params_ema", content))
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()
    ):
        raise _objects(path)
    content = {name: tensor for name, tensor in content.items() if only is None or name in only}
    if not content:
        raise SlackoffError(f"{path} holds no tensors: give a file with the weights of a network")
    for name, tensor in content.items():
        if tensor.layout is not torch.strided or tensor.device.type != "cpu" or tensor.dtype not in _NUMBERS:
            raise SlackoffError(f"{path}: {name} is no plain tensor of numbers: save the network's weights in float32")
        if tensor.is_nested or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise SlackoffError(f"{path}: {name} is larger than what the file holds of it: save a clone of that tensor")
        if not torch.isfinite(tensor).all():
            raise SlackoffError(f"{path}: {name} holds values that are not finite: give an undamaged file")
    return {name: tensor.detach() for name, tensor in content.items()}


def refuse_bomb(path: Path) -> None:
    """Nothing for weights or a checkpoint as torch or NumPy write them; a few kilobytes of a zip can become all memory.

    Raises:
        SlackoffError: the file would be far larger unpacked; weights hardly shrink.
    """
    with suppress(zipfile.BadZipFile, OSError, ValueError, NotImplementedError), zipfile.ZipFile(path) as archive:
        unpacked = sum(part.file_size for part in archive.infolist())
        if unpacked > max(_MOST_SHRUNK * path.stat().st_size, _HARMLESS_BYTES):
            raise SlackoffError(
                f"{path} would take {unpacked / 1e9:.1f} GB unpacked, {_MOST_SHRUNK} times its size at least, which may"
                " be a bomb: give weights that are saved without compression"
            )


def _objects(path: Path) -> SlackoffError:
    return SlackoffError(
        f"{path} holds something else than tensors by name, which was not read, since reading it can run code: where "
        "you trust it, save the network's state_dict() by torch.save, and give that"
    )


def _damaged(path: Path, error: Exception) -> SlackoffError:
    why = one_line(error, 120)
    return SlackoffError(f"{path} cannot be read ({why}): give an undamaged file")


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
    more = [f"{len(names) - 3} more"] if len(names) > 3 else []
    return ", ".join([*names[:3], *more])


def _sides(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"


_SIRR_NAME = re.compile(r"conv_(\d+)(_1)?__(weights|biases|scale|beta)_\d+")
"""A variable of SIRR's TensorFlow graph, slashes written as two underscores; ``_1``: of the pass over real photos."""

_SIRR_LAYERS = {1: "first", 26: "last"}
_SIRR_KINDS = {"weights": "0.weight", "biases": "0.bias", "scale": "1.weight", "beta": "1.bias"}


def _ddn_name(name: str) -> str | None:
    """Of SIRR, or of the PyTorch reproduction (H. Yan, Deep_Detailed_Network-PyTorch), which is ``DDN(skip="long")``.

    Of SIRR's two sets of biases and norms the one for labelled images is taken, with which its authors test. In the
    reproduction a chain b1, b2, b3 holds the first, the inner and the last layers; in b2 each layer is a convolution, a
    norm and a ReLU, counted one by one.
    """
    if found := _SIRR_NAME.fullmatch(name):
        layer = _SIRR_LAYERS.get(int(found[1]), f"layers.{int(found[1]) - 2}")
        return None if found[2] else f"{layer}.{_SIRR_KINDS[found[3]]}"
    if found := re.fullmatch(r"(?:module\.)?(?:b([13])\.([01])|b2\.(\d+))\.(\w+)", name):
        if found[1]:
            return f"{'first' if found[1] == '1' else 'last'}.{found[2]}.{found[4]}"
        number, within = divmod(int(found[3]), 3)
        return f"layers.{number}.{within}.{found[4]}" if within < 2 else name
    return name


_JORDER_E = re.compile(r"jorder([12])\.(.+)\.(weight|bias)")
_JORDER_E_PATHS = ("near", "wide", "wider")


def _jorder_e_name(name: str) -> str:
    found = _JORDER_E.fullmatch(name)
    own = _jorder_e_module(found[2]) if found else None
    return f"stage{found[1]}.{own}.{found[3]}" if found and own else name


def _jorder_e_module(module: str) -> str | None:
    if module in ("encoder", "decoder.0", "decoder.1"):
        return module
    if found := re.fullmatch(r"(mask|level)_estimator([12])", module):
        return f"{found[1]}.{int(found[2]) - 1}"
    if found := re.fullmatch(r"(mask|level)_F_([wb])_encoder([12])", module):
        return f"{found[1]}_{'scale' if found[2] == 'w' else 'shift'}.{2 * int(found[3]) - 2}"
    if found := re.fullmatch(r"updater\.res([1-9]\d*)\.conv([1-6])", module):  # numbered from 1, two to a path
        path, place = divmod(int(found[2]) - 1, 2)
        return f"blocks.{int(found[1]) - 1}.{_JORDER_E_PATHS[path]}.{2 * place}"
    return None


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


def _prenet_name(name: str) -> str:
    layer, _, kind = name.rpartition(".")
    if block := _PRENET_BLOCK.fullmatch(layer):
        return f"blocks.{int(block[1]) - 1}.0.{block[2]}.{kind}"
    return f"{_PRENET_PARTS[layer]}.{kind}" if layer in _PRENET_PARTS else name


def _swinir_name(name: str) -> str | None:
    """Ours are the official ones; masks and position indices are left out, as they depend on nothing but sizes."""
    return None if name.endswith(("attn_mask", "relative_position_index")) else name


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
_TRANSITION = re.compile(r"trans_block(?![56]\.)([2-9])(_o)?\.(bn1|conv1)(\.\w+)")  # scales 5 and 6 have none before
_UNUSED = re.compile(r"dense_block[1-9]\.SE\..+")


def _syn2real_name(name: str) -> str | None:
    """Squeeze-excitations, which the release declares and never calls, are left out."""
    if _UNUSED.fullmatch(name):
        return None
    if found := _BLOCK.fullmatch(name):
        return f"{_syn2real_place(int(found[1]), 1)}.{_BLOCK_PARTS[found[2]]}{found[3]}"
    if found := _TRANSITION.fullmatch(name):
        place = _syn2real_place(int(found[1]), 2 if found[2] else 0)
        return f"{place}.{_TRANSITION_PARTS[found[3]]}{found[4]}"
    layer, _, kind = name.rpartition(".")
    return f"{_PLAIN[layer]}.{kind}" if layer in _PLAIN else name


def _syn2real_place(number: int, part: int) -> str:
    """Of a scale: 0 is the change of channels before its block, 1 the block, 2 the change after it."""
    if number == 1:
        return "encoder1"
    if number in (2, 3, 4):
        return f"encoder{number}.{part}"
    return f"{'encoder' if number <= 6 else 'decoder'}{number}.{part - 1}" if part else f"up{number}"


AUTHORS: dict[str, Callable[[str], str | None]] = {
    "DDN": _ddn_name,
    "JORDERE": _jorder_e_name,
    "PReNet": _prenet_name,
    "SwinIR": _swinir_name,
    "Syn2Real": _syn2real_name,
}
"""By class of network: our name for a tensor of the authors'; a name that is not theirs stays, None leaves it out."""


def named_as_ours(network: str, tensors: Mapping[str, Tensor], ours: Collection[str]) -> dict[str, Tensor]:
    """The tensors under our names and in our layout, as far as they are known.

    Args:
        network: its class.
        tensors: as they came from a file, under the authors' names or ours.
        ours: the names of the network's own tensors.
    """
    if network not in AUTHORS or set(tensors) == set(ours):
        return dict(tensors)
    named = {}
    for name, tensor in tensors.items():
        if (own := AUTHORS[network](name)) is not None:
            kernel = _SIRR_NAME.fullmatch(name) and tensor.dim() == 4  # TensorFlow's are (height, width, in, out)
            named[own] = tensor.permute(3, 2, 0, 1) if kernel else tensor
    return named


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
