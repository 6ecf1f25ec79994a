"""Presets are composed by name, also inside a command that Hydra runs."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from slackoff.config.presets import check_presets, compose_preset, preset_names
from slackoff.errors import SlackoffError


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
