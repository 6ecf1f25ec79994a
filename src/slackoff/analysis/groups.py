"""How the cells of a study are compared: along its main axis, within groups that agree in everything else.

Cells of one group with the same value of the main axis are repeats with other training seeds.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from slackoff.analysis.frames import Frames
from slackoff.analysis.statistics import Interval, Joint, difference_interval, joint_means, mean_interval
from slackoff.analysis.study import SIZES
from slackoff.metrics.columns import for_averaging

Rows = NDArray[np.int64]

SEED = "seed"

TEST_SET = "test set"
"""Label of groups that differ in their test set only."""

REMOVED = "removed_rms"
"""Not in the record: removal share times oracle E_R, the RMS (grey levels) of the rain that was taken out."""


@dataclass(frozen=True)
class Group:
    """The cells that differ only in the main axis (and in their seed), on one test set.

    `labels` names what the group has in common where a study has several groups: {"network": "unet", ...}.
    `cells` holds all its cells, `images` the results of those that are done.
    """

    axis: str
    labels: dict[str, Any]
    cells: pd.DataFrame
    images: pd.DataFrame

    @property
    def name(self) -> str:
        """'network = unet, rain = medium'; empty where the study has one group only."""
        return describe(self.labels)

    @property
    def own_labels(self) -> dict[str, Any]:
        """What its networks have in common, whatever they were tested on."""
        return self.without(TEST_SET)

    def without(self, *axes: str) -> dict[str, Any]:
        """The labels but for those of some axes: what it shares with groups that differ in these only."""
        return {key: value for key, value in self.labels.items() if key not in axes}

    @property
    def test_set(self) -> str:
        """Name of its test set; empty where there are no results."""
        return str(self.images["test_set"].iloc[0]) if len(self.images) else ""

    @cached_property
    def values(self) -> list[Any]:
        """All values of the main axis, done or not: numbers sorted, names in the study's order."""
        return in_order(self.cells[self.axis])

    @cached_property
    def done(self) -> list[Any]:
        """Those values for which there are results."""
        present = set(self.images[self.axis].map(plain))
        return [value for value in self.values if value in present]

    @cached_property
    def image_names(self) -> list[str]:
        """The test images, in the column order of `table`."""
        return sorted(self.images["image"].astype(str).unique())

    @cached_property
    def sources(self) -> NDArray[Any] | None:
        """(n,) what each test image is drawn again with, in the column order of `table`: its photograph, or the image
        itself where none is recorded; None if none is recorded at all (of another test set there may be)."""
        if "source" not in self.images or self.images["source"].isna().all():
            return None
        named = self.images.drop_duplicates("image").set_index("image")["source"].reindex(self.image_names)
        return np.where(named.isna(), self.image_names, named.astype(str))

    @cached_property
    def units(self) -> tuple[str, ...]:
        """Equal for groups on the same test images: of one test set, or over the same backgrounds by their content.

        Images of two test sets that only have the same names are not the same.
        """
        return (*self.image_names, "", *((self.test_set,) if self.sources is None else self.sources))

    @cached_property
    def _places(self) -> dict[Any, tuple[Rows, Rows, Rows]]:
        """Axis value -> where each of its results stands: row in `images`, cell (0 .. S - 1), image (0 .. n - 1)."""
        images = np.searchsorted(self.image_names, self.images["image"].astype(str).to_numpy(dtype=str))
        found = {}
        for value, rows in self.images.reset_index(drop=True).groupby(self.axis, sort=False, observed=True):
            at = rows.index.to_numpy()
            found[plain(value)] = (at, pd.factorize(rows["cell"])[0], images[at])
        return found

    def table(self, value: Any, measure: str) -> NDArray[np.float64]:
        """(S, n) values of `measure` of the S cells at this value of the main axis; NaN where there is none.

        The n columns are the test images of the whole group, so tables of two values pair up column by column.
        """
        if value not in self._places:
            return np.full((1, len(self.image_names)), np.nan)
        at, cells, images = self._places[value]
        table = np.full((cells.max() + 1, len(self.image_names)), np.nan)
        results = self._results(measure)
        if results is not None:
            table[cells, images] = results[at]
        return table

    def _results(self, measure: str) -> NDArray[np.float64] | None:
        """A measure of all images, ready for averaging; None where the record does not have it."""
        if measure == REMOVED:
            share, oracle = self._results("removal_share"), self._results("e_r_oracle")
            return None if share is None or oracle is None else share * oracle
        return for_averaging(measure, self.images[measure]) if measure in self.images else None

    def level(self, value: Any, measure: str) -> Interval:
        """Mean of `measure` at one value of the main axis."""
        return mean_interval(self.table(value, measure), self.sources)

    def change(self, start: Any, end: Any, measure: str) -> Interval:
        """Paired change of `measure` from `start` to `end`, over the same images; positive where it rises."""
        return difference_interval(self.table(end, measure), self.table(start, measure), self.sources)


