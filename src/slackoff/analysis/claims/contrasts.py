"""Every contrast that is claimed: the rows of contrasts.yaml, by family, and the designs that they name.

Another row is enough for another claim, another family of claims needs its heading too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from slackoff.analysis.claims.claim import (
    Claim,
    Comparison,
    Undecided,
    bounds,
    compared,
    comparisons,
    difference,
    with_scope,
)
from slackoff.analysis.claims.contrast import Contrast, Design, Found, Gap, Gaps, Place, bounds_of, judge, shown
from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import TEST_SET, Group, by_test_set, groups, in_order, means_at
from slackoff.analysis.statistics import Interval, difference_interval
from slackoff.analysis.study import SIZES
from slackoff.analysis.text import amount, at, first_of, flipped, listing, number


def check_contrasts(frames: Frames, family: str) -> list[Claim]:
    """The claims of all rows of a family, for each comparison that a study has."""
    rows = [row for row in CONTRASTS if row.family == family]
    sets = dict.fromkeys(row.test_set for row in rows)
    alike = {test_set: rows[0].design.alike(frames, test_set) for test_set in sets}
    made = []
    for row in rows:
        for comparison in alike[row.test_set]:
            if not row.networks or network(comparison) in row.networks:
                made += _claims_of(row, comparison)
    if rows[0].design.by_topic:
        return made
    order = list(dict.fromkeys(claim.group for claim in made))
    return sorted(made, key=lambda claim: order.index(claim.group))


def _claims_of(row: Contrast, comparison: Comparison) -> list[Claim]:
    claims, members = [judge(row, comparison, measure) for measure in row.measures], list(comparison.groups.values())
    if not row.test_set or members[0].test_set:
        return with_scope(claims, comparison.name, members)
    said, over = f"No network was tested on {row.test_set}.", f"There are no results on {row.test_set}."
    return [replace(claim, sentence=said, scope=over) for claim in claims]


# Variants of a study: values of the main axis, in each group.


def _each_group(frames: Frames, test_set: str) -> list[Comparison]:
    """Each group on its own, of those on a test set; one without results where no network was tested on it."""
    found = [group for group in groups(frames) if not test_set or set(group.images["test_set"]) == {test_set}]
    found = found or [Group(frames.study.axis, {}, frames.cells, frames.images.head(0))]
    return [Comparison("", group.labels, {"": group}) for group in found]


def _variant_gaps(comparison: Comparison, row: Contrast, measure: str) -> Gaps:
    pairs, link = row.pairs(measure), "less" if isinstance(row.measures[measure], float) else "over"
    _decidable(comparison.groups[""], [variant for pair in pairs for variant in pair])
    return [Gap(f"{more} {link} {less}", ("", more), ("", less)) for more, less in pairs]


def _gain_gaps(comparison: Comparison, row: Contrast, measure: str) -> Gaps:
    """Each gain of the first kind less each of the second."""
    assert row.gains is not None
    (kind, first), (_, second) = row.gains.items()
    variants = [pair[end] for gains in (second, first) for end in (1, 0) for pair in gains.values()]
    label = f"{kind} ({{}}) less {{}}" if len(first) > 1 else "{} less {}"
    _decidable(comparison.groups[""], variants)
    return [("", variant) for variant in dict.fromkeys(variants)], [
        Gap(label.format(one, other), ("", more), ("", less), (("", other_more), ("", other_less)))
        for (one, (more, less)), (other, (other_more, other_less)) in product(first.items(), second.items())
    ]


def _decidable(group: Group, variants: Iterable[str]) -> None:
    """Raises Undecided where nothing can be said about these variants."""
    if missing := [variant for variant in dict.fromkeys(variants) if variant not in group.done]:
        raise Undecided(f"There is no result for {listing(missing)}.")
    best = max(group.level(variant, "psnr_rgb").mean for variant in group.done)
    untouched = group.level(group.done[0], "psnr_rgb_input").mean
    if not best > untouched:
        raise Undecided(
            f"No variant gets better than its input (PSNR {best:.2f} dB at the best, input {untouched:.2f} dB): "
            "networks that were trained for so short a time say nothing about it."
        )


def _gains(found: Found) -> dict[str, dict[str, Interval]]:
    """Each kind of gain with its intervals."""
    at_place = {variant: place for place, (_, variant) in enumerate(found.places)}
    return {
        kind: {
            label: found.joint.interval(difference(at_place[more], at_place[less]))
            for label, (more, less) in gains.items()
        }
        for kind, gains in (found.row.gains or {}).items()
    }


def _gain_numbers(found: Found) -> dict[str, Any]:
    told = {kind: bounds_of(gains) for kind, gains in _gains(found).items()}
    return told | {"_less_".join(told): bounds_of(found.gaps)}


def _gains_shown(found: Found) -> dict[str, Any]:
    return {kind: first_of(shown(gains, found.measure), most=5) for kind, gains in _gains(found).items()}


VARIANTS = Design(_each_group, _variant_gaps, by_topic=True)
GAINS = Design(_each_group, _gain_gaps, _gains_shown, _gain_numbers, by_topic=True)


# Groups with something beside those without, at every value of the main axis.


def _beside(by: str, without: Any, named: str, values_named: str) -> Design:
    """Groups beside the one without that agrees in everything else; the names say what is missing where there is none.

    A label that is yes or no goes without saying.
    """

    def alike(frames: Frames, test_set: str) -> list[Comparison]:
        labelled = [group for group in groups(frames) if by in group.labels]
        alone = {str(group.without(by)): group for group in labelled if group.labels[by] == without}
        return [
            Comparison(by, labels if without is False else group.labels, {"without": alone[str(labels)], "with": group})
            for group, labels in ((group, group.without(by)) for group in labelled)
            if group.labels[by] != without and str(labels) in alone
        ] or [Comparison(by, {}, {})]

    def gaps(comparison: Comparison, row: Contrast, measure: str) -> Gaps:
        if not comparison.groups:
            raise Undecided(f"There are no networks with {named} that agree in everything else.")
        values = comparison.common(["with", "without"])
        if not values:
            raise Undecided(f"There is no {values_named} at which both have results.")
        return [Gap(str(value), ("with", value), ("without", value)) for value in values]

    def told(found: Found) -> dict[str, Any]:
        axis = found.comparison.groups["with"].axis
        along = first_of([at(axis, gap) for gap in shown(found.gaps, found.measure)], most=6)
        return {"along": along, "where": at(axis, found.which), by: found.comparison.labels.get(by)}

    return Design(alike, gaps, told, changes=True)


SELF_TRAINING = _beside("self_training", False, "and without self-training", "share")
WEIGHTING = _beside("weighting", "fixed", "fixed and with balanced weights", "number of patches")


# Variants on one test set, or a gain on one less that on another.


def _by_test_set(frames: Frames, test_set: str) -> list[Comparison]:
    """Groups that differ in their test set only, together."""
    return compared((group for group in groups(frames) if len(group.images)), TEST_SET, lambda group: group.test_set)


def _test_set_gaps(comparison: Comparison, row: Contrast, measure: str) -> Gaps:
    assert row.gains is not None
    pairs = [
        ((test_set, more), (test_set, less)) for test_set, gains in row.gains.items() for more, less in gains.values()
    ]
    missing = [
        f"{variant} on {test_set}"
        for pair in pairs
        for test_set, variant in pair
        if test_set not in comparison.groups or variant not in comparison.groups[test_set].done
    ]
    if missing:
        raise Undecided(f"There is no result for {listing(missing)}.")
    if len(pairs) == 1:
        return [Gap("difference", *pairs[0])]
    return [Gap("difference of the gains", *pairs[0], pairs[1])]


def _named_means(found: Found) -> dict[str, float]:
    means = zip(found.places, found.joint.means, strict=True)
    return {f"{variant} on {test_set}": float(mean) for (test_set, variant), mean in means}


TEST_SETS = Design(
    _by_test_set,
    _test_set_gaps,
    lambda found: {"means": listing([f"{place} {mean:.2f}" for place, mean in _named_means(found).items()])},
    lambda found: {"means": _named_means(found), "gap": bounds(found.gaps[found.which])},
)


# The rows of a table of backgrounds and rain ranges, for each network.

BASELINE_RAIN, WIDER_RAIN = "medium", "large"


@dataclass(frozen=True)
class TableRow:
    """A row of the table for one network: its number of backgrounds, its rain range, its results."""

    count: int
    rain: str
    group: Group

    @property
    def name(self) -> str:
        """'64 medium'."""
        return f"{self.count} {self.rain}"

    @property
    def done(self) -> bool:
        """Whether it has results."""
        return self.count in self.group.done

    @property
    def place(self) -> Place:
        """Where its results stand in its comparison."""
        return self.rain, self.count


def table_rows(comparison: Comparison) -> list[TableRow]:
    """The rows of a network, fewest backgrounds first."""
    found = [TableRow(int(count), rain, group) for rain, group in comparison.groups.items() for count in group.values]
    return sorted(found, key=lambda row: (row.count, row.rain))


def baseline(comparison: Comparison) -> TableRow | None:
    """The row with the most backgrounds at medium rain, whether or not it has results."""
    medium = [row for row in table_rows(comparison) if row.rain == BASELINE_RAIN]
    return max(medium, key=lambda row: row.count, default=None)


def network(comparison: Comparison) -> str:
    """The network's name without its size: 'resnet' for resnet_small; empty where cells do not say it."""
    for group in comparison.groups.values():
        if "network" in group.cells:
            return str(group.cells["network"].iloc[0]).split("_")[0]
    return ""


