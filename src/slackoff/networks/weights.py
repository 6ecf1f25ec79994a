"""Weights from files: tensors read without running anything in the file, unwrapped, and fitted to a network."""

import os
import re
import warnings
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from slackoff.errors import SlackoffError, did_you_mean, one_line
from slackoff.networks.author_names import AUTHORS


def read_tensors(path: Path, only: Collection[str] | None = None, key: str | None = None) -> dict[str, Tensor]:
    """The tensors of a weight file by the names that they have there, on the CPU.

    Example:
        >>> import torch
        >>> torch.save({"epoch": 3, "state_dict": {"module.head.weight": torch.ones(2, 2)}}, "net.pth.tar")
        >>> list(read_tensors(Path("net.pth.tar")))
        ['head.weight']

    Args:
        path: what ``torch.save`` (also of before version 1.6), ``numpy.savez`` or safetensors wrote, whatever it is
            called. A checkpoint may hold much else: the one mapping of names to tensors in it is taken, however deep it
            is. What DataParallel and ``torch.compile`` put before every name ("module.", "_orig_mod.") is left out.
        only: names to which the result is confined; None takes all.
        key: where the file holds several such mappings: the keys that lead to one, with dots between, such as "params";
            or the beginning of names in one, such as "net_g".

    Raises:
        SlackoffError: there is no such file, it is of another kind, it is damaged, it holds anything but tensors of
            numbers, such as a pickled network (no object in it is made), or it holds several sets of them and ``key``
            names none.
    """
    if not path.is_file():
        if path.with_name(f"{path.name}.index").is_file():
            raise _tensorflow(path)
        raise SlackoffError(f"{path} is not there: give a weight file")
    refuse_bomb(path)
    tensors = _checked(path, _chosen(path, _content(path), key), only)
    while tensors and any(all(name.startswith(before) for name in tensors) for before in ("module.", "_orig_mod.")):
        tensors = {name.partition(".")[2]: tensor for name, tensor in tensors.items()}
    return tensors


def _content(path: Path) -> Any:
    """What is in a file, by its first bytes: .pt, .pth, .ckpt, .tar and .bin may all be torch's."""
    with path.open("rb") as file:
        start = file.read(9)
    if start.startswith(b"PK"):
        return _read_numpy(path) if path.suffix.lower() == ".npz" or _only_arrays(path) else _read_torch(path)
    if path.suffix.lower() == ".safetensors" or (start[8:] == b"{" and int.from_bytes(start[:8], "little") < 1e8):
        return _read_safetensors(path)
    if start.startswith(b"\x80"):  # a pickle, as torch wrote before 1.6
        return _read_torch(path)
    if re.search(r"\.(index|meta|data-\d+-of-\d+)$", path.name):
        raise _tensorflow(path)
    kind = next((kind for begins, kind in _OTHERS.items() if start.lower().startswith(begins)), "of another kind")
    raise SlackoffError(
        f"{path} is no weight file that torch, NumPy (.npz) or safetensors wrote, it is {kind if start else 'empty'}: "
        "give one of these"
    )


_OTHERS = {
    b"<": "a page of the internet in place of a download",
    b"version h": "a pointer of Git LFS (git lfs pull gets the file)",
    b"\x89hdf": "HDF5, as Keras and MATLAB write",
    b"matlab": "of MATLAB",
}


def _only_arrays(path: Path) -> bool:
    with suppress(zipfile.BadZipFile, OSError, ValueError, NotImplementedError), zipfile.ZipFile(path) as archive:
        return all(name.endswith(".npy") for name in archive.namelist())
    return False


_PLACEHOLDERS = [
    "argparse.Namespace",
    "easydict.EasyDict",
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *(f"numpy.{name}" for name in ("dtype", "ndarray")),
    *(f"numpy.dtypes.{name}DType" for name in ("Float64", "Float32", "Int64", "Int32", "Bool")),
    *(f"pathlib.{name}" for name in ("Path", "PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath")),
]
"""What training scripts save beside weights: options and scores."""


