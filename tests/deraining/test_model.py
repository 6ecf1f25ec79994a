"""Trained networks from records and files: the right weights, or one sentence."""

import json
import os
from pathlib import Path

import pytest
import torch
from cell_record import IDENTITY
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

from slackoff.config.presets import compose_preset
from slackoff.deraining.model import CELL, NETWORK, from_cell, from_file, provenance
from slackoff.errors import SlackoffError
from slackoff.networks import UNet

IMAGE = torch.rand(1, 3, 20, 30, generator=torch.Generator().manual_seed(0))


def reference(weights: Path) -> torch.Tensor:
    """What a network that is built by hand gives with the weights of a file."""
    network = UNet(width=4, levels=2)
    network.load_state_dict(load_file(weights))
    with torch.no_grad():
        return network.eval()(IMAGE)


@pytest.mark.parametrize("identity", [IDENTITY, "abc", "a"])
def test_a_cell_is_found_by_its_id_or_its_beginning(identity, runs, trained):
    model = from_cell(identity, runs)
    folder = runs / "cells" / IDENTITY
    assert torch.equal(model.network(IMAGE), trained(IMAGE))
    assert not model.network.training
    assert not any(parameter.requires_grad for parameter in model.network.parameters())
    assert (model.cell, model.weights) == (folder, folder / "network.safetensors")
    assert model.name == "cell abcdef012345 (network unet_tiny)"
    assert model.node.name == "unet_tiny"
    assert provenance(model) == "slackoff, cell abcdef012345"


def test_the_teacher_is_another_network(runs):
    model = from_cell("abc", runs, "teacher")
    assert torch.equal(model.network(IMAGE), reference(runs / "cells" / IDENTITY / "teacher.safetensors"))
    assert not torch.equal(model.network(IMAGE), from_cell("abc", runs).network(IMAGE))
    assert provenance(model) == "slackoff, cell abcdef012345, teacher"


def test_an_id_that_is_the_beginning_of_another_one_is_that_cell(runs, add_cell):
    add_cell("abcdef")
    assert from_cell("abcdef", runs).cell == runs / "cells" / "abcdef"
    with pytest.raises(SlackoffError, match=r"2 cells under .* begin with 'abc' \(abcdef, abcdef012345\)"):
        from_cell("abc", runs)


def spoil_config(content: str):
    return lambda folder: (folder / "config.yaml").write_text(content)


def truncate(name: str):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:300])


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: (folder / "network.safetensors").unlink(), r"network\.safetensors is not there"),
        (truncate("network.safetensors"), r"network\.safetensors cannot be read"),
        (truncate("status.json"), r"no cell|status\.json is damaged"),
        (lambda folder: (folder / "config.yaml").unlink(), r"config\.yaml cannot be read"),
        (spoil_config("network: ["), r"config\.yaml cannot be read"),
        (spoil_config("{}"), r"config\.yaml names no network"),
        (spoil_config("network: unet"), r"config\.yaml names no network"),
        (spoil_config("network: {_target_: slackoff.networks.UNet, depth: 3}"), r"config\.yaml: .*depth.* version"),
        (spoil_config("network: {_target_: slackoff.networks.Gone}"), r"config\.yaml: .*Gone.* version"),
        (spoil_config("network: {_target_: os.system, command: ls}"), r"os\.system is refused"),
        (spoil_config("network: {_target_: slackoff.data.FixedCrops}"), r"config\.yaml: "),
        (spoil_config("network: {_target_: slackoff.networks.UNet, width: 8, levels: 3}"), r"network\.safetensors"),
        (spoil_config("network: {_target_: slackoff.networks.ResNet}"), r"network\.safetensors"),
    ],
)
def test_a_spoilt_record_is_one_sentence(spoil, sentence, runs):
    spoil(runs / "cells" / IDENTITY)
    with pytest.raises(SlackoffError, match=sentence) as refused:
        from_cell(IDENTITY, runs)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("state", ["pending", "running", "failed", "interrupted"])
def test_only_a_done_cell_has_a_network(state, runs, add_cell):
    add_cell("fed", state=state)
    with pytest.raises(SlackoffError, match=rf"The cell fed under .* is {state}: only .* retry fed --runs"):
        from_cell("f", runs)