def _untrained(comparison: Comparison) -> str:
    """Why a baseline's rows say nothing about backgrounds and rain; empty if it restores, or has no result.

    A baseline that leaves the pictures worse than it got them has not been trained for long enough to be one.
    """
    base = baseline(comparison)
    if base is None or not base.done:
        return ""
    own, untouched = (base.group.table(base.count, measure) for measure in ("psnr_rgb", "psnr_rgb_input"))
    gap = difference_interval(own, untouched, base.group.sources)
    if gap.sign >= 0:
        return ""
    return (
        f"The baseline ({base.name}) has not learned to restore: its PSNR lies {amount(flipped(gap), 'psnr_rgb')} dB "
        "below that of the untouched input. Train longer."
    )


def _treated(comparison: Comparison, base: TableRow) -> list[TableRow]:
    """The rows with a wider rain range than the baseline, or fewer backgrounds at the same one."""
    return [
        row
        for row in table_rows(comparison)
        if row.done and (row.rain == WIDER_RAIN or (row.rain == BASELINE_RAIN and row.count < base.count))
    ]


def _baseline_gaps(comparison: Comparison, row: Contrast, measure: str) -> Gaps:
    base = baseline(comparison)
    if base is None or not base.done:
        which = f"The baseline ({base.name})" if base else f"A baseline at {BASELINE_RAIN} rain"
        raise Undecided(f"{which} has no result.")
    treated = _treated(comparison, base)
    if not treated:
        raise Undecided(f"There is no row beside the baseline ({base.name}) with results.")
    return [base.place, *(one.place for one in treated)], [Gap(one.name, one.place, base.place) for one in treated]


