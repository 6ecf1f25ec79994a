"""The paper's practical advice as a tool: which rain range and how many backgrounds balance removal and damage best.

Every pair of rain range and patch count of a study is a point: what it gains (E_R, or the removal share) against
what it costs (E_B). The rule that recommends one of them (`pareto`) is ours and goes by the removal share, since
E_R also rises with damage. Means are noisy, so front and rule are applied anew in each bootstrap resample of the
test images (and of the training seeds).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import Group, groups, is_number, ranked
from slackoff.analysis.pareto import non_dominated, recommend
from slackoff.analysis.statistics import Array, Interval, Joint, difference_interval, joint_means, mean_interval
from slackoff.analysis.wording import at
from slackoff.errors import SlackoffError

RAIN, COUNT = "rain", "patch_count"
GAINS = ("e_r", "removal_share")
COST = "e_b"
MARGIN = 3.0
"""Grey levels of E_B above the lowest that the rule accepts, about 1 % of the range 0 .. 255: our choice. The option
`balance_margin` in study.json sets another."""

_FEWEST_COUNTS = 6
_POINT = "point"


@dataclass(frozen=True)
class Point:
    """A rain range (None where a study has one only) and a patch count, with the results of its networks.

    `levels`: E_R, removal share and E_B over the test images that have all three at every point. `beyond_oracle`: by
    how much E_R exceeds that of the perfect output, paired over the images; what is clearly above 0 is not rain.
    """

    rain: Any
    patch_count: Any
    seeds: int
    levels: dict[str, Interval]
    e_r_oracle: float
    beyond_oracle: Interval

    @property
    def name(self) -> str:
        return pair_name(self.rain, self.patch_count)


@dataclass(frozen=True)
class Front:
    """The front by one measure of gain, and the number of the point that the rule recommends by it.

    Per point: `members` whether it is on the front of the means, `member_shares` and `recommended_shares` the
    shares of resamples in which it is on the front, or recommended (NaN with fewer than two images).
    """

    members: list[bool]
    member_shares: list[float]
    recommended: int
    recommended_shares: list[float]


@dataclass(frozen=True)
class Balance:
    """The points of a study that differ in rain range and patch count only, on one test set.

    `labels` names what they have in common; `fronts` has one `Front` for each of GAINS; `margin` is in grey levels;
    `absent` names the pairs without results.
    """

    labels: dict[str, Any]
    points: list[Point]
    fronts: dict[str, Front]
    margin: float
    absent: list[str]

    def on_front(self, gain: str) -> list[Point]:
        """The points on the front by `gain`, one of GAINS."""
        return [point for point, member in zip(self.points, self.fronts[gain].members, strict=True) if member]

    @property
    def recommended(self) -> Point:
        """What the rule names by the removal share."""
        return self.points[self.fronts["removal_share"].recommended]


def pair_name(rain: Any, patch_count: Any) -> str:
    """'large, N = 256'."""
    return f"{'' if rain is None else f'{rain}, '}{at(COUNT, patch_count)}"


def balances(frames: Frames) -> list[Balance]:
    """One balance for each combination of a study's other axes and each test set.

    None where the main axis is neither of the two, or there is too little to balance: it takes two rain ranges and two
    counts, or six counts, and results at two points. Raises SlackoffError when the margin in study.json is not a
    number of at least 0.
    """
    if (
        frames.study.axis not in (COUNT, RAIN)
        or COUNT not in frames.study.axes
        or not all(map(is_number, frames.cells[COUNT]))
    ):
        return []
    margin = _margin(frames)
    made = [_balance(labels, members, margin) for labels, members in _together(frames)]
    return [balance for balance in made if balance is not None]


def balance_table(found: Sequence[Balance]) -> pd.DataFrame:
    """All points: labels, rain, patch_count, seeds, E_R, removal share and E_B with intervals, the oracle E_R, and
    for each measure of gain whether the point is on the front and recommended, each with its share of resamples."""
    rows = []
    for balance in found:
        for number, point in enumerate(balance.points):
            row: dict[str, Any] = dict(balance.labels)
            row |= {} if point.rain is None else {RAIN: point.rain}
            row |= {COUNT: point.patch_count, "seeds": point.seeds}
            for measure, level in point.levels.items():
                row |= {measure: level.mean, f"{measure}_low": level.low, f"{measure}_high": level.high}
            row["e_r_oracle"] = point.e_r_oracle
            for gain, front in balance.fronts.items():
                row[f"front_by_{gain}"] = front.members[number]
                row[f"front_by_{gain}_resamples"] = front.member_shares[number]
                row[f"recommended_by_{gain}"] = number == front.recommended
                row[f"recommended_by_{gain}_resamples"] = front.recommended_shares[number]
            rows.append(row)
    return pd.DataFrame(rows)


def _margin(frames: Frames) -> float:
    margin = frames.study.options.get("balance_margin", MARGIN)
    if not is_number(margin) or not margin >= 0:
        raise SlackoffError(
            f"{frames.study.folder / 'study.json'}: options.balance_margin must be a number of grey levels of at "
            f"least 0, and is {margin!r}: correct study.options.balance_margin and run the study's command again."
        )
    return float(margin)


def _together(frames: Frames) -> Iterator[tuple[dict[str, Any], list[Group]]]:
    """The groups along the patch count that differ in nothing but their rain range, with what they share."""
    along_count = replace(frames, study=replace(frames.study, axis=COUNT))
    found: dict[str, tuple[dict[str, Any], list[Group]]] = {}
    for group in groups(along_count):
        labels = {key: value for key, value in group.labels.items() if key != RAIN}
        found.setdefault(str(labels), (labels, []))[1].append(group)
    yield from found.values()


def _balance(labels: dict[str, Any], members: list[Group], margin: float) -> Balance | None:
    if len({count for group in members for count in group.values}) < (2 if len(members) > 1 else _FEWEST_COUNTS):
        return None
    pairs, merged = _merged(labels, members)
    done, joints = _means(merged, len(pairs))
    if len(done) < 2 or not joints[COST].images:
        return None
    points = []
    for place, number in enumerate(done):
        levels = {measure: joint.interval(_only(place)) for measure, joint in joints.items()}
        e_r, oracle = merged.table(number, "e_r"), merged.table(number, "e_r_oracle")
        beyond = difference_interval(e_r, oracle, merged.sources)
        points.append(Point(*pairs[number], len(e_r), levels, mean_interval(oracle).mean, beyond))
    absent = [pair_name(*pair) for number, pair in enumerate(pairs) if number not in done]
    fronts = {gain: _front(joints[gain], joints[COST], margin) for gain in GAINS}
    return Balance(labels, points, fronts, margin, absent)


def _merged(labels: dict[str, Any], members: list[Group]) -> tuple[list[tuple[Any, Any]], Group]:
    """The pairs of rain range and count in their order, and all cells as one group along the numbers of the pairs."""
    rains = [group.labels.get(RAIN) for group in members]
    order = rains if None in rains else ranked(rains) or rains
    members = sorted(members, key=lambda group: order.index(group.labels.get(RAIN)))
    pairs = [(group.labels.get(RAIN), count) for group in members for count in group.values]
    cells, images = [], []
    for group in members:
        number = {count: pairs.index((group.labels.get(RAIN), count)) for count in group.values}
        cells.append(group.cells.assign(**{_POINT: group.cells[COUNT].map(number)}))
        images.append(group.images.assign(**{_POINT: group.images[COUNT].map(number)}))
    return pairs, Group(_POINT, labels, pd.concat(cells), pd.concat(images))


def _means(merged: Group, count: int) -> tuple[list[int], dict[str, Joint]]:
    """The points that have results, and the means of each measure there, resampled together over the same images."""
    measures = (*GAINS, COST)
    tables = {name: [merged.table(number, name) for number in range(count)] for name in measures}
    done = [number for number in range(count) if all(np.isfinite(tables[name][number]).any() for name in measures)]
    there = [np.isfinite(tables[name][number]).all(axis=0) for name in measures for number in done]
    if not there:
        return [], {}
    complete = np.all(there, axis=0)
    kept = {name: [np.where(complete, tables[name][number], np.nan) for number in done] for name in measures}
    return done, {name: joint_means(kept[name], merged.sources) for name in measures}


def _only(place: int) -> Callable[[Array], Array]:
    return lambda means: means[..., place]


def _front(gain: Joint, cost: Joint, margin: float) -> Front:
    members = non_dominated(gain.means, cost.means).tolist()
    recommended = int(recommend(gain.means, cost.means, margin))
    if gain.units < 2:
        return Front(members, [np.nan] * len(members), recommended, [np.nan] * len(members))
    member_shares = non_dominated(gain.draws, cost.draws).mean(axis=0).tolist()
    named = np.bincount(recommend(gain.draws, cost.draws, margin), minlength=len(members))
    return Front(members, member_shares, recommended, (named / named.sum()).tolist())
