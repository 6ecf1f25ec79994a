"""Groups that differ in one thing only: the rain range, the image category. Each runs along the patch count."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import Group, groups

AXIS = "patch_count"

LABELS = ("network", "background", "rain", AXIS)
"""What every cell states about itself, whether or not its study varies it."""


@dataclass(frozen=True)
class Comparison:
    """Groups along the patch count that agree in everything but `by`, on one test set.

    `groups` holds them by their value of `by`; `labels` names what they have in common where a study has
    several such comparisons.
    """

    by: str
    labels: dict[str, Any]
    groups: dict[str, Group]

    @property
    def name(self) -> str:
        """'network = unet'; empty where the study has one comparison only."""
        return ", ".join(f"{key} = {value}" for key, value in self.labels.items())

    def lacks(self, names: Sequence[str]) -> list[str]:
        """Those of `names` that have no results at all."""
        return [name for name in names if name not in self.groups or not self.groups[name].done]

    def common(self, names: Sequence[str]) -> list[int]:
        """The patch counts at which all of `names` have results, smallest first."""
        first, *others = (self.groups[name].done for name in names)
        return [count for count in first if all(count in done for done in others)]


def comparisons(frames: Frames, by: str) -> list[Comparison]:
    """The comparisons between values of `by`, at least one; without groups where no cell says what its value is."""
    wide = along_patch_count(frames)
    if by not in wide.cells or wide.cells.empty:
        return [Comparison(by, {}, {})]
    found: dict[str, Comparison] = {}
    for group in groups(wide):
        value = str(group.cells[by].iloc[0])
        rest = {key: label for key, label in group.labels.items() if key != by}
        found.setdefault(str(rest), Comparison(by, rest, {})).groups[value] = group
    return list(found.values())


def along_patch_count(frames: Frames) -> Frames:
    """The frames with the patch count as main axis and the labels of the cells among their axes.

    A label that all cells with a status share is taken to hold for those without one too. Cells whose patch count is
    not known are left out.
    """
    cells = frames.cells.copy()
    if AXIS not in cells:
        cells[AXIS] = pd.NA
    known = [label for label in LABELS if label in cells]
    for label in known:
        stated = cells[label].dropna().unique()
        if len(stated) == 1:
            cells[label] = stated[0]
    cells = cells[cells[AXIS].notna()]
    axes = list(dict.fromkeys([*frames.study.axes, *known]))
    rows = zip(cells["id"], cells[axes].to_dict("records"), strict=True)
    study = replace(frames.study, axis=AXIS, cells=tuple((str(identity), dict(row)) for identity, row in rows))
    images = frames.images[frames.images["cell"].isin(cells["id"])]
    placed = cells.set_index("id")[axes].reindex(images["cell"]).reset_index(drop=True)
    rest = images.drop(columns=[axis for axis in axes if axis in images]).reset_index(drop=True)
    return replace(frames, study=study, cells=cells, images=pd.concat([rest, placed], axis=1))


def on_test_set(frames: Frames, name: str) -> Frames:
    """The frames with the results on one test set only."""
    return replace(frames, images=frames.images[frames.images["test_set"] == name])
