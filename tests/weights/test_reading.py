"""Reading published weight files: each kind, and what is refused without being run."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from slackoff.errors import SlackoffError
from slackoff.networks.weights import read_tensors


class Trap:
    """An object whose unpickling leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def same(found, expected) -> bool:
    return list(found) == list(expected) and all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    return {"b.weight": torch.rand(2, 3), "a": torch.tensor(4)}


@pytest.mark.parametrize("name", ["net.pth", "net.pt", "NET.PTH"])
def test_a_state_dict_of_torch(name, tensors, tmp_path):
    torch.save(tensors, tmp_path / name)
    assert same(read_tensors(tmp_path / name), tensors)


def test_a_state_dict_of_parameters_as_a_module_gives_it(tmp_path):
    network = nn.Conv2d(1, 2, 3)
    torch.save(network.state_dict(), tmp_path / "net.pth")
    found = read_tensors(tmp_path / "net.pth")
    assert same(found, network.state_dict())
    assert not found["weight"].requires_grad


def test_arrays_of_numpy_and_safetensors(tensors, tmp_path):
    np.savez(tmp_path / "net.npz", **{name: tensor.numpy() for name, tensor in tensors.items()})
    save_file(tensors, tmp_path / "net.safetensors")
    assert same(read_tensors(tmp_path / "net.npz"), tensors)
    found = read_tensors(tmp_path / "net.safetensors")
    assert same({name: found[name] for name in tensors}, tensors)


def test_what_data_parallel_puts_before_every_name_is_left_out(tensors, tmp_path):
    torch.save({f"module.{name}": tensor for name, tensor in tensors.items()}, tmp_path / "net.pth")
    assert same(read_tensors(tmp_path / "net.pth"), tensors)
    mixed = {"module.a": torch.ones(1), "b": torch.ones(1)}
    torch.save(mixed, tmp_path / "mixed.pth")
    assert list(read_tensors(tmp_path / "mixed.pth")) == ["module.a", "b"]


def test_a_pickled_object_is_refused_and_not_run(tmp_path):
    trace = tmp_path / "it ran"
    torch.save({"weight": torch.ones(1), "trap": Trap(trace)}, tmp_path / "zip.pth")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Trap(trace)))
    np.savez(tmp_path / "net.npz", weight=np.array([Trap(trace)], dtype=object))
    for name in ("zip.pth", "plain.pt", "net.npz"):
        with pytest.raises(SlackoffError, match=f"{name} holds something else than tensors by name") as refused:
            read_tensors(tmp_path / name)
        assert len(str(refused.value).splitlines()) == 1
    assert not trace.exists()


@pytest.mark.parametrize(
    "content",
    [nn.Conv2d(1, 1, 1), torch.ones(3), [torch.ones(3)], {"epoch": 3, "a": torch.ones(1)}, {1: torch.ones(1)}],
    ids=["network", "tensor", "list", "checkpoint", "numbered"],
)
def test_anything_but_tensors_by_name_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(SlackoffError, match=r"net\.pth holds something else than tensors by name"):
        read_tensors(tmp_path / "net.pth")


@pytest.mark.parametrize("name", ["net.pth", "net.npz", "net.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04 cut short"])
def test_a_damaged_file_is_one_sentence(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SlackoffError, match=name) as refused:
        read_tensors(tmp_path / name)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["net.pth", "net.npz"])
def test_a_file_that_was_cut_short_is_refused(name, tensors, tmp_path):
    whole = tmp_path / name
    if name.endswith("npz"):
        np.savez(whole, **{key: tensor.numpy() for key, tensor in tensors.items()})
    else:
        torch.save(tensors, whole)
    whole.write_bytes(whole.read_bytes()[:-40])
    with pytest.raises(SlackoffError, match=r"cannot be read \(.*\): give an undamaged file"):
        read_tensors(whole)


def test_absent_foreign_empty_and_infinite_files_are_refused(tmp_path):
    torch.save({}, tmp_path / "empty.pth")
    torch.save({"a": torch.tensor([1.0, torch.inf])}, tmp_path / "infinite.pth")
    for name, sentence in [
        ("absent.pth", "is not there"),
        ("net.ckpt", r"is no weight file: give one that ends in \.pth, \.pt, \.npz, \.safetensors"),
        ("empty.pth", "holds no tensors"),
        ("infinite.pth", "a holds values that are not finite"),
    ]:
        with pytest.raises(SlackoffError, match=sentence):
            read_tensors(tmp_path / name)
