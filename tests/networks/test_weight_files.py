"""Weight files as people have them: checkpoints of training scripts, wrappers' names, old files, any suffix."""

import argparse
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from slackoff.__main__ import main
from slackoff.config.build import build
from slackoff.config.presets import compose_preset
from slackoff.errors import SlackoffError
from slackoff.networks import DDN, ForeignNetwork, UNet
from slackoff.networks.weights import fitted, named_as_ours, read_tensors, start_from

WEIGHTS = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)}
ADAM = {"state": {0: {"step": torch.tensor(4.0), "exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}


def saved(content: object, path: Path, **options: object) -> Path:
    torch.save(content, path, **options)
    return path


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return sorted(found) == sorted(expected) and all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    "content",
    [
        {"params": WEIGHTS},
        {"params_ema": WEIGHTS, "iter": 3},
        {"state_dict": WEIGHTS, "epoch": 3, "optimizer": ADAM},
        {
            "state_dict": WEIGHTS,
            "optimizer_states": [ADAM],
            "callbacks": {"best": {"best_k": {"x": torch.tensor(1.0)}}},
        },
        {"epoch": 1, "nets": {"g": {"weights": WEIGHTS}}},
        {"model": WEIGHTS, "optim": {"state": {"a.weight": {"exp_avg": torch.ones(2)}}}},
        {"state_dict": WEIGHTS, "args": argparse.Namespace(lr=0.1, save=Path("there"))},
        {"state_dict": WEIGHTS, "best_psnr": np.float64(30.5), "losses": np.arange(3), "last": np.float32(1)},
        {f"module.module.{name}": tensor for name, tensor in WEIGHTS.items()},
        {"state_dict": {f"_orig_mod.module.{name}": tensor for name, tensor in WEIGHTS.items()}},
    ],
    ids=["params", "ema", "epoch", "lightning", "deep", "optim", "options", "numpy", "twice", "compiled"],
)
def test_the_one_set_of_tensors_in_a_checkpoint_is_taken(content, tmp_path):
    assert same(read_tensors(saved(content, tmp_path / "net.pth")), WEIGHTS)


def test_what_is_passed_over_is_neither_made_nor_called(tmp_path, monkeypatch):
    class Namespace(argparse.Namespace):
        def __reduce__(self):
            return argparse.Namespace, (), {"lr": 0.1}

    path = saved({"state_dict": WEIGHTS, "args": Namespace(), "best": np.float64(30.5)}, tmp_path / "net.pth")
    made = []
    monkeypatch.setattr(argparse.Namespace, "__init__", lambda *_, **__: made.append("options"))
    assert same(read_tensors(path), WEIGHTS)
    assert made == []
    with pytest.raises(pickle.UnpicklingError):  # elsewhere these are refused as before
        torch.load(path, weights_only=True)
    torch.save({"state_dict": WEIGHTS, "args": [Path.touch]}, path)
    with pytest.raises(SlackoffError, match="something else than tensors by name"):
        read_tensors(path)


@pytest.mark.parametrize(
    "name", ["net.pth.tar", "net.ckpt", "net.bin", "net", "net.model", "net.PT", "net.safetensors2"]
)
def test_a_file_is_what_its_bytes_say(name, tmp_path):
    assert same(read_tensors(saved(WEIGHTS, tmp_path / name)), WEIGHTS)
    assert same(read_tensors(saved(WEIGHTS, tmp_path / name, _use_new_zipfile_serialization=False)), WEIGHTS)
    save_file(WEIGHTS, tmp_path / name)
    assert same(read_tensors(tmp_path / name), WEIGHTS)
    with (tmp_path / name).open("wb") as file:
        np.savez(file, **{key: tensor.numpy() for key, tensor in WEIGHTS.items()})
    assert same(read_tensors(tmp_path / name), WEIGHTS)


def test_where_there_are_two_sets_the_person_says_which(tmp_path):
    averaged = {name: tensor + 1 for name, tensor in WEIGHTS.items()}
    path = saved({"params": WEIGHTS, "params_ema": averaged}, tmp_path / "net.pth")
    with pytest.raises(SlackoffError, match=r"2 sets of tensors: params \(2\), params_ema \(2\): .* --key params_ema$"):
        read_tensors(path)
    assert same(read_tensors(path, key="params"), WEIGHTS)
    assert same(read_tensors(path, key="params_ema"), averaged)
    with pytest.raises(SlackoffError, match=r"no tensors under 'param' \(--key\): did you mean 'params'"):
        read_tensors(path, key="param")


def test_a_key_is_also_the_beginning_of_names(tmp_path):
    """As a LightningModule saves its network beside the network of its loss."""
    mixed = {f"net_g.{name}": tensor for name, tensor in WEIGHTS.items()} | {"vgg.0.weight": torch.zeros(3)}
    path = saved({"state_dict": mixed}, tmp_path / "last.ckpt")
    assert len(read_tensors(path)) == 3
    assert same(read_tensors(path, key="net_g"), WEIGHTS)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><title>Sign in</title>", "a page of the internet"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5"),
        (b"just some words", "of another kind"),
    ],
)
def test_what_is_no_weight_file_is_called_what_it_is(content, words, tmp_path):
    (tmp_path / "net.pth").write_bytes(content)
    with pytest.raises(SlackoffError, match=f"net.pth is no weight file that torch, .*{words}"):
        read_tensors(tmp_path / "net.pth")


