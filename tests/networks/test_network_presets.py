import re
from functools import cache

import pytest
import torch
from formula_weights import count_parameters
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from slackoff.config import build, config_folder
from slackoff.losses import MSE

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


@pytest.mark.slow  # bf16 is emulated on many processors
@pytest.mark.parametrize(
    "preset", [name for name in PRESETS if not name.endswith(("_small", "_tiny")) and name != "dsc"]
)
def test_a_training_step_of_a_preset_in_bf16_has_a_finite_gradient(preset):
    """On a CPU, as the trainer lays out memory. dsc has nothing to train."""
    torch.manual_seed(0)
    network = build.build_network(config_of(preset)).to(memory_format=torch.channels_last)
    rainy, background = torch.rand(2, 2, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        MSE()(network, rainy, background).backward()
    gradients = {name: each.grad for name, each in network.named_parameters() if each.grad is not None}
    assert gradients
    assert [name for name, gradient in gradients.items() if not gradient.isfinite().all()] == []