@pytest.mark.parametrize("identity", ["123", "", "../cells/abcdef012345", "*"])
def test_an_unknown_cell_is_one_sentence(identity, runs):
    with pytest.raises(SlackoffError, match=r"There is no cell .* python -m slackoff status --runs"):
        from_cell(identity, runs)


def test_a_cell_without_a_teacher_says_so(runs):
    (runs / "cells" / IDENTITY / "teacher.safetensors").unlink()
    with pytest.raises(SlackoffError, match="has no --weights teacher: it has last"):
        from_cell("abc", runs, "teacher")


def exported(path: Path, **metadata: str) -> Path:
    save_file(UNet(width=4, levels=2).state_dict(), path, metadata)
    return path


def test_an_exported_file_says_what_it_is(tmp_path):
    node = json.dumps(OmegaConf.to_container(compose_preset("unet_tiny")))
    path = exported(tmp_path / "derainer.safetensors", **{NETWORK: node, CELL: "abcdef012345"})
    model = from_file(path)
    assert torch.equal(model.network(IMAGE), reference(path))
    assert (model.name, model.weights, model.cell) == ("derainer", path, None)
    assert provenance(model) == "slackoff, cell abcdef012345"


def test_a_plain_file_needs_the_name_of_its_network(tmp_path):
    path = exported(tmp_path / "plain.safetensors")
    model = from_file(path, "unet_tiny")
    assert torch.equal(model.network(IMAGE), reference(path))
    assert provenance(model) == "slackoff, weights plain.safetensors"
    with pytest.raises(SlackoffError, match=r"plain\.safetensors does not say which network it holds: .*--network"):
        from_file(path)
    with pytest.raises(SlackoffError, match=r"no network 'unet_tony' .*did you mean 'unet_tiny'"):
        from_file(path, "unet_tony")
    with pytest.raises(SlackoffError, match=r"plain\.safetensors"):
        from_file(path, "unet_small")


@pytest.mark.parametrize(
    ("node", "sentence"),
    [
        ('{"_target_": "os.system", "command": "ls"}', r"os\.system is refused"),
        ('{"_target_": "slackoff.config.build.torch.load", "f": "x"}', "is refused"),
        ('{"_target_": "slackoff.networks.UNet", "width": {"_target_": "builtins.eval"}}', "is refused"),
        ('{"width": 4}', "no _target_"),
        ("[1]", "is damaged"),
        ("{", "is damaged"),
    ],
)
def test_a_malicious_or_damaged_file_is_refused(node, sentence, tmp_path):
    path = exported(tmp_path / "bad.safetensors", **{NETWORK: node})
    with pytest.raises(SlackoffError, match=sentence) as refused:
        from_file(path)
    assert str(path) in str(refused.value)


def test_published_weights_take_the_names_of_their_authors(tmp_path):
    network = UNet(width=4, levels=2)
    torch.save({f"module.{name}": tensor for name, tensor in network.state_dict().items()}, tmp_path / "unet.pth")
    with torch.no_grad():
        expected = network(IMAGE)
    assert torch.equal(from_file(tmp_path / "unet.pth", "unet_tiny").network(IMAGE), expected)


@pytest.mark.parametrize("name", ["nowhere.safetensors", "weights.onnx"])
def test_what_is_no_weight_file_is_refused(name, tmp_path):
    with pytest.raises(SlackoffError, match="give "):
        from_file(tmp_path / name)


def test_a_weight_file_whose_name_is_no_text_is_used_or_its_name_is_the_mistake(tmp_path):
    """What it is called stands in the pages and in derained photos."""
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/n\xff.pth"))
    torch.save(UNet(width=4, levels=2).state_dict(), place)
    model = from_file(place, "unet_tiny")
    assert (model.name, provenance(model)) == (r"n\xff", r"slackoff, weights n\xff.pth")
    assert from_file(place.rename(place.with_suffix(".safetensors")), "unet_tiny").name == r"n\xff"
    save_file(UNet(width=4, levels=2).state_dict(), tmp_path / "other")
    with pytest.raises(SlackoffError, match=r"n\\xff.safetensors is not UTF-8.*rename"):
        from_file((tmp_path / "other").rename(place.with_suffix(".safetensors")), "unet_tiny")
