"""The paper's practical advice as a tool: which rain range and how many backgrounds balance removal and damage best.

Every pair of rain range and patch count of a study is a point: what it gains (E_R, or the removal share) against what
it costs (E_B). The rule that recommends one of them (`statistics.recommend`) is ours and goes by the removal share,
since E_R also rises with damage. Means are noisy, so front and rule are applied anew in each bootstrap resample of
the test images (and of the training seeds).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from slackoff.analysis.axes import (
    INK,
    QUIET,
    TITLES,
    colours,
    draw_level,
    house_style,
    label_points,
    new_figure,
    ordered_colours,
    write_right,
)
from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import Group, groups, is_number, ranked, together
from slackoff.analysis.statistics import (
    MIN_UNITS,
    Interval,
    Joint,
    difference_interval,
    joint_means,
    mean_interval,
    non_dominated,
    recommend,
)
from slackoff.analysis.tables import interval_columns
from slackoff.analysis.text import amount, at, listing, number, percent, too_few
from slackoff.errors import SlackoffError
from slackoff.metrics.columns import COLUMNS

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
    counted = frames.study.axis in (COUNT, RAIN) and COUNT in frames.study.axes
    if not counted or not all(map(is_number, frames.cells[COUNT])):
        return []
    margin = frames.study.options.get("balance_margin", MARGIN)
    if not is_number(margin) or not margin >= 0:
        raise SlackoffError(
            f"{frames.study.folder / 'study.json'}: options.balance_margin must be a number of grey levels of at "
            f"least 0, and is {margin!r}: correct study.options.balance_margin and run the study's command again."
        )
    along_counts = groups(replace(frames, study=replace(frames.study, axis=COUNT)))
    found = together(along_counts, lambda group: group.without(RAIN))
    made = [_balance(labels, members, float(margin)) for labels, members in found]
    return [balance for balance in made if balance is not None]


def balance_table(found: Sequence[Balance]) -> pd.DataFrame:
    """All points: labels, rain, patch_count, seeds, E_R, removal share and E_B with intervals, the oracle E_R, and
    for each measure of gain whether the point is on the front and recommended, each with its share of resamples."""
    rows = []
    for balance in found:
        for place, point in enumerate(balance.points):
            row = balance.labels | ({} if point.rain is None else {RAIN: point.rain})
            row |= {COUNT: point.patch_count, "seeds": point.seeds}
            for measure, level in point.levels.items():
                row |= interval_columns(measure, level)
            row["e_r_oracle"] = point.e_r_oracle
            for gain, front in balance.fronts.items():
                row[f"front_by_{gain}"] = front.members[place]
                row[f"front_by_{gain}_resamples"] = front.member_shares[place]
                row[f"recommended_by_{gain}"] = place == front.recommended
                row[f"recommended_by_{gain}_resamples"] = front.recommended_shares[place]
            rows.append(row)
    return pd.DataFrame(rows)


def _balance(labels: dict[str, Any], members: list[Group], margin: float) -> Balance | None:
    """The balance of groups along the patch count that differ in nothing but their rain range, and share `labels`."""
    if len({count for group in members for count in group.values}) < (2 if len(members) > 1 else _FEWEST_COUNTS):
        return None
    pairs, merged = _merged(labels, members)
    done, joints = _means(merged, len(pairs))
    if len(done) < 2 or not joints[COST].images:
        return None
    points = []
    for place, pair in enumerate(done):
        levels = {measure: joint.interval(itemgetter((..., place))) for measure, joint in joints.items()}
        e_r, oracle = merged.table(pair, "e_r"), merged.table(pair, "e_r_oracle")
        beyond = difference_interval(e_r, oracle, merged.sources)
        points.append(Point(*pairs[pair], len(e_r), levels, mean_interval(oracle).mean, beyond))
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


def _front(gain: Joint, cost: Joint, margin: float) -> Front:
    members = non_dominated(gain.means, cost.means).tolist()
    recommended = int(recommend(gain.means, cost.means, margin))
    if gain.units < 2:
        return Front(members, [np.nan] * len(members), recommended, [np.nan] * len(members))
    member_shares = non_dominated(gain.draws, cost.draws).mean(axis=0).tolist()
    named = np.bincount(recommend(gain.draws, cost.draws, margin), minlength=len(members))
    return Front(members, member_shares, recommended, (named / named.sum()).tolist())


FRONT_ID = "front"
"""gid of the step line of the front."""

RING_ID = "recommended"
"""gid of the ring around what the rule recommends."""


def balance_figure(balance: Balance) -> Figure:
    """E_R and the removal share against E_B, one point per rain range and count, with 95 % intervals.

    The colour is the rain range, the text N. A point is the more filled, the more often it is on the front when the
    test images are drawn anew; the step line is the front of the means, and the ring marks what the rule recommends
    by the removal share.
    """
    with house_style():
        figure = new_figure(11.5, 5.4, h_pad=0.08)
        axes = figure.subplots(1, len(GAINS))
        rains = list(dict.fromkeys(point.rain for point in balance.points))
        shades = ordered_colours(len(rains)) if ranked(rains) else colours(len(rains))
        palette = dict(zip(rains, shades, strict=True))
        for ax, gain in zip(axes, GAINS, strict=True):
            _draw(ax, balance, gain, palette)
        handles = _legend(balance, palette)
        figure.legend(handles=handles, loc="outside lower center", ncols=6, frameon=False, fontsize=9)
        figure.draw_without_rendering()
        for ax, gain in zip(axes, GAINS, strict=True):
            _label(ax, balance, gain, palette)
    return figure


def _draw(ax: Axes, balance: Balance, gain: str, palette: dict[Any, Any]) -> None:
    for point, share in zip(balance.points, balance.fronts[gain].member_shares, strict=True):
        x, y, colour = point.levels[COST], point.levels[gain], palette[point.rain]
        ax.errorbar(
            x.mean,
            y.mean,
            xerr=[[x.mean - x.low], [x.high - x.mean]],
            yerr=[[y.mean - y.low], [y.high - y.mean]],
            color=colour,
            alpha=0.45,
            elinewidth=1,
            zorder=2,
        )
        share = 0.5 if np.isnan(share) else share  # nothing could be resampled
        face = tuple(1 - share * (1 - part) for part in to_rgb(colour))  # white: never on the front
        ax.plot(x.mean, y.mean, "o", color=colour, markerfacecolor=face, markersize=7, zorder=3)
    for rain, colour in palette.items():
        levels = [point.levels for point in balance.points if point.rain == rain]
        costs, gains = ([level[measure].mean for level in levels] for measure in (COST, gain))
        ax.plot(costs, gains, color=colour, linewidth=1, alpha=0.35, zorder=1.2)
    on = sorted((point.levels[COST].mean, point.levels[gain].mean) for point in balance.on_front(gain))
    ax.step(*zip(*on, strict=True), where="post", color=INK, linewidth=1.1, zorder=1.5, gid=FRONT_ID)
    best = balance.recommended.levels
    ring: dict[str, Any] = {"markersize": 15, "fillstyle": "none", "color": INK, "markeredgewidth": 1.4}
    ax.plot(best[COST].mean, best[gain].mean, "o", zorder=4, gid=RING_ID, **ring)
    ax.margins(0.1)
    ax.grid(True, axis="both")
    oracle, (low, high) = balance.recommended.e_r_oracle, ax.get_ylim()
    if gain == "e_r" and low <= oracle <= high + 0.3 * (high - low):  # what lies above is not rain alone
        draw_level(ax, oracle)
        write_right(ax, f"oracle\n{number(oracle, 1)}", oracle, QUIET)
    ax.set_title(f"{TITLES[gain]}, against its price")
    ax.set_xlabel("$E_B$: error outside the rain (grey levels), further left is better")
    ax.set_ylabel(COLUMNS[gain].unit or "removal share, higher is better")


def _label(ax: Axes, balance: Balance, gain: str, palette: dict[Any, Any]) -> None:
    """N beside each point; those on the front and the recommended first, since texts without room are left out."""
    on_front = balance.on_front(gain)
    points = sorted(balance.points, key=lambda point: (point is not balance.recommended, point not in on_front))
    texts = [(p.levels[COST].mean, p.levels[gain].mean, str(p.patch_count), palette[p.rain]) for p in points]
    covered = []  # by the ends of the intervals
    for point in balance.points:
        x, y = point.levels[COST], point.levels[gain]
        if not np.isnan(x.low):
            covered += [(x.low, y.mean), (x.high, y.mean), (x.mean, y.low), (x.mean, y.high)]
    label_points(ax, texts, covered, distances=(7, 10))


def _legend(balance: Balance, palette: dict[Any, Any]) -> list[Line2D]:
    handles = [
        Line2D([], [], color=colour, marker="o", linestyle="", markersize=7, label=str(rain))
        for rain, colour in palette.items()
        if rain is not None
    ]
    empty: dict[str, Any] = {"linestyle": "", "color": INK, "fillstyle": "none"}
    return [
        *handles,
        Line2D([], [], color=INK, linewidth=1.1, label="Pareto front"),
        Line2D([], [], marker="o", markersize=7, label="fill: share of resamples on the front", **empty),
        Line2D([], [], marker="o", markersize=13, label=f"recommended: {balance.recommended.name}", **empty),
    ]


_RUNNER_UP = 0.1
"""Points that the rule names in at least this share of the resamples are told."""


def describe_balance(balance: Balance) -> list[str]:
    """Sentences on one balance, the recommendation first; each is a paragraph of the report."""
    point = balance.recommended
    numbers = (
        f"removal share {amount(point.levels['removal_share'], 'removal_share', first=True)}, "
        f"E_B {amount(point.levels[COST], COST, first=True)}, "
        f"E_R {amount(point.levels['e_r'], 'e_r')} with an oracle of {number(point.e_r_oracle, 1)}"
    )
    first = f"Recommended: {point.name}. It has {numbers}."
    if point.levels[COST].units < MIN_UNITS:
        first = f"The rule names {point.name}: {numbers}. {too_few(point.levels[COST])}"
    absent = f"Not in the balance, for want of results: {listing(balance.absent)}." if balance.absent else ""
    return [first, _rule(balance), _by_e_r(balance), *filter(None, [absent])]


def _rule(balance: Balance) -> str:
    """The rule with its numbers, and how often it names the same pair when the images are drawn anew."""
    cheapest = min(balance.points, key=lambda point: point.levels[COST].mean)
    front = balance.fronts["removal_share"]
    rule = (
        f"The rule is ours: among the pairs whose E_B is at most {balance.margin:g} grey levels above the lowest "
        f"({number(cheapest.levels[COST].mean, 1)} at {cheapest.name}), the one with the greatest removal share."
    )
    shares = front.recommended_shares
    if np.isnan(shares[front.recommended]):
        return rule
    others = [
        f"{point.name} in {percent(share, 0)}"
        for place, (point, share) in enumerate(zip(balance.points, shares, strict=True))
        if place != front.recommended and share >= _RUNNER_UP
    ]
    also = f"; {listing(others)}" if others else ""
    return f"{rule} It names this pair in {percent(shares[front.recommended], 0)} of the bootstrap resamples{also}."


def _by_e_r(balance: Balance) -> str:
    """What the rule would name by E_R, and where that cannot be rain removal."""
    by_e_r, words = balance.points[balance.fronts["e_r"].recommended], "By E_R the rule names the same pair."
    if by_e_r is not balance.recommended:
        share, e_b = by_e_r.levels["removal_share"].mean, by_e_r.levels[COST].mean
        words = f"By E_R the rule would name {by_e_r.name} instead (removal share {number(share, 2)}, "
        words += f"E_B {number(e_b, 1)})."
    if beyond := [point.name for point in balance.on_front("e_r") if point.beyond_oracle.sign > 0]:
        words += f" E_R clearly exceeds its oracle at {listing(beyond)}: that cannot be rain removal alone."
    return words