class _Unread:
    """Stands where a checkpoint has one of ``_PLACEHOLDERS``, none of which is made or called; keeps nothing."""

    def __init__(self, *args: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


_STANDING = [type("_Unread", (_Unread,), {}) for _ in _PLACEHOLDERS]  # torch knows them apart by class


def _read_torch(path: Path) -> Any:
    try:
        with (
            warnings.catch_warnings(action="ignore"),  # of pickles that torch did not write: they are read or refused
            torch.serialization.safe_globals(list(zip(_STANDING, _PLACEHOLDERS, strict=True))),
            path.open("rb") as file,  # of a path torch believes the suffix
        ):
            return torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise _objects(path, str(error)) from error
    except Exception as error:  # a damaged pickle is a program that ends in any error
        if "TorchScript" in str(error):
            raise SlackoffError(
                f"{path} is a TorchScript archive, which is a program: where you trust it, save the state_dict() of "
                "what torch.jit.load gives, and give that"
            ) from error
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
_DEEPEST = 5


def _chosen(path: Path, content: Any, key: str | None) -> Mapping[str, Tensor]:
    """The mapping of names to tensors in what a file holds."""
    places = dict(_mappings(content, "", set()))
    if key is not None:
        return places[key] if key in places else _beginning(path, places, key)
    if len(places) > 1:
        listed = ", ".join(f"{place or 'the file itself'} ({len(found)})" for place, found in places.items())
        raise SlackoffError(
            f"{path} holds {len(places)} sets of tensors: {listed}: say which, as python -m slackoff import-weights "
            f"NETWORK {path} --key {[*places][-1]}"
        )
    if not places:
        if isinstance(content, Mapping) and not content:
            raise SlackoffError(f"{path} holds no tensors: give a file with the weights of a network")
        raise SlackoffError(
            f"{path} holds no mapping of names to tensors but {_described(content)}: save the network's state_dict() "
            "by torch.save, and give that"
        )
    return next(iter(places.values()))


def _mappings(content: Any, place: str, seen: set[int]) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """All mappings of names to nothing but tensors; what optimisers and callbacks keep is not among them."""
    if not isinstance(content, Mapping) or not content or id(content) in seen or place.count(".") >= _DEEPEST:
        return
    seen.add(id(content))
    if not all(isinstance(name, str) for name in content):  # an optimiser's state has numbers
        return
    if all(isinstance(value, Tensor) for value in content.values()):
        if not place or any(value.dim() for value in content.values()):
            yield place, content
        return
    for name, value in content.items():
        if not name.lower().startswith(("optim", "scheduler")):
            yield from _mappings(value, f"{place}.{name}".lstrip("."), seen)


def _beginning(path: Path, places: Mapping[str, Mapping[str, Tensor]], key: str) -> dict[str, Tensor]:
    for tensors in places.values():
        if found := {name[len(key) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(f"{key}.")}:
            return found
    there = sorted(filter(None, {*places, *(name.partition(".")[0] for all_ in places.values() for name in all_)}))
    raise SlackoffError(
        f"{path} holds no tensors under '{key}' (--key): {did_you_mean(key, there, f'there are {_some(there)}.')}"
    )


def _described(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"one {type(content).__name__}"
    tensors = sum(isinstance(value, Tensor) for value in content.values())
    others = [f"{name} ({type(value).__name__})" for name, value in content.items() if not isinstance(value, Tensor)]
    if not others:
        return f"{tensors} tensors whose names are no texts"
    return f"{f'{tensors} tensors beside ' if tensors else ''}{_some(others)}"


def _checked(path: Path, content: Mapping[str, Tensor], only: Collection[str] | None) -> dict[str, Tensor]:
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


def _objects(path: Path, error: str = "") -> SlackoffError:
    found = re.search(r"GLOBAL ([\w.]+)", error)
    what = f" ({found[1]})" if found else ""
    return SlackoffError(
        f"{path} holds something else than tensors by name{what}, which was not read, since reading it can run code: "
        "where you trust it, save the network's state_dict() by torch.save, and give that"
    )


def _damaged(path: Path, error: Exception) -> SlackoffError:
    why = one_line(error, 120)
    return SlackoffError(f"{path} cannot be read ({why}): give an undamaged file")


def _tensorflow(path: Path) -> SlackoffError:
    return SlackoffError(
        f"{path} is of a TensorFlow checkpoint: save its variables as .npz where TensorFlow is installed, as "
        "docs/weights.md shows, and give that"
    )


_COUNTER = "num_batches_tracked"


def fitted(network: nn.Module, tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """The tensors in the order and types of the network's own, ready for ``load_state_dict``; nothing is changed.

    How many batches norms have seen is zero where no norm in the file has that (torch before 0.4.1, TensorFlow).

    Args:
        network: what they are for; one on the meta device will do.
        tensors: by our names.
        source: where they come from, for the message.

    Raises:
        SlackoffError: tensors are missing, are too many, or have other shapes; all kinds in one sentence.
    """
    wanted = network.state_dict()
    if not any(name.endswith(_COUNTER) for name in tensors):
        norms = [name.removesuffix(_COUNTER) for name in wanted if name.endswith(_COUNTER)]
        counters = {norm + _COUNTER: torch.tensor(0) for norm in norms if f"{norm}running_mean" in tensors}
        tensors = {**tensors, **counters}
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
            f"{source} does not fit this {type(network).__name__} of {len(wanted)} tensors ({found}): choose the "
            "network that it was trained as; python -m slackoff networks lists them"
        )
    return {name: tensors[name].to(tensor.dtype).contiguous() for name, tensor in wanted.items()}


def _some(names: Sequence[str]) -> str:
    more = [f"{len(names) - 3} more"] if len(names) > 3 else []
    return ", ".join([*names[:3], *more])


def _sides(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"


_WRAPPERS = {"module", "_orig_mod", "model", "net", "network", "net_g", "netG", "generator"}
_PROFILED = ("total_ops", "total_params")


def named_as_ours(network: str, tensors: Mapping[str, Tensor], ours: Collection[str]) -> dict[str, Tensor]:
    """The tensors under our names and in our layout, as far as they are known.

    What wrappers put before every name ("net_g.", "model.module.") and what profilers count is left out. Where the
    network is one of another package in ``ForeignNetwork``, names of that package's own file will do.

    Args:
        network: its class.
        tensors: as they came from a file, under the authors' names or ours.
        ours: the names of the network's own tensors.
    """
    ours = set(ours)
    found = {
        name: tensor for name, tensor in tensors.items() if name in ours or name.rpartition(".")[2] not in _PROFILED
    }
    while found and not ours.intersection(found):
        if ours.intersection(inside := {f"network.{name}": tensor for name, tensor in found.items()}):
            return inside
        first = {name.partition(".")[0] for name in found}
        if len(first) > 1 or not first <= _WRAPPERS or any("." not in name for name in found):
            break
        found = {name.partition(".")[2]: tensor for name, tensor in found.items()}
    return AUTHORS[network](found) if network in AUTHORS and set(found) != ours else found


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
