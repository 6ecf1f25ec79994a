"""Operations of networks and of training steps against counts by hand, and network presets."""

import json
from io import StringIO
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from rich.console import Console
from torch import nn
from typer.testing import CliRunner

from slackoff import networks
from slackoff.cli.app import app
from slackoff.config.counting import NetworkCounts, count_presets, count_step, preset_table
from slackoff.config.presets import check_presets, compose_preset, preset_names
from slackoff.errors import SlackoffError

PIXELS = 128 * 128


def convolutions(pixels: int, *sizes: tuple[int, int, int]) -> int:
    """Operations of convolutions (kernel side, channels in, channels out) that each give so many pixels."""
    return sum(2 * pixels * side**2 * inputs * outputs for side, inputs, outputs in sizes)


def resnet(channels: int, blocks: int) -> int:
    inner = [(3, channels, channels)] * (2 * blocks + 1)
    return convolutions(PIXELS, (3, 3, channels), *inner, (3, channels, 3))


def unet_tiny() -> int:
    """Width 4, two levels; every pixel of the lower level gives four of the upper, by a weight matrix each."""
    upper = convolutions(PIXELS, (3, 3, 4), (3, 4, 4), (3, 8, 4), (3, 4, 4), (1, 4, 3))
    return upper + convolutions(PIXELS // 4, (3, 4, 8), (3, 8, 8)) + 2 * (PIXELS // 4) * 4 * 8 * 4


def swinir(side: int, channels: int, depths: list[int], window: int) -> int:
    """Per token of a layer: qkv, projection and perceptron; scores and sums over the window, for all heads together."""
    layer = 2 * ((3 + 1 + 2 + 2) * channels**2 + 2 * window**2 * channels)
    inner = [(3, channels, channels)] * (len(depths) + 1)
    return side**2 * layer * sum(depths) + convolutions(side**2, (3, 3, channels), *inner, (3, channels, 3))


@pytest.fixture(scope="module")
def rows() -> dict[str, NetworkCounts]:
    return {row.preset: row for row in count_presets()}


@pytest.mark.parametrize(
    ("preset", "parameters", "operations"),
    [
        ("resnet", 1_222_147, resnet(64, 16)),
        ("resnet_small", 48_195, resnet(24, 4)),
        ("unet_tiny", 1_727, unet_tiny()),
        ("swinir", 11_504_163, swinir(128, 180, [6] * 6, 8)),
        ("swinir_jpeg", 11_492_067, swinir(133, 180, [6] * 6, 7)),
        ("swinir_light", 905_283, swinir(128, 60, [6] * 4, 8)),
    ],
)
def test_figures_agree_with_a_count_by_hand(rows, preset, parameters, operations):
    assert rows[preset].parameters == parameters
    assert rows[preset].gflops == pytest.approx(operations / 1e9, rel=1e-12)


def test_every_preset_stands_in_the_table_with_its_paper(rows, conf):
    assert set(rows) == {path.stem for path in (conf / "network").glob("*.yaml")}
    assert [row.parameters for row in rows.values()] == sorted(row.parameters for row in rows.values())
    assert rows["resnet_small"].paper == networks.ResNet.paper == rows["resnet"].paper
    assert "CVPR 2017" in networks.ResNet.paper
    assert "MICCAI 2015" in rows["unet"].paper
    assert [row.preset for row in rows.values() if not row.paper] == []


def test_table_says_what_is_counted():
    text = StringIO()
    row = NetworkCounts("resnet", 1_222_147, 39.9759, networks.ResNet.paper)
    Console(file=text, width=120).print(preset_table([row]))
    title, heading, line = text.getvalue().splitlines()
    assert "128x128" in title
    assert "a multiply-add is two" in title
    assert heading.split() == ["network", "parameters", "GFLOPs", "paper"]
    assert line.split() == ["resnet", "1,222,147", "39.98", *networks.ResNet.paper.split()]


def test_a_method_whose_work_depends_on_the_image_has_no_count(rows):
    assert (rows["dsc"].parameters, rows["dsc"].gflops) == (0, None)
    text = StringIO()
    Console(file=text, width=120).print(preset_table([rows["dsc"]]))
    assert text.getvalue().splitlines()[2].split()[:3] == ["dsc", "0", "-"]


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Makes a Hydra tree whose only preset has this text the one that is looked at."""

    def write(text: str) -> None:
        (tmp_path / "network").mkdir()
        (tmp_path / "network" / "mine.yaml").write_text(text)
        monkeypatch.setattr("slackoff.config.presets.config_folder", lambda: tmp_path)

    return write


def test_a_network_of_another_package_has_no_paper(tree):
    tree("_target_: torch.nn.Conv2d\nin_channels: 3\nout_channels: 5\nkernel_size: 1")
    (row,) = count_presets()
    assert row == NetworkCounts("mine", 20, 2 * PIXELS * 15 / 1e9, "")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("_target_: slackoff.networks.UNet\nwidth: 0", "network.width=0"),
        ("_target_: slackoff.networks.NoNet", "network=mine cannot be built"),
        ("_target_: [", "network/mine.yaml cannot be read"),
        ("defaults: [absent]", "network/mine.yaml cannot be read"),
        ("_target_: torch.nn.Conv2d\nin_channels: 1\nout_channels: 1\nkernel_size: 1", "network=mine does not take"),
    ],
)
def test_a_preset_that_is_no_network_is_one_sentence(tree, text, sentence):
    tree(text)
    with pytest.raises(SlackoffError) as refused:
        count_presets()
    assert sentence in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_verb_prints_the_table_or_json(monkeypatch):
    monkeypatch.setattr("slackoff.config.counting.count_presets", lambda: [NetworkCounts("resnet", 7, 0.5, "A paper")])
    assert "resnet" in CliRunner().invoke(app, ["networks"]).stdout
    held = json.loads(CliRunner().invoke(app, ["networks", "--json"]).stdout)
    assert held == [{"preset": "resnet", "parameters": 7, "gflops": 0.5, "paper": "A paper"}]


def test_verb_ends_with_the_sentence_of_a_broken_preset(tree):
    tree("_target_: slackoff.networks.ResNet\nchannels: -1")
    found = CliRunner().invoke(app, ["networks"])
    assert found.exit_code == 2
    assert found.stderr.startswith("error: network.channels=-1")


def test_presets_are_built_without_memory_for_their_weights(monkeypatch, tree):
    devices = set()
    forward = networks.ResNet.forward

    def spy(self: nn.Module, rainy):
        devices.update({rainy.device.type, *(parameter.device.type for parameter in self.parameters())})
        return forward(self, rainy)

    monkeypatch.setattr(networks.ResNet, "forward", spy)
    tree("_target_: slackoff.networks.ResNet")
    count_presets()
    assert devices == {"meta"}


TRAINED = unet_tiny() / 4
"""A pass of unet_tiny over 64 x 64 px; backwards it takes as many for the weights, and for all inputs but images."""

STEP = 3 * TRAINED - convolutions(64 * 64, (3, 3, 4))


@pytest.mark.parametrize(
    ("overrides", "passes", "own"),
    [
        ([], [STEP], 0),
        (["task=multitask", "weighting@task.weighting=uncertainty"], [STEP], 0),
        # one pass forwards, one backwards for each of the three terms, and products of their 1,727 gradients
        (
            ["task=multitask", "weighting@task.weighting=pcgrad"],
            [STEP, 2 * (STEP - TRAINED)],
            2 * 1727 * (9 + 3) + 2 * 9,
        ),
    ],
)
def test_a_step_is_forwards_and_backwards_for_each_image_of_the_batch(composed, overrides, passes, own):
    config = composed("network=unet_tiny", "background.patch_size_px=64", "schedule.batch_size=3", *overrides)
    assert count_step(config) == pytest.approx(3 * sum(passes) + own, rel=1e-12)


def test_a_preset_is_composed_inside_hydra_which_goes_on_as_before(conf: Path) -> None:
    with initialize_config_dir(str(conf), version_base="1.3"):
        node = compose_preset("unet_tiny")
        assert compose("config", ["network=unet_small"]).network.name == "unet_small"
    assert (node.name, node._target_) == ("unet_tiny", "slackoff.networks.UNet")


def test_a_wrong_name_is_answered_with_the_closest(conf: Path) -> None:
    assert preset_names() == sorted(path.stem for path in (conf / "network").glob("*.yaml"))
    check_presets(preset_names(), "some.key")
    with pytest.raises(SlackoffError, match=r"There is no network 'swinnir' \(some\.key\): did you mean 'swinir'\?"):
        check_presets(["unet", "swinnir"], "some.key")
    with pytest.raises(SlackoffError, match="see python -m slackoff networks"):
        check_presets(["?"], "some.key")
