"""The verb import-weights: the authors' names and ours, what does not fit, the written file."""

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from slackoff.__main__ import main
from slackoff.networks import PReNet, ResNet
from slackoff.networks.weights import AUTHORS, named_as_ours

GATES = {"lstm": "ifgo", "gru": "zbg", "none": ""}


def authors(network: PReNet, unit: str = "lstm") -> dict[str, torch.Tensor]:
    """Weights of a small PReNet under its authors' names, as their description lists them; every value its own."""
    width = network.output.in_channels
    shapes = {"conv0.0": (width, 6, 3, 3), "conv.0": (3, width, 3, 3)}
    shapes |= {f"conv_{gate}.0": (width, 2 * width, 3, 3) for gate in GATES[unit]}
    blocks = range(1, len(network.blocks) + 1)
    shapes |= {f"res_conv{block}.{place}": (width, width, 3, 3) for block in blocks for place in (0, 2)}
    torch.manual_seed(7)
    weights = {f"{name}.weight": torch.randn(shape) for name, shape in shapes.items()}
    return weights | {f"{name}.bias": torch.randn(shape[0]) for name, shape in shapes.items()}


def run(monkeypatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["slackoff", "import-weights", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.fixture
def published(tmp_path, monkeypatch) -> Path:
    """The small preset's weights as its authors would have published them, in the folder of the call."""
    monkeypatch.chdir(tmp_path)
    torch.save(authors(PReNet(3, 16, 2)), "net_latest.pth")
    return Path("net_latest.pth")


@pytest.mark.parametrize("unit", GATES)
def test_every_name_of_the_authors_has_its_place(unit):
    network = PReNet(1, 4, 2, unit)
    given = authors(network, unit)
    found = named_as_ours("PReNet", given, network.state_dict())
    assert set(found) == set(network.state_dict())
    pairs = [("head.0", "conv0.0"), ("output", "conv.0"), ("blocks.0.conv1", "res_conv1.0")]
    pairs += [("blocks.0.conv2", "res_conv1.2"), ("blocks.1.conv2", "res_conv2.2")]
    if unit == "lstm":
        names = {"i": "input_gate", "f": "forget_gate", "g": "candidate", "o": "output_gate"}
    else:
        names = {"z": "update_gate", "b": "reset_gate", "g": "candidate"}
    pairs += [(f"unit.{names[gate]}", f"conv_{gate}.0") for gate in GATES[unit]]
    for ours, theirs in pairs:
        assert torch.equal(found[f"{ours}.weight"], given[f"{theirs}.weight"])
        assert torch.equal(found[f"{ours}.bias"], given[f"{theirs}.bias"])


def test_our_own_names_stay_and_so_do_those_of_a_network_without_a_table():
    own = PReNet(1, 4, 1).state_dict()
    assert named_as_ours("PReNet", own, own).keys() == own.keys()
    assert "ResNet" not in AUTHORS
    other = ResNet(2, 1).state_dict()
    assert named_as_ours("ResNet", other, []).keys() == other.keys()


def test_the_written_file_makes_the_network_that_was_published(published, monkeypatch, capsys):
    assert run(monkeypatch, "prenet_small", published) == 0
    said = capsys.readouterr().out
    assert said.strip() == "net_latest.safetensors: 29,091 parameters of network=prenet_small"
    network = PReNet(3, 16, 2)
    weights = load_file("net_latest.safetensors")
    network.load_state_dict(weights)
    assert torch.equal(network.unit.forget_gate.weight, torch.load(published)["conv_f.0.weight"])
    assert sorted(path.name for path in Path().iterdir()) == ["net_latest.pth", "net_latest.safetensors"]


def test_half_precision_and_our_own_files_are_taken_too(published, monkeypatch):
    torch.save({name: tensor.half() for name, tensor in torch.load(published).items()}, "half.pth")
    assert run(monkeypatch, "prenet_small", "half.pth", "-o", "first.safetensors") == 0
    assert run(monkeypatch, "prenet_small", "first.safetensors", "--out", "second.safetensors") == 0
    assert Path("first.safetensors").read_bytes() == Path("second.safetensors").read_bytes()
    assert {tensor.dtype for tensor in load_file("first.safetensors").values()} == {torch.float32}


def test_what_does_not_fit_is_named_and_nothing_is_written(published, monkeypatch, capsys):
    weights = torch.load(published)
    del weights["conv_i.0.bias"], weights["conv.0.weight"]
    weights["res_conv3.0.weight"] = weights["extra"] = torch.ones(1)
    weights["conv0.0.weight"] = torch.ones(16, 3, 3, 3)
    torch.save(weights, "other.pth")
    assert run(monkeypatch, "prenet_small", "other.pth") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: other.pth does not fit this PReNet")
    assert len(error.splitlines()) == 1
    assert "2 missing: unit.input_gate.bias, output.weight" in error
    assert "2 unexpected: blocks.2.conv1.weight, extra" in error
    assert "1 of another shape: head.0.weight (16x3x3x3, not 16x6x3x3)" in error
    assert not list(Path().glob("*safetensors*"))


def test_a_long_list_is_cut(published, monkeypatch, capsys):
    assert run(monkeypatch, "resnet", published) == 2  # which has no table of names
    assert "20 unexpected: conv0.0.weight, conv.0.weight, conv_i.0.weight, 17 more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["prenet_smal", "net_latest.pth"], "no network 'prenet_smal' (import-weights): did you mean 'prenet_small'?"),
        (["prenet_small", "nowhere.pth"], "nowhere.pth is not there"),
        (["prenet_small", "net_latest.pth", "-o", "net.pth"], "-o net.pth must end in .safetensors"),
        (["prenet_small", "net_latest.pth", "-o", "no/net.safetensors"], "no is no folder"),
        (["prenet_small", "net_latest.pth", "-o", "taken.safetensors"], "taken.safetensors is there already"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, sentence, published, monkeypatch, capsys):
    Path("taken.safetensors").write_bytes(b"mine")
    assert run(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert len(error.splitlines()) == 1
    assert Path("taken.safetensors").read_bytes() == b"mine"
