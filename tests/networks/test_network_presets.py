import re
from functools import cache

import pytest
import torch
from formula_weights import count_parameters
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from slackoff import build
from slackoff.config_tree import config_folder

PRESETS = sorted(path.stem for path in (config_folder() / "network").glob("*.yaml"))


@cache
def config_of(preset: str) -> DictConfig:
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose("config", [f"network={preset}"])


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_has_the_parameters_its_comment_states(conf, preset):
    comment = (conf / "network" / f"{preset}.yaml").read_text().splitlines()[0]
    stated = re.search(r"([\d,]+) parameters", comment)
    assert comment.startswith("#")
    assert stated, f"the first line of {preset}.yaml states no number of parameters"
    with torch.device("meta"):
        network = build.build_network(config_of(preset))
    assert count_parameters(network) == int(stated[1].replace(",", ""))


@torch.no_grad()
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_restores_images_of_an_odd_size(preset):
    config = config_of(preset)
    network = build.build_network(config)
    assert config.network.name == preset
    assert network(torch.rand(1, 3, 33, 47)).shape == (1, 3, 33, 47)
