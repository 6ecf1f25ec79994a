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
    bars,
    colours,
    draw_level,
    house_style,
    label_points,
    legend_name,
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


@dataclass(frozen=True, eq=False)
class Balance:
    """The pairs of rain range and patch count of a study that differ in nothing else, on one test set.

    `labels` names what they have in common; `margin` is in grey levels; `absent` names the pairs without results; `few`
    says why nothing is decided where there are too few images, else it is empty.

    `points` has a row per pair with results. Columns: `name`; `rain` (None where a study has one range only);
    `patch_count`; `seeds`, the number of its networks; E_R, removal share and E_B as m, m_low, m_high over the test
    images that have all three at every point; `e_r_oracle`; `beyond_oracle`, whether E_R clearly exceeds that of the
    perfect output, paired over the images, which cannot be rain; and for each g of GAINS `front_by_g` and
    `recommended_by_g`, whether the point is on the front of the means, and recommended, each with `_resamples`, the
    share of resamples in which it is (NaN with fewer than two images).
    """

    labels: dict[str, Any]
    points: pd.DataFrame
    margin: float
    absent: list[str]
    few: str = ""

    def recommended(self, gain: str = "removal_share") -> pd.Series:
        """The point that the rule names by one of GAINS."""
        return self.points[self.points[f"recommended_by_{gain}"]].iloc[0]


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
    if not margin >= 0:
        raise SlackoffError(
            f"{frames.study.folder / 'study.json'}: options.balance_margin must be a number of grey levels of at "
            f"least 0, and is {margin!r}: correct study.options.balance_margin and run the study's command again."
        )
    along_counts = groups(replace(frames, study=replace(frames.study, axis=COUNT)))
    found = together(along_counts, lambda group: group.without(RAIN))
    made = [_balance(labels, members, float(margin)) for labels, members in found]
    return [balance for balance in made if balance is not None]


def balance_table(found: Sequence[Balance]) -> pd.DataFrame:
    """All points with their labels: the columns of `Balance.points` but for `name`, `beyond_oracle` and a rain that is
    None."""
    tables = []
    for balance in found:
        without_rain = [RAIN] if balance.points[RAIN].isna().all() else []
        points = balance.points.drop(columns=["name", "beyond_oracle", *without_rain])
        for place, (label, value) in enumerate(balance.labels.items()):
            points.insert(place, label, value)
        tables.append(points)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _balance(labels: dict[str, Any], members: list[Group], margin: float) -> Balance | None:
    """The balance of groups along the patch count that differ in nothing but their rain range, and share `labels`."""
    if len({count for group in members for count in group.values}) < (2 if len(members) > 1 else _FEWEST_COUNTS):
        return None
    pairs, merged = _merged(labels, members)
    done, joints = _means(merged, len(pairs))
    if len(done) < 2 or not joints[COST].images:
        return None
    rows = []
    for place, number_of in enumerate(done):
        e_r, oracle = merged.table(number_of, "e_r"), merged.table(number_of, "e_r_oracle")
        rain, count = pairs[number_of]
        row: dict[str, Any] = {"name": pair_name(rain, count), RAIN: rain, COUNT: count, "seeds": len(e_r)}
        for measure, joint in joints.items():
            row |= interval_columns(measure, joint.interval(itemgetter((..., place))))
        beyond = difference_interval(e_r, oracle, merged.sources).sign > 0
        rows.append(row | {"e_r_oracle": mean_interval(oracle).mean, "beyond_oracle": beyond})
    points, cost = pd.DataFrame(rows), joints[COST]
    for gain in GAINS:
        points = points.assign(**_front(gain, joints[gain], cost, margin))
    absent = [pair_name(*pair) for number_of, pair in enumerate(pairs) if number_of not in done]
    return Balance(labels, points, margin, absent, too_few(cost) if cost.units < MIN_UNITS else "")


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


def _front(name: str, gain: Joint, cost: Joint, margin: float) -> dict[str, Any]:
    """The columns on the front by one measure of gain, and on what the rule recommends by it."""
    places = np.arange(len(gain.means))
    shares = {"front": np.full(len(places), np.nan), "recommended": np.full(len(places), np.nan)}
    if gain.units >= 2:
        shares["front"] = non_dominated(gain.draws, cost.draws).mean(axis=0)
        shares["recommended"] = (recommend(gain.draws, cost.draws, margin)[:, None] == places).mean(axis=0)
    return {
        f"front_by_{name}": non_dominated(gain.means, cost.means),
        f"front_by_{name}_resamples": shares["front"],
        f"recommended_by_{name}": recommend(gain.means, cost.means, margin) == places,
        f"recommended_by_{name}_resamples": shares["recommended"],
    }


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
        rains = list(balance.points[RAIN].unique())
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
    points = balance.points
    spread = np.stack([bars(points, COST), bars(points, gain)])
    for place, (_, point) in enumerate(points.iterrows()):
        colour, (x, y) = palette[point[RAIN]], point[[COST, gain]]
        xerr, yerr = spread[:, :, [place]]
        ax.errorbar(x, y, xerr=xerr, yerr=yerr, color=colour, alpha=0.45, elinewidth=1, zorder=2)
        share = point[f"front_by_{gain}_resamples"]
        share = 0.5 if np.isnan(share) else share  # nothing could be resampled
        face = tuple(1 - share * (1 - part) for part in to_rgb(colour))  # white: never on the front
        ax.plot(x, y, "o", color=colour, markerfacecolor=face, markersize=7, zorder=3)
    for rain, of_rain in points.groupby(RAIN, sort=False, dropna=False):
        colour = palette[None if pd.isna(rain) else rain]
        ax.plot(of_rain[COST], of_rain[gain], color=colour, linewidth=1, alpha=0.35, zorder=1.2)
    on = points[points[f"front_by_{gain}"]].sort_values([COST, gain])
    ax.step(on[COST], on[gain], where="post", color=INK, linewidth=1.1, zorder=1.5, gid=FRONT_ID)
    best = balance.recommended()
    ring: dict[str, Any] = {"markersize": 15, "fillstyle": "none", "color": INK, "markeredgewidth": 1.4}
    ax.plot(best[COST], best[gain], "o", zorder=4, gid=RING_ID, **ring)
    ax.margins(0.1)
    ax.grid(True, axis="both")
    oracle, (low, high) = best["e_r_oracle"], ax.get_ylim()
    if gain == "e_r" and low <= oracle <= high + 0.3 * (high - low):  # what lies above is not rain alone
        draw_level(ax, oracle)
        write_right(ax, f"oracle\n{number(oracle, 1)}", oracle, QUIET)
    ax.set_title(f"{TITLES[gain]}, against its price")
    ax.set_xlabel("$E_B$: error outside the rain (grey levels), further left is better")
    ax.set_ylabel(COLUMNS[gain].unit or "removal share, higher is better")


