"""What tests of sweeps share: cells that were neither composed nor planned, and the expander of the shipped configs."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from slackoff.sweep import driver as driver_module
from slackoff.sweep.expand import Expander
from slackoff.sweep.identity import Fingerprints
from slackoff.sweep.plan import Cell, plan


@pytest.fixture
def bare_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[Cell]]:
    """So many cells with the little that a driver looks at; it checks no configs."""
    monkeypatch.setattr(driver_module, "check_cells", lambda cells, _: dict.fromkeys((cell.id for cell in cells), 1.0))
    monkeypatch.setattr(driver_module, "check_hardware", lambda *_: [])
    content = {"schedule": {"steps": 20}, "trainer": {"precision": "32-true", "accelerator": "cpu"}}

    def make(count: int) -> list[Cell]:
        axes = [{"seed": seed} for seed in range(count)]
        return [
            Cell(f"cell{seed}", content, tmp_path / f"runs/cells/cell{seed}", axes[seed], axes[seed])
            for seed in range(count)
        ]

    return make


@pytest.fixture
def planned(composed: Callable[..., DictConfig]) -> Callable[..., list[Cell]]:
    """The cells of a sweep, from the overrides of its jobs."""

    def cells(*jobs: Sequence[str], missing_allowed: bool = False) -> list[Cell]:
        return plan([composed(*job) for job in jobs], jobs, fingerprints=Fingerprints(missing_allowed))

    return cells


@pytest.fixture
def expander(conf: Path) -> Iterator[Expander]:
    with initialize_config_dir(str(conf), version_base="1.3"):
        groups = GlobalHydra.instance().config_loader().list_groups("")
        yield Expander(lambda overrides: compose("config", overrides), groups)
