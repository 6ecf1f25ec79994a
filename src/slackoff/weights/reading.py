"""Tensors from files of strangers: nothing in a file is ever run."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

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
