"""What tests of deraining share."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from cell_record import IDENTITY, write_cell
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from safetensors.torch import load_file
from torch import nn

from slackoff.networks import UNet


@pytest.fixture(scope="session")
def cell_config(conf: Path) -> DictConfig:
    """The config of a cell of a very small U-Net at smoke size."""
    with initialize_config_dir(str(conf), version_base="1.3"):
        return compose("config", ["size=smoke", "background.patch_count=4", "network=unet_tiny"])


@pytest.fixture
def add_cell(tmp_path: Path, cell_config: DictConfig) -> Callable[..., Path]:
    """`write_cell` of that config into the folder of `runs`."""
    return partial(write_cell, tmp_path / "runs", cell_config)


@pytest.fixture
def runs(add_cell: Callable[..., Path], tmp_path: Path) -> Path:
    """Records of one cell, `IDENTITY`."""
    add_cell()
    return tmp_path / "runs"


@pytest.fixture
def trained(runs: Path) -> nn.Module:
    """The network of that cell, built by hand."""
    network = UNet(width=4, levels=2).eval().requires_grad_(False)
    network.load_state_dict(load_file(runs / "cells" / IDENTITY / "network.safetensors"))
    return network
