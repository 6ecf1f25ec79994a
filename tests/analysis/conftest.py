"""Studies on disk for the tests of the analysis room."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from analysis_record import Cell, Change, EditImages, MakeFrames, counts, write_study

from slackoff.analysis import Frames, load


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports are built without drawing, which takes seconds: for tests of what a page says."""
    for name in ("report.draw", "page.balances", "page.distributions"):  # what a page shows beside its figure
        monkeypatch.setattr(f"slackoff.analysis.{name}", lambda *_: [])


@pytest.fixture
def effect_cells() -> list[Cell]:
    """Three patch counts where E_R, removal share and E_B all fall, by 12, 0.1 and 16."""
    return counts(e_r=[48.0, 40.0, 36.0], share=[0.70, 0.65, 0.60], e_b=[26.0, 12.0, 10.0], psnr=[21.0, 27.0, 28.0])


@pytest.fixture
def frames_of(runs: Path, edit_images: EditImages) -> MakeFrames:
    """Writes the given cells as a study and loads it; `edits` changes the results of cells, by their number, before."""

    def make(
        cells: list[Cell], axis: str = "patch_count", edits: Mapping[int, Change] | None = None, **more: Any
    ) -> Frames:
        study = write_study(runs, cells, axis=axis, **more)
        for number, change in (edits or {}).items():
            edit_images(cells[number], change)
        return load(study)

    return make


@pytest.fixture
def edit_images(runs: Path) -> EditImages:
    """Rewrites the images.parquet of a cell that has been written."""

    def edit(cell: Cell, change: Change) -> None:
        path = runs / "cells" / cell.id / "images.parquet"
        change(pd.read_parquet(path)).to_parquet(path)

    return edit
