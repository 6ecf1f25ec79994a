"""What tests of sweeps share: cells that were neither composed nor planned."""

from collections.abc import Callable
from pathlib import Path

import pytest

from slackoff.sweep import driver as driver_module
from slackoff.sweep.plan import Cell


@pytest.fixture
def bare_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[Cell]]:
    """So many cells with the little that a driver looks at; it checks no configs."""
    monkeypatch.setattr(driver_module, "check_all", lambda cells, _: dict.fromkeys((cell.id for cell in cells), 1.0))
    monkeypatch.setattr(driver_module, "check_hardware", lambda *_: [])
    content = {"schedule": {"steps": 20}, "trainer": {"precision": "32-true", "accelerator": "cpu"}}

    def make(count: int) -> list[Cell]:
        axes = [{"seed": seed} for seed in range(count)]
        return [
            Cell(f"cell{seed}", content, tmp_path / f"runs/cells/cell{seed}", axes[seed], axes[seed])
            for seed in range(count)
        ]

    return make
