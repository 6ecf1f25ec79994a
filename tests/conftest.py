"""What tests of several rooms share: composed configs, small records, the folders of real data."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # small operations are slow when two busy threads share them

FLOAT32 = "trainer.precision=32-true"  # the same on every processor
SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def conf() -> Path:
    """The Hydra tree."""
    from slackoff.config_tree import config_folder

    return config_folder()


@pytest.fixture
def composed(conf: Path, tmp_path: Path) -> Callable[..., DictConfig]:
    """Compose a cell's config at smoke size, records under the test's own folder, W&B left out."""

    def compose_cell(*overrides: str) -> DictConfig:
        fixed = ["size=smoke", "network=unet_tiny", "background.patch_count=4", f"runs={tmp_path}/runs", FLOAT32]
        with initialize_config_dir(str(conf), version_base="1.3"):
            return compose("config", [*fixed, "logger.wandb=false", *overrides])

    return compose_cell


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """A folder of real images beside the checkout, by name; the test is skipped where it is absent."""

    def folder(name: str) -> Path:
        found = SHARED / "data" / name
        if not found.is_dir():
            pytest.skip(f"{found} is absent: this test needs real images")
        return found

    return folder
