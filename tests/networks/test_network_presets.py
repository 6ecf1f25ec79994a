import re

import pytest
import torch
from formula_weights import count_parameters
from hydra import compose, initialize_config_dir

from slackoff import build
from slackoff.config_tree import config_folder

PRESETS = sorted(path.stem for path in (config_folder() / "network").glob("*.yaml"))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_has_the_parameters_its_comment_states(conf, preset):
    comment = (conf / "network" / f"{preset}.yaml").read_text().splitlines()[0]
    stated = re.search(r"([\d,]+) parameters", comment)
    assert comment.startswith("#")
    assert stated, f"the first line of {preset}.yaml states no number of parameters"
    with initialize_config_dir(str(conf), version_base="1.3"), torch.device("meta"):
        network = build.build_network(compose("config", [f"network={preset}"]))
    assert count_parameters(network) == int(stated[1].replace(",", ""))


@torch.no_grad()
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_restores_images_of_an_odd_size(conf, preset):
    with initialize_config_dir(str(conf), version_base="1.3"):
        config = compose("config", [f"network={preset}"])
    network = build.build_network(config)
    assert config.network.name == preset
    assert network(torch.rand(1, 3, 33, 47)).shape == (1, 3, 33, 47)