def _baseline_told(found: Found) -> dict[str, Any]:
    told = {"base": "{1} {0}".format(*found.places[0])}
    if "{psnr}" in found.row.words:
        joint = means_at([(found.comparison.groups[key], value, "psnr_rgb") for key, value in found.places])
        psnr = {gap.label: joint.interval(difference(place + 1, 0)) for place, gap in enumerate(found.parts)}
        told["psnr"] = listing(shown(psnr, "psnr_rgb"))
    return told


def _step_gaps(comparison: Comparison, row: Contrast, measure: str) -> Gaps:
    """Every row less every one with the next larger number of backgrounds."""
    done = [one for one in table_rows(comparison) if one.done]
    counts = sorted({one.count for one in done})
    if len(counts) < 2:
        raise Undecided(f"It takes rows of two N with results; there are {len(counts)}.")
    return [one.place for one in done], [
        Gap(f"{few.name} to {many.name}", few.place, many.place)
        for pair in pairwise(counts)
        for few, many in product(done, repeat=2)
        if (few.count, many.count) == pair
    ]


BASELINE = Design(
    lambda frames, test_set: comparisons(frames, "rain"),
    _baseline_gaps,
    _baseline_told,
    lambda found: {"baseline": "{1} {0}".format(*found.places[0]), "differences": bounds_of(found.gaps)},
    doubt=_untrained,
)
STEPS = replace(
    BASELINE,
    gaps=_step_gaps,
    told=lambda found: {
        "falls": listing([f"{amount(fall, found.measure)} from {step}" for step, fall in found.gaps.items()])
    },
    numbers=lambda found: {"falls": bounds_of(found.gaps)},
)


