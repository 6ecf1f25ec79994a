"""What tests of several rooms share: composed configs, small records, the folders of real data."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from filelock import FileLock
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

if TYPE_CHECKING:
    from slackoff.sweep.plan import Cell

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # small operations are slow when two busy threads share them

hypothesis.settings.register_profile("any machine", hypothesis.settings(), deadline=None)  # a busy one is slow
hypothesis.settings.load_profile("any machine")

PROCESSES = ("cell", "notebooks", "sweep", "wandb_view")
"""The folders whose tests start processes and wait for them."""

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that take long come first: short ones then fill all processes of the tests to the end."""
    items.sort(key=lambda item: item.path.parent.name not in PROCESSES)


@pytest.fixture(scope="session")
def conf() -> Path:
    """The Hydra tree."""
    from slackoff.config import config_folder

    return config_folder()


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """A folder by name that all processes of the tests share: the first that needs it fills it, once, others wait."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def folder(name: str, fill: Callable[[Path], None]) -> Path:
        found, filled = shared / name, shared / f"{name}.filled"
        with FileLock(shared / f"{name}.lock"):
            if not filled.exists():
                found.mkdir(exist_ok=True)
                fill(found)
                filled.touch()
        return found

    return folder


@pytest.fixture
def composed(conf: Path, tmp_path: Path) -> Callable[..., DictConfig]:
    """Compose a cell's config at smoke size in float32, records under the test's own folder, W&B left out."""

    def compose_cell(*overrides: str) -> DictConfig:
        fixed = ["size=smoke", "network=unet_tiny", "background.patch_count=4", f"runs={tmp_path}/runs"]
        fixed += ["trainer.precision=32-true", "logger.wandb=false"]
        with initialize_config_dir(str(conf), version_base="1.3"):
            return compose("config", [*fixed, *overrides])

    return compose_cell


@pytest.fixture
def prepared(composed: Callable[..., DictConfig]) -> Callable[..., "Cell"]:
    """A cell from the overrides of its config, planned, and its folder made as its process expects it."""
    from slackoff.record.ledger import HeartbeatMonitor
    from slackoff.sweep.cell_folders import prepare
    from slackoff.sweep.plan import plan

    def make(*overrides: str) -> "Cell":
        (cell,) = plan([composed(*overrides)], [[]])
        prepare(cell, HeartbeatMonitor())
        return cell

    return make


@pytest.fixture
def mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Type a command in the test's own folder: the one line with which it is refused before a cell is begun."""
    from slackoff.cli.hydra_app import run

    def refused(*arguments: str) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["slackoff", *arguments, "logger.wandb=false"])
        with pytest.raises(SystemExit) as stopped:
            run()
        (sentence,) = capsys.readouterr().err.strip().splitlines()
        assert stopped.value.code == 2
        assert sentence.startswith("error: ")
        assert not (tmp_path / "runs" / "cells").exists()
        return sentence

    return refused


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """A folder of real images beside the checkout, by name; the test is skipped where it is absent."""

    def folder(name: str) -> Path:
        found = SHARED / "data" / name
        if not found.is_dir():
            pytest.skip(f"{found} is absent: this test needs real images")
        return found

    return folder
