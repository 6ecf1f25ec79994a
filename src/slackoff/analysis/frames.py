"""Tidy pandas frames of a study: its cells, their measures over steps, their results per test image."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from slackoff.analysis.cell_files import FILES, CellFiles, read_cell
from slackoff.analysis.columns import describe
from slackoff.analysis.study import Study, find_study
from slackoff.analysis.tidy import cells_frame, images_frame, steps_frame

WANDB = "wandb:"
"""What the name of a study in W&B begins with."""


@dataclass(frozen=True)
class Frames:
    """The record of one study. Columns keep their dtype whatever the cells are, in a frame without rows too.

    - `cells`: one row per cell of the study, whatever became of it: `id`, its axes, `state` (pending,
      running, done, failed; missing where there is no folder, unreadable where a file of it is damaged), the
      other columns of its status (seconds, attempts, last_error ...) and of its label.
    - `steps`: `cell`, `step`, `elapsed_s` and the logged measures, one row per cell and step, NaN where not
      logged.
    - `images`: `cell`, the axes, `test_set`, `image`, `height`, `width` and the measures per test image. Only
      cells that are done have rows here: the images of an unfinished cell may be half a test set.
    - `teachers`: as `images`, of the teachers that cells were trained by; without rows where none was.

    Whole numbers that may be unknown are Int64, measures float64, times datetime64[ns, UTC], names categories: cells
    and axes in the order of the study (small, medium, large in that one), test sets in its order or as they come,
    images by name. Axes are Int64 where all their values are whole numbers, float64 where all are numbers, else ordered
    categories. `describe` says unit and meaning of each column.
    """

    study: Study
    cells: pd.DataFrame
    steps: pd.DataFrame
    images: pd.DataFrame
    teachers: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def unfinished(self) -> pd.DataFrame:
        """The rows of `cells` that have no results: everything that is not done."""
        return self.cells[self.cells["state"] != "done"]

    def describe(self) -> pd.DataFrame:
        """Every column of every frame: (frame, column) -> `dtype`, `unit` (empty for none), `meaning` in one line."""
        names = ("cells", "steps", "images", "teachers")
        return pd.concat({name: describe(getattr(self, name), self.study.axes) for name in names}, names=["frame"])


def load(study_or_folder: str | Path, runs: str | Path = "runs") -> Frames:
    """Loads a study into frames: from the record on this machine, or from W&B.

    Only the study's own test sets, where it names some, are loaded. Records of older versions load, with NaN (NA in
    columns of whole numbers) where they lack a column.

    Args:
        study_or_folder: a study by its name under `runs`/studies, or by the folder that holds its `study.json`; or
            "wandb:ENTITY/PROJECT/STUDY", which asks the W&B server that `wandb login` or WANDB_BASE_URL names (without
            ENTITY: your own). What W&B does not hold is said in `slackoff.analysis.wandb_project`.
        runs: folder of the record; of no use to W&B.

    Raises:
        SlackoffError: there is no such study; no cell that is done was tested on a test set that it names; a cell was
            written by a newer slackoff; W&B cannot be reached. A damaged cell does not raise: its state is `unreadable`
            and its `last_error` names the file.
    """
    if str(study_or_folder).startswith(WANDB):
        from slackoff.analysis.wandb_project import load_wandb

        return load_wandb(str(study_or_folder).removeprefix(WANDB))
    study = find_study(study_or_folder, runs)
    return frames_of(study, [read_cell(study.runs / "cells" / identity) for identity, _ in study.cells])


def frames_of(study: Study, found: Sequence[CellFiles]) -> Frames:
    """The frames of a study from what its cells left, one entry per cell in the order of the study.

    Raises:
        SlackoffError: as `load`.
    """
    cells = cells_frame(study, found)
    own, teachers = (images_frame(study, cells, found, file) for file in FILES)
    return Frames(study, cells, steps_frame(study, found), own, teachers)