# Networks that were trained on other categories of images, on one test set.

CATEGORIES: Final = ("celeba", "div2k", "manga109", "urban100")
"""In the paper's order of structural complexity, the most complex first."""

TRANSFER_SET = "div2k"
_ALIKE_FROM = 128


def _categories(frames: Frames, test_set: str) -> list[Comparison]:
    return comparisons(replace(frames, images=frames.images[frames.images["test_set"] == TRANSFER_SET]), "background")


def _category_gaps(comparison: Comparison, row: Contrast, measure: str) -> Gaps:
    """Each of the other categories less the one that they are compared with, at each count that all have.

    Where they should be alike all of them are needed, and counts are those from 128 on.
    """
    (one,), stated = row.worse, row.measures[measure]
    alike = isinstance(stated, float)
    there = [category for category in row.better if alike or not comparison.lacks([category])]
    if comparison.lacks([one, *there]) or not there:
        missing = comparison.lacks((one, *row.better) if alike else CATEGORIES)
        raise Undecided(f"There is no result on the test set {TRANSFER_SET} for {listing(missing)}.")
    counts = [count for count in comparison.common([one, *there]) if not alike or count >= _ALIKE_FROM]
    if not counts:
        which = f"from {_ALIKE_FROM} on at which all three" if alike else "at which all categories"
        raise Undecided(f"There is no count {which} have results.")
    gaps = []
    for count, category in product(counts, there):
        first, second = ((one, count), (category, count)) if stated == "lower" else ((category, count), (one, count))
        gaps.append(Gap(f"{category} at N = {count}", first, second))
    return [(category, count) for count in counts for category in (one, *there)], gaps


def _category_told(found: Found) -> dict[str, Any]:
    """How many gaps are positive, which are not, the largest of either sign, and the categories that are missing."""
    against = {label: gap for label, gap in found.gaps.items() if gap.mean <= 0}
    missing = found.comparison.lacks(CATEGORIES)
    largest = dict(sorted(found.gaps.items(), key=lambda gap: -abs(gap[1].mean)))
    return {
        "positive": f"{len(found.gaps) - len(against)} of {len(found.gaps)}",
        "but": f"; not {first_of(shown(against, found.measure))}" if against else "",
        "largest": first_of(shown(largest, found.measure)),
        "missing": f" There is no result for {listing(missing)}." if missing else "",
    }


TRANSFER = Design(_categories, _category_gaps, _category_told)


# Both ends of an axis, on average over the networks.


def _on_each_test_set(frames: Frames, test_set: str) -> list[Comparison]:
    on_sets = by_test_set(groups(frames))
    return [Comparison("", labels, {group.name: group for group in found}) for labels, found in on_sets]