def _label(ax: Axes, balance: Balance, gain: str, palette: dict[Any, Any]) -> None:
    """N beside each point; those on the front and the recommended first, since texts without room are left out."""
    points = balance.points.sort_values(
        ["recommended_by_removal_share", f"front_by_{gain}"], ascending=False, kind="stable"
    )
    texts = [(point[COST], point[gain], str(point[COUNT]), palette[point[RAIN]]) for _, point in points.iterrows()]
    ends = [(f"{COST}_low", gain), (f"{COST}_high", gain), (COST, f"{gain}_low"), (COST, f"{gain}_high")]
    covered = [point for columns in ends for point in points[list(columns)].dropna().itertuples(index=False, name=None)]
    label_points(ax, texts, covered, distances=(7, 10))


def _legend(balance: Balance, palette: dict[Any, Any]) -> list[Line2D]:
    handles = [
        Line2D([], [], color=colour, marker="o", linestyle="", markersize=7, label=legend_name(str(rain)))
        for rain, colour in palette.items()
        if rain is not None
    ]
    empty: dict[str, Any] = {"linestyle": "", "color": INK, "fillstyle": "none"}
    return [
        *handles,
        Line2D([], [], color=INK, linewidth=1.1, label="Pareto front"),
        Line2D([], [], marker="o", markersize=7, label="fill: share of resamples on the front", **empty),
        Line2D([], [], marker="o", markersize=13, label=f"recommended: {balance.recommended()['name']}", **empty),
    ]


_RUNNER_UP = 0.1
"""Points that the rule names in at least this share of the resamples are told."""


def describe_balance(balance: Balance) -> list[str]:
    """Sentences on one balance, the recommendation first; each is a paragraph of the report."""
    point = balance.recommended()
    numbers = (
        f"removal share {_level(point, 'removal_share', first=True)}, E_B {_level(point, COST, first=True)}, "
        f"E_R {_level(point, 'e_r')} with an oracle of {number(point['e_r_oracle'], 1)}"
    )
    first = f"Recommended: {point['name']}. It has {numbers}."
    if balance.few:
        first = f"The rule names {point['name']}: {numbers}. {balance.few}"
    absent = f"Not in the balance, for want of results: {listing(balance.absent)}." if balance.absent else ""
    return [first, _rule(balance), _by_e_r(balance), *filter(None, [absent])]


def _level(point: pd.Series, measure: str, first: bool = False) -> str:
    mean, low, high = point[[measure, f"{measure}_low", f"{measure}_high"]]
    return amount(Interval(mean, low, high), measure, first)


def _rule(balance: Balance) -> str:
    """The rule with its numbers, and how often it names the same pair when the images are drawn anew."""
    points, point = balance.points, balance.recommended()
    cheapest = points.loc[points[COST].idxmin()]
    rule = (
        f"The rule is ours: among the pairs whose E_B is at most {balance.margin:g} grey levels above the lowest "
        f"({number(cheapest[COST], 1)} at {cheapest['name']}), the one with the greatest removal share."
    )
    shares = points.set_index("name")["recommended_by_removal_share_resamples"]
    if np.isnan(shares[point["name"]]):
        return rule
    others = shares.drop(point["name"])
    named = [f"{name} in {percent(share, 0)}" for name, share in others[others >= _RUNNER_UP].items()]
    also = f"; {listing(named)}" if named else ""
    return f"{rule} It names this pair in {percent(shares[point['name']], 0)} of the bootstrap resamples{also}."


def _by_e_r(balance: Balance) -> str:
    """What the rule would name by E_R, and where that cannot be rain removal."""
    by_e_r, words = balance.recommended("e_r"), "By E_R the rule names the same pair."
    if by_e_r["name"] != balance.recommended()["name"]:
        share, e_b = number(by_e_r["removal_share"], 2), number(by_e_r[COST], 1)
        words = f"By E_R the rule would name {by_e_r['name']} instead (removal share {share}, E_B {e_b})."
    beyond = balance.points[balance.points["front_by_e_r"] & balance.points["beyond_oracle"]]
    if len(beyond):
        names = listing(list(beyond["name"]))
        words += f" E_R clearly exceeds its oracle at {names}: that cannot be rain removal alone."
    return words
