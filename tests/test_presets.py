"""Presets are composed by name, also inside a command that Hydra runs."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from slackoff.config.presets import check_presets, compose_preset, count, preset_names
from slackoff.errors import SlackoffError


def test_a_preset_is_composed_inside_hydra_which_goes_on_as_before(conf: Path) -> None:
    with initialize_config_dir(str(conf), version_base="1.3"):
        node = compose_preset("unet_tiny")
        assert compose("config", ["network=unet_small"]).network.name == "unet_small"
    assert (node.name, node._target_) == ("unet_tiny", "slackoff.networks.UNet")


def test_operations_of_a_convolution_by_hand() -> None:
    node = {"_target_": "torch.nn.Conv2d", "in_channels": 3, "out_channels": 5, "kernel_size": 3, "padding": 1}
    found = count("mine", OmegaConf.create(node), 20)
    assert (found.parameters, found.paper) == (3 * 5 * 9 + 5, "")
    assert found.gflops == pytest.approx(2 * 20 * 20 * 9 * 3 * 5 / 1e9)


def test_a_wrong_name_is_answered_with_the_closest(conf: Path) -> None:
    assert preset_names() == sorted(path.stem for path in (conf / "network").glob("*.yaml"))
    check_presets(preset_names(), "some.key")
    with pytest.raises(SlackoffError, match=r"There is no network 'swinnir' \(some\.key\): did you mean 'swinir'\?"):
        check_presets(["unet", "swinnir"], "some.key")
    with pytest.raises(SlackoffError, match="see python -m slackoff networks"):
        check_presets(["?"], "some.key")