def _network_gaps(comparison: Comparison, row: Contrast, measure: str) -> Gaps:
    """One end less the other for each network and each pair of groups that agree in all else.

    Results that are the same at both ends are left out: what trains nothing is the same everywhere.
    """
    axis = row.topic
    ends = in_order(group.labels[axis] for group in comparison.groups.values() if axis in group.labels)
    if axis == "rain":
        ends = sorted((end for end in ends if end in SIZES), key=SIZES.index, reverse=True)
    more, less = (
        {
            str(group.without(axis)): (key, group)
            for key, group in comparison.groups.items()
            if group.labels[axis] == end
        }
        if len(ends) > 1
        else {}
        for end in (ends[:1] + ends[-1:] if ends else (None, None))
    )
    pairs = [(more[shared], less[shared]) for shared in more if shared in less]
    gaps = [
        Gap(value, (one, value), (other, value))
        for value in dict.fromkeys(value for (_, first), _ in pairs for value in first.done if isinstance(value, str))
        for (one, first), (other, second) in pairs
        if value in first.done and value in second.done
        if _differ(first.table(value, measure), second.table(value, measure))
    ]
    if not gaps:
        raise Undecided("There are no trained networks at both ends that agree in all else.")
    return gaps


def _differ(first: Any, second: Any) -> bool:
    return first.shape != second.shape or not np.array_equal(first, second, equal_nan=True)


def _changes(found: Found) -> dict[str, float]:
    """The mean change of each network."""
    gaps = found.joint.means[0::2] - found.joint.means[1::2]
    owners = np.array([gap.label for gap in found.parts])
    return {value: float(gaps[owners == value].mean()) for value in dict.fromkeys(gap.label for gap in found.parts)}


def _ends(found: Found) -> list[str]:
    axis, gap = found.row.topic, found.parts[0]
    return [at(axis, found.comparison.groups[key].labels[axis]) for key, _ in (gap.more, gap.less)]


def _average_told(found: Found) -> dict[str, Any]:
    changes, (more, less) = _changes(found), _ends(found)
    higher = sum(change > 0 for change in changes.values())
    against = [f"{value} ({number(change, 2)})" for value, change in changes.items() if change <= 0]
    but = f", but not in {first_of(against, most=6)}" if against and higher else ""
    return {"more": more, "less": less, "higher": higher, "networks": len(changes), "but": but}


def _average_numbers(found: Found) -> dict[str, Any]:
    changes = _changes(found)
    return {"changes": changes, "higher": sum(change > 0 for change in changes.values()), "networks": len(changes)}


AVERAGE = Design(_on_each_test_set, _network_gaps, _average_told, _average_numbers, average=True)


DESIGNS: Final[Mapping[str, Design]] = {
    "variants": VARIANTS,
    "gains": GAINS,
    "self_training": SELF_TRAINING,
    "weighting": WEIGHTING,
    "test_sets": TEST_SETS,
    "baseline": BASELINE,
    "steps": STEPS,
    "transfer": TRANSFER,
    "average": AVERAGE,
}
"""What a row of the table may name as its design."""


def _read_table() -> tuple[dict[str, str], tuple[Contrast, ...]]:
    """Headings and rows of contrasts.yaml; what a family says holds for each row that does not say it itself."""
    families = yaml.safe_load((Path(__file__).parent / "contrasts.yaml").read_text(encoding="utf-8"))
    titles = {family: shared.pop("title") for family, shared in families.items()}
    found = []
    for family, shared in families.items():
        for row in shared.pop("rows"):
            given = {"family": family, **shared, **row}
            given["design"] = DESIGNS[given["design"]]
            for key in ("better", "worse", "networks"):
                names = given.get(key, [])
                given[key] = (names,) if isinstance(names, str) else tuple(names)
            found.append(Contrast(**given))
    return titles, tuple(found)


TITLES, CONTRASTS = _read_table()
"""contrasts.yaml: the heading of each family on the page, in that order, and every row."""