def test_programs_and_checkpoints_of_tensorflow_are_told_how_to_go_on(tmp_path):
    with pytest.warns(FutureWarning):
        torch.jit.save(torch.jit.trace(nn.ReLU(), torch.ones(1)), tmp_path / "jit.pt")
    with pytest.raises(SlackoffError, match="TorchScript archive, which is a program"):
        read_tensors(tmp_path / "jit.pt")
    for name in ("model.final-100.index", "model.final-100.data-00000-of-00001"):
        (tmp_path / name).write_bytes(b"\0\0\1\2")
        with pytest.raises(SlackoffError, match="is of a TensorFlow checkpoint: save its variables as"):
            read_tensors(tmp_path / name)
    with pytest.raises(SlackoffError, match=r"model\.final-100 is of a TensorFlow checkpoint"):
        read_tensors(tmp_path / "model.final-100")


def test_names_of_wrappers_and_counters_of_profilers_are_no_part_of_a_network():
    network = UNet(width=4, levels=2)
    ours = network.state_dict()
    for before in ("net_g.", "model.module.", "generator._orig_mod.", "network."):
        wrapped = {f"{before}{name}": tensor for name, tensor in ours.items()}
        profiled = {
            f"{before}total_ops": torch.zeros(1),
            f"{before}{next(iter(ours))[:-7]}.total_params": torch.ones(1),
        }
        assert same(named_as_ours("UNet", wrapped | profiled, ours), ours), before
    foreign = {f"other.{name}": tensor for name, tensor in ours.items()}
    assert list(named_as_ours("UNet", foreign, ours)) == list(foreign)


def test_a_network_of_another_package_takes_that_packages_own_file(tmp_path):
    network = ForeignNetwork(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1)))
    theirs = {"0.weight": torch.rand(3, 3, 3, 3), "0.bias": torch.rand(3)}
    for names in ("{}", "module.{}", "net_g.{}", "network.{}"):
        start_from(network, saved({"params": {names.format(n): t for n, t in theirs.items()}}, tmp_path / "n.pth"))
        assert same(network.network.state_dict(), theirs)
    inside = ForeignNetwork(nn.ModuleDict({"net": nn.Conv2d(3, 3, 1)}))  # whose own names begin like a wrapper's
    ours = {"net.weight": torch.rand(3, 3, 1, 1), "net.bias": torch.rand(3)}
    assert sorted(named_as_ours("ForeignNetwork", ours, inside.state_dict())) == sorted(inside.state_dict())


def test_files_of_old_torch_do_not_count_batches():
    network = DDN(skip="long")
    weights = {name: tensor for name, tensor in network.state_dict().items() if "num_batches" not in name}
    found = fitted(network, weights, "old.pth")
    assert list(found) == list(network.state_dict())
    assert {int(tensor) for name, tensor in found.items() if "num_batches" in name} == {0}
    del weights["first.1.running_mean"]
    with pytest.raises(SlackoffError, match=r"2 missing: first.1.running_mean, first.1.num_batches_tracked"):
        fitted(network, weights, "old.pth")


def run(monkeypatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["slackoff", "import-weights", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_closest_preset_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("slackoff.config.presets.preset_names", lambda: ["prenet_small", "resnet", "unet_tiny"])
    tensors = build(compose_preset("unet_tiny"), "network").state_dict()
    saved({"params": {name: tensor + 1 for name, tensor in tensors.items()}, "params_ema": tensors}, Path("net.pth"))
    assert run(monkeypatch, "resnet", "net.pth", "--key", "params_ema") == 2
    shared = f"the closest preset is unet_tiny, with which it shares {len(tensors)} of {len(tensors)} tensors"
    assert shared in capsys.readouterr().err
    assert run(monkeypatch, "unet_tiny", "net.pth", "--key", "params_ema") == 0
    assert same(load_file("net.safetensors"), tensors)
    saved({"what.is.this": torch.ones(3)}, Path("other.pth"))
    assert run(monkeypatch, "unet_tiny", "other.pth") == 2
    assert "not one of its tensors is one of a preset" in capsys.readouterr().err