Point = tuple[Group, Any, str]
"""A group, a value of its main axis, a measure."""


def means_at(points: Sequence[Point]) -> Joint:
    """The means at several points, in their order, with joint resamples.

    Points that were tested on the same images are resampled together, so that whatever is compared is paired: an image
    that misses a value at one of them is left out of all. Points on other images are resampled independently of them.
    """
    blocks: dict[tuple[str, ...], list[int]] = {}
    for number, (group, _, _) in enumerate(points):
        blocks.setdefault(group.units, []).append(number)
    parts = []
    for block, members in enumerate(blocks.values()):
        tables = [points[number][0].table(*points[number][1:]) for number in members]
        parts.append(joint_means(tables, points[members[0]][0].sources, block))
    joint = reduce(Joint.beside, parts)
    order = np.argsort([number for members in blocks.values() for number in members])
    return replace(joint, means=joint.means[order], draws=joint.draws[:, order])


def describe(labels: dict[str, Any]) -> str:
    """'network = unet, rain = medium'; empty for no labels."""
    return ", ".join(f"{key} = {value}" for key, value in labels.items())


def groups(frames: Frames) -> list[Group]:
    """The groups of a study, one for each combination of its other axes and each test set."""
    axis = frames.study.axis
    others = other_axes(frames)
    combinations = frames.cells[others].drop_duplicates().to_dict("records") if others else [{}]
    test_sets = list(frames.images["test_set"].unique()) if len(frames.images) else [None]
    found = []
    for row in combinations:
        labels = {str(key): plain(value) for key, value in row.items()}
        cells, images = where(frames.cells, labels), where(frames.images, labels)
        for test_set in test_sets:
            here = images if test_set is None else images[images["test_set"] == test_set]
            named = labels | ({TEST_SET: test_set} if len(test_sets) > 1 else {})
            found.append(Group(axis, named, cells, here))
    return found


Together = tuple[dict[str, Any], list[Group]]
"""Labels, and the groups that have them in common."""


def together(found: Iterable[Group], common: Callable[[Group], dict[str, Any]]) -> list[Together]:
    """The groups by the labels that `common` takes of them, in the order of the first of each."""
    by_labels: dict[str, Together] = {}
    for group in found:
        labels = common(group)
        by_labels.setdefault(str(labels), (labels, []))[1].append(group)
    return list(by_labels.values())


def by_test_set(found: Iterable[Group]) -> list[Together]:
    """The groups of each test set, with its label where there are several."""
    return together(found, lambda group: {key: label for key, label in group.labels.items() if key == TEST_SET})


def other_axes(frames: Frames) -> list[str]:
    """The axes in which cells differ, besides the main one and the seed."""
    axes = [axis for axis in frames.study.axes if axis not in (frames.study.axis, SEED)]
    return [axis for axis in axes if frames.cells[axis].nunique(dropna=False) > 1]


def in_order(values: Iterable[Any]) -> list[Any]:
    """The distinct axis values as plain Python values: numbers sorted, names as they come."""
    distinct = list(dict.fromkeys(plain(value) for value in values))
    return sorted(distinct) if all(is_number(value) for value in distinct) else distinct


def ranked(values: Iterable[Any]) -> list[Any] | None:
    """The distinct values from least to most: numbers, or the sizes small, medium, large; None for other names."""
    distinct = in_order(values)
    if all(is_number(value) for value in distinct):
        return distinct
    return sorted(distinct, key=SIZES.index) if set(distinct) <= set(SIZES) else None


def is_number(value: Any) -> bool:
    """Whether an axis value is a number (True and False are names)."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def where(frame: pd.DataFrame, labels: dict[str, Any]) -> pd.DataFrame:
    """The rows of a frame that have these labels; NaN is the label of those that lack one."""
    for axis, value in labels.items():
        frame = frame[frame[axis].isna() if pd.isna(value) else frame[axis] == value]
    return frame


def plain(value: Any) -> Any:
    """A Python value from a frame: 8 from numpy's int64 or from the 8.0 of a column with gaps, NaN for any gap."""
    if value is None or value is pd.NA:
        return np.nan
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, float) and value.is_integer() else value
