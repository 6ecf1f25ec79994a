"""Weights of others: reading files without running them, the authors' names, the verb import-weights."""

import pickle
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from slackoff.__main__ import main
from slackoff.errors import SlackoffError
from slackoff.networks import JORDERE, PReNet, Syn2Real
from slackoff.networks.weights import named_as_ours, read_tensors, start_from


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


def test_tensors_are_read_from_files_of_torch_numpy_and_safetensors(tensors, tmp_path):
    tensors["c"] = nn.Parameter(torch.rand(1))
    for name in ("net.pth", "net.pt", "NET.PTH"):
        torch.save(tensors, tmp_path / name)
        assert same(read_tensors(tmp_path / name), tensors)
        assert not read_tensors(tmp_path / name)["c"].requires_grad
    tensors = {name: tensor.detach() for name, tensor in tensors.items()}
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
    ("content", "words"),
    [
        (nn.Conv2d(1, 1, 1), "something else than tensors by name (torch.nn.modules.conv.Conv2d), which was not read"),
        (torch.ones(3), "no mapping of names to tensors but one Tensor"),
        ([torch.ones(3)], "no mapping of names to tensors but one list"),
        ({"epoch": 3, "a": torch.ones(1)}, "no mapping of names to tensors but 1 tensors beside epoch (int)"),
        ({1: torch.ones(1)}, "no mapping of names to tensors but 1 tensors whose names are no texts"),
        ({"epoch": 3, "lr": 0.1}, "no mapping of names to tensors but epoch (int), lr (float)"),
    ],
    ids=["network", "tensor", "list", "mixed", "numbered", "numbers"],
)
def test_what_a_file_holds_in_place_of_tensors_is_said(content, words, tmp_path):
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(SlackoffError, match=re.escape(f"net.pth holds {words}")):
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
        ("net.ckpt", "is not there"),
        ("empty.pth", "holds no tensors"),
        ("infinite.pth", "a holds values that are not finite"),
    ]:
        with pytest.raises(SlackoffError, match=sentence):
            read_tensors(tmp_path / name)


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
    pairs = [("head.0", "conv0.0"), ("output", "conv.0"), ("blocks.0.0.0", "res_conv1.0")]
    pairs += [("blocks.0.0.2", "res_conv1.2"), ("blocks.1.0.2", "res_conv2.2")]
    if unit == "lstm":
        names = {"i": "input_gate", "f": "forget_gate", "g": "candidate", "o": "output_gate"}
    else:
        names = {"z": "update_gate", "b": "reset_gate", "g": "candidate"}
    pairs += [(f"unit.{names[gate]}", f"conv_{gate}.0") for gate in GATES[unit]]
    for ours, theirs in pairs:
        assert torch.equal(found[f"{ours}.weight"], given[f"{theirs}.weight"])
        assert torch.equal(found[f"{ours}.bias"], given[f"{theirs}.bias"])


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
    monkeypatch.setattr("slackoff.config.presets.preset_names", lambda: ["prenet_small", "resnet", "unet_tiny"])
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
    assert "2 unexpected: blocks.2.0.0.weight, extra" in error
    assert "1 of another shape: head.0.weight (16x3x3x3, not 16x6x3x3)" in error
    assert not list(Path().glob("*safetensors*"))


def test_a_long_list_is_cut(published, monkeypatch, capsys):
    monkeypatch.setattr("slackoff.config.presets.preset_names", lambda: ["prenet_small", "resnet", "unet_tiny"])
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


def released_names(blocks):
    """Every key of a released file, from the description of its modules."""
    modules = ["encoder", "decoder.0", "decoder.1"]
    modules += [f"updater.res{block}.conv{number}" for block in range(1, blocks + 1) for number in range(1, 7)]
    modules += [f"{what}_estimator{n}" for what in ("mask", "level") for n in (1, 2)]
    modules += [f"{what}_F_{kind}_encoder{n}" for what in ("mask", "level") for kind in "wb" for n in (1, 2)]
    return {f"jorder{stage}.{m}.{tensor}" for stage in (1, 2) for m in modules for tensor in ("weight", "bias")}


@pytest.mark.parametrize("blocks", [3, 11])
def test_every_name_of_jorder_e_has_one_of_ours(blocks):
    released = dict.fromkeys(released_names(blocks), torch.zeros(1))
    ours = named_as_ours("JORDERE", released, [])
    assert set(ours) == set(JORDERE(4, blocks).state_dict())
    assert len(ours) == len(released)


SCALES = (16, 32, 32, 128, 128, 128, 128, 64, 80)
BEFORE = {2: (32, 32), 3: (32, 32), 4: (64, 128), 7: (32, 64), 8: (32, 32), 9: (32, 32)}
AFTER = {
    2: (64, 32),
    3: (64, 64),
    4: (256, 128),
    5: (256, 128),
    6: (256, 128),
    7: (256, 32),
    8: (128, 32),
    9: (160, 16),
}
PLAIN = {
    "conv_input": (16, 3, 3),
    "zout": (32, 128, 3),
    "conv_refin": (16, 16, 3),
    "refine3": (3, 16, 3),
    "refineclean1": (8, 3, 7),
    "refineclean2": (3, 8, 3),
}


