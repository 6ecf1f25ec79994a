"""What tests of deraining share."""

from pathlib import Path

import cell_record
import pytest
import tiny_record
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from torch import nn


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Records of one cell, abcdef012345."""
    tiny_record.write_cell(tmp_path / "runs", "abcdef012345")
    return tmp_path / "runs"


@pytest.fixture(scope="session")
def tiny_config(conf: Path) -> DictConfig:
    """The config of a cell of a very small ResNet at smoke size."""
    with initialize_config_dir(str(conf), version_base="1.3"):
        tiny = ("size=smoke", "background.patch_count=4", "network=resnet", "network.channels=4", "network.blocks=1")
        return compose("config", list(tiny))


@pytest.fixture
def trained(tiny_config: DictConfig, tmp_path: Path) -> nn.Module:
    """The network of a cell with results under `tmp_path`/runs, with a teacher; the record is written, too."""
    return cell_record.write_cell(tmp_path / "runs", tiny_config, teacher=True)
