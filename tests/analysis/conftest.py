"""Studies on disk for the tests of the analysis room."""

from collections.abc import Callable
from pathlib import Path

import pytest
from analysis_record import Cell, counts, write_study

from slackoff.analysis import Frames, load

MakeFrames = Callable[..., Frames]


@pytest.fixture
def effect_cells() -> list[Cell]:
    """Three patch counts where E_R, removal share and E_B all fall, by 12, 0.1 and 16."""
    return counts(
        e_r=[48.0, 40.0, 36.0], share=[0.70, 0.65, 0.60], e_b=[26.0, 12.0, 10.0], psnr=[21.0, 27.0, 28.0]
    )


@pytest.fixture
def frames_of(tmp_path: Path) -> MakeFrames:
    """Writes the given cells as a study and loads it."""

    def make(cells: list[Cell], axis: str = "patch_count") -> Frames:
        return load(write_study(tmp_path / "runs", cells, axis=axis))

    return make


@pytest.fixture
def study_folder(tmp_path: Path, effect_cells: list[Cell]) -> Path:
    """The study of `effect_cells` on disk."""
    return write_study(tmp_path / "runs", effect_cells)