def norm(name: str, channels: int) -> dict[str, torch.Tensor]:
    kinds = ("weight", "bias", "running_mean", "running_var")
    values = {f"{name}.{kind}": torch.rand(channels) for kind in kinds}
    return values | {f"{name}.num_batches_tracked": torch.tensor(7)}


@pytest.fixture(scope="module")
def syn2real_release() -> dict[str, torch.Tensor]:
    """Made-up tensors under every name of the release, the unused ones too."""
    torch.manual_seed(1)
    made: dict[str, torch.Tensor] = {}
    for number, c in enumerate(SCALES, 1):
        block, w = f"dense_block{number}", 8 * (12 * c // 64)
        made |= norm(f"{block}.bn1", c) | norm(f"{block}.bn3", 6 * w)
        made |= {
            f"{block}.conv1.weight": torch.randn(6 * w, c, 1, 1),
            f"{block}.conv3.weight": torch.randn(c, 6 * w, 1, 1),
        }
        for i in range(5):
            made |= norm(f"{block}.bns.{i}", w) | {f"{block}.convs.{i}.weight": torch.randn(w, w // 8, 3, 3)}
        made[f"{block}.SE.fc.0.weight"] = torch.randn(2, c)
    transitions = {f"trans_block{n}": sides for n, sides in BEFORE.items()}
    transitions |= {f"trans_block{n}_o": sides for n, sides in AFTER.items()}
    for name, (inputs, outputs) in transitions.items():
        made |= norm(f"{name}.bn1", inputs) | {f"{name}.conv1.weight": torch.randn(inputs, outputs, 1, 1)}
    for name, (outputs, inputs, side) in PLAIN.items():
        made[f"{name}.weight"] = torch.randn(outputs, inputs, side, side)
        made[f"{name}.bias"] = torch.randn(outputs)
    return made


def test_a_file_of_syn2real_is_taken_whole(syn2real_release, tmp_path):
    """As DataParallel saves it; squeeze-excitations are dropped."""
    path = tmp_path / "derain_best.pth"
    torch.save({f"module.{name}": tensor for name, tensor in syn2real_release.items()}, path)
    network = Syn2Real()
    start_from(network, path)
    found = network.state_dict()
    pairs = {
        "dense_block1.convs.3": "encoder1.filters.3",
        "dense_block3.bns.1": "encoder3.1.split_norms.1",
        "dense_block5.bn3": "encoder5.0.joined_norm",
        "dense_block6.conv1": "encoder6.0.widen",
        "dense_block8.conv3": "decoder8.0.narrow",
        "dense_block9.bn1": "decoder9.0.norm",
        "trans_block4.conv1": "encoder4.0.change",
        "trans_block4_o.bn1": "encoder4.2.norm",
        "trans_block5_o.conv1": "encoder5.1.change",
        "trans_block8.conv1": "up8.change",
        "trans_block8_o.bn1": "decoder8.1.norm",
        "zout": "to_latent",
        "conv_refin": "rain",
        "refineclean2": "clean.2",
    }
    for theirs, ours in pairs.items():
        assert torch.equal(found[f"{ours}.weight"], syn2real_release[f"{theirs}.weight"]), ours
    assert len(read_tensors(path)) == len(found) + 9


@pytest.mark.parametrize(
    ("network", "foreign", "ours"),
    [
        ("DDN", "b1.0.weight", "first.0.weight"),
        ("DDN", "module.b1.1.running_var", "first.1.running_var"),
        ("DDN", "b2.0.bias", "layers.0.0.bias"),
        ("DDN", "b2.70.num_batches_tracked", "layers.23.1.num_batches_tracked"),
        ("DDN", "b3.1.bias", "last.1.bias"),
        *(("DDN", name, name) for name in ("b2.71.weight", "b1.3.weight", "b4.0.weight", "fc.weight")),
        *(("JORDERE", name, name) for name in (
            "jorder3.encoder.weight", "jorder1.haze.weight", "jorder1.updater.res0.conv1.bias",
            "jorder1.updater.res1.conv7.bias", "encoder.weight", "stage1.encoder.weight",
        )),
        *(("Syn2Real", name, name) for name in (
            "dense_block0.bn1.weight", "dense_block1.bn2.weight", "trans_block5.bn1.weight", "zout", "other.weight",
        )),
        ("DDN", "conv_2__biases_2", "layers.0.0.bias"),
        ("ResNet", "b1.0.weight", "b1.0.weight"),
        ("PReNet", "head.0.weight", "head.0.weight"),
    ],
)  # fmt: skip
def test_names_of_the_authors_become_ours_and_others_stay(network, foreign, ours):
    assert list(named_as_ours(network, {foreign: torch.zeros(1)}, [])) == [ours]
