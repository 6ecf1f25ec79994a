"""Statements on where removal breaks down as N grows: "Networks are Slacking Off", section 1.

The wider the rain range, the later; the more complex the category of the backgrounds, the sooner. The break-down is
that of `slackoff.analysis.breakdown`, below one half of each curve's own range, and beside it that of
`slackoff.analysis.common_level`, below one level for all curves. Margins that the paper does not give are ours, and the
statements say so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from slackoff.analysis.breakdown import FEWEST_COUNTS, crossing, normalised
from slackoff.analysis.claims.claim import (
    CONTRADICTED,
    NOT_ENOUGH,
    PATCHES,
    SUPPORTED,
    TWINS,
    Claim,
    Comparison,
    Effect,
    Statement,
    Undecided,
    Verdict,
    bounds,
    comparisons,
    difference,
    differences,
    first_upper,
    share_of_resamples,
    stated,
    with_scope,
)
from slackoff.analysis.claims.contrasts import CATEGORIES
from slackoff.analysis.claims.curves import FEWEST_RANKED, HALF, needs_between, rank_correlation, told
from slackoff.analysis.common_level import STEP, Order, band, common_levels, widest
from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import Group, means_at
from slackoff.analysis.statistics import MIN_UNITS, RESAMPLES, Array, Joint
from slackoff.analysis.study import SIZES
from slackoff.analysis.text import at, decimals, flipped, listing, move, name, number, too_few
from slackoff.metrics.columns import COLUMNS

FAILED = 0.75
"""At or below this part of its own best a measure has failed."""

SMALL, MEDIUM, LARGE = SIZES
LARGE_HOLDS, PAPER_MOST, AS_MANY = 512, 30000, 10_000
"""The paper has Large work up to 512; from 10000 patches on a study is as good as its 30000."""


@dataclass(frozen=True)
class BreakDowns:
    """The break-downs of several groups: `joint` has the base-2 logarithm of the last count before each, one point per
    group, with its resamples; `words` say the counts, `numbers` holds them with their intervals."""

    joint: Joint
    words: str
    numbers: dict[str, Any]


def break_downs(compared: Mapping[str, Group], measure: str) -> BreakDowns:
    """The break-downs of groups, by their names, over the counts that they share.

    They are paired where groups share their test images, else independent: resamples of groups on other images are put
    in an order of their own, so that what was drawn alike becomes independent.

    Raises:
        Undecided: they share too few counts, or the measure of one of them does not fall.
    """
    first, *rest = compared.values()
    counts = [count for count in first.done if all(count in group.done for group in rest)]
    if len(counts) < FEWEST_COUNTS:
        raise Undecided(f"It takes results at {FEWEST_COUNTS} counts in each group; they share {len(counts)}.")
    found, draws, said = {}, [], []
    blocks: dict[tuple[str, ...], int] = {}
    for label, whole in compared.items():
        cells, images = (frame[frame[whole.axis].isin(counts)] for frame in (whole.cells, whole.images))
        group = replace(whole, cells=cells, images=images)
        needs_fall(group, label, measure)
        one = found[label] = crossing(group, measure)
        block = blocks.setdefault(group.units, len(blocks))
        drawn = np.log2(np.broadcast_to(one.draws, (RESAMPLES,)))
        draws.append(drawn[np.random.default_rng(block).permutation(RESAMPLES)] if block else drawn)
        value, low, high = (number(np.nan if end is None else end, 0) for end in (one.value, one.low, one.high))
        interval = "" if low == high == value else f" ({low} to {high})"
        said.append(f"after N = {value}{'' if one.falls else ', the largest'}{interval} for {label}")
    fewest = min((one.extent for one in found.values()), key=lambda extent: extent.units)
    places = np.log2([float(one.value or np.nan) for one in found.values()])
    joint = Joint(places, np.stack(draws, axis=1), fewest.images, fewest.skipped, fewest.units, fewest.seeds)
    numbers = {
        label: {"count": one.value, "low": one.low, "high": one.high, "within_the_study": one.falls}
        for label, one in found.items()
    }
    return BreakDowns(joint, first_upper(f"{name(measure)} breaks down {listing(said)}."), numbers)


def needs_fall(group: Group, label: str, measure: str) -> None:
    """Raises Undecided where the measure does not clearly fall from first to last count: no break-down to place."""
    first, last = group.done[0], group.done[-1]
    change = group.change(first, last, measure)
    if change.sign < 0:
        return
    if not change.images:
        raise Undecided(f"No test image has a value of {name(measure)} at both ends for {label}.")
    words = f"From {at(group.axis, first)} to {at(group.axis, last)} {move(change, measure, first=True)} for {label}"
    few = f" {too_few(change)}" if change.units < MIN_UNITS else ""
    raise Undecided(f"{words}: there is no break-down to place.{few}")


def _members(comparison: Comparison, names: Sequence[str]) -> dict[str, Group]:
    """The groups of these names, which must all have results."""
    if missing := comparison.lacks(names):
        raise Undecided(f"There is no result for {comparison.by.replace('_', ' ')} {listing(missing)}.")
    return {name: comparison.groups[name] for name in names}


def _ordered(
    statement: Statement, found: BreakDowns, later: Mapping[str, tuple[int, int]], held: str, tied: str = ""
) -> Claim:
    """The claim that groups break down one after the other.

    Args:
        statement: what is claimed.
        found: where they break down.
        later: by the name of their distance, places of two of them, that which should break down later first.
        held: subject of the sentence on how many resamples have that order.
        tied: a sentence for break-downs after the same count.
    """
    leads = {what: found.joint.interval(difference(*pair)) for what, pair in later.items()}
    criteria = differences(list(later.values()))
    percent = number(100 * share_of_resamples(found.joint, criteria), 0)
    smallest = min(leads, key=lambda what: leads[what].mean)
    words = f"{found.words} {held} in {percent} % of the resamples."
    return statement.decide(
        found.joint,
        criteria,
        effect=Effect.of(smallest, leads[smallest], "doublings of N"),
        words=words if all(lead.mean for lead in leads.values()) else words + tied,
        numbers={"breaks_down_after": found.numbers},
    )


def _at_common_levels(statement: Statement, compared: Mapping[str, Group], order: Order, steps: str) -> Claim:
    """The claim that an order of break-downs holds at a level that is common to all curves.

    Supported where the intervals decide it at some level and decide against it at none; contradicted where they decide
    against it at some level, and even the means have it at none.
    """
    found = common_levels(compared, statement.measure)
    if len(found.counts) < FEWEST_COUNTS:
        raise Undecided(f"It takes results at {FEWEST_COUNTS} counts in each group; they share {len(found.counts)}.")
    subject = name(statement.measure)
    if not len(found.levels):
        raise Undecided(f"There is no level that {subject} of all of them reaches and one falls below.")
    holds, sure, against = found.verdicts(order)
    shown = widest(sure if sure.any() else holds)
    where = f"at levels from {band(found.levels, holds)}" if holds.any() else "at no common level"
    words = f"The means have that order {where}"
    if holds.any():
        ends = [f"{span} for {label}" for label, span in zip(found.names, found.spans(shown), strict=True)]
        decided = f"from {band(found.levels, sure)}" if sure.any() else "at none"
        words += f"; the intervals decide it {decided}. There the last N above the level is {listing(ends)}"
    if against.any():
        words += f"; the intervals decide against it at {band(found.levels, against)}"
    words += f". {too_few(found.joint)}" if found.joint.units < MIN_UNITS else "."
    verdict: Verdict = NOT_ENOUGH
    if sure.any() != against.any():
        verdict = SUPPORTED if sure.any() else NOT_ENOUGH if holds.any() else CONTRADICTED
    effect = None
    if holds.any():
        middle = int(np.flatnonzero(shown)[shown.sum() // 2])
        leads = order(found.doublings(found.draws[:, middle]))
        point = order(found.doublings(found.places[middle]))
        part = int(point.argmin())
        low, high = np.percentile(leads[:, part], [2.5, 97.5])
        what = f"{steps}, the smallest, at {found.levels[middle]:.2f} of the oracle"
        effect = Effect(what, float(point[part]), float(low), float(high), "doublings of N")
    numbers = {
        "band_of_means": float(widest(holds).sum() * STEP),
        "band_of_intervals": float(widest(sure).sum() * STEP),
        "levels": {
            key: [float(round(level, 2)) for level in found.levels[which]]
            for key, which in (("means", holds), ("intervals", sure), ("against", against))
        },
        "images": found.joint.images,
        "images_skipped": found.joint.skipped,
    }
    return statement.with_verdict(verdict, numbers, words, effect)


# The wider the rain range, the later removal breaks down as N grows.


def check_rain_range(frames: Frames) -> list[Claim]:
    """All statements on the rain range, for every comparison of ranges in a study."""
    single = ((SMALL, small_fails), (MEDIUM, medium_weakens), (LARGE, large_holds), (LARGE, large_fails))
    found = []
    for comparison in comparisons(frames, "rain"):
        both = (breaks_later, breaks_later_at_a_common_level)
        together = [statement(comparison, measure) for statement in both for measure in TWINS]
        found += with_scope(together, comparison.name, list(comparison.groups.values()))
        for rain, statement in single:
            own = [comparison.groups[rain]] if rain in comparison.groups else []
            found += with_scope([statement(comparison, measure) for measure in TWINS], comparison.name, own)
    return found


@stated("breaks_later", "The wider the rain range, the more patches until {name} breaks down: small < medium < large.")
def breaks_later(statement: Statement, comparison: Comparison) -> Claim:
    """The count at which the measure breaks down is ordered small < medium < large."""
    steps = {
        f"step from {narrow} to {wide}, the smallest": (place + 1, place)
        for place, (narrow, wide) in enumerate(pairwise(SIZES))
    }
    found = break_downs(_members(comparison, SIZES), statement.measure)
    tied = " Neighbours that break down after the same count cannot be told apart with these counts."
    return _ordered(statement, found, steps, "The order holds", tied)


@stated(
    "breaks_later_at_a_common_level",
    "There is a level, one share of the oracle for all, below which {name} falls the later the wider the rain range: "
    "small < medium < large.",
)
def breaks_later_at_a_common_level(statement: Statement, comparison: Comparison) -> Claim:
    """At a common level the last count above it is ordered small < medium < large."""
    order = differences([(place + 1, place) for place in range(len(SIZES) - 1)])
    return _at_common_levels(statement, _members(comparison, SIZES), order, "distance of neighbours")


@stated(
    "small_fails_at_16", "Small fails already at N = 16: {name}, normalised, is below one half there (half is ours)."
)
def small_fails(statement: Statement, comparison: Comparison) -> Claim:
    """At 16 patches the normalised measure of Small is below one half."""
    return _beside_half(statement, comparison, SMALL, 16, side=-1.0)


@stated(
    "large_holds_to_512",
    "Large keeps working until N = 512: {name}, normalised, is above one half there (half is ours).",
)
def large_holds(statement: Statement, comparison: Comparison) -> Claim:
    """At 512 patches the normalised measure of Large is above one half."""
    return _beside_half(statement, comparison, LARGE, LARGE_HOLDS, side=1.0)


def _beside_half(statement: Statement, comparison: Comparison, label: str, count: int, side: float) -> Claim:
    """The claim that the normalised measure of one group is above (`side` 1) or below (-1) one half at a count."""
    measure, where = statement.measure, at(PATCHES, count)
    group = _members(comparison, [label])[label]
    needs_between(group, count)
    needs_fall(group, label, measure)
    curve = normalised(group, measure)
    place = group.done.index(count)
    level = curve.levels[place]
    draws = curve.draws[:, place : place + 1]
    found = Joint(np.array([level.mean]), draws, level.images, level.skipped, level.units, level.seeds)
    return statement.decide(
        found,
        lambda means: side * (means[..., 0] - HALF),
        effect=Effect.of(f"normalised level of {label} at {where}", level),
        words=f"At {where} {name(measure)} of {label} is {told(level)} on a scale from 0, its least, to 1, its "
        "greatest.",
        numbers={"level": bounds(level), "extent": bounds(curve.extent)},
    )


@stated("medium_weakens_at_64", "Medium starts weakening at N = 64: {name} falls from N = 32.")
def medium_weakens(statement: Statement, comparison: Comparison) -> Claim:
    """From 32 to 64 patches the measure of Medium falls."""
    measure, group = statement.measure, _members(comparison, [MEDIUM])[MEDIUM]
    if absent := [at(group.axis, count) for count in (32, 64) if count not in group.done]:
        raise Undecided(f"There is no result at {listing(absent)} for {MEDIUM}.")
    found = means_at([(group, 32, measure), (group, 64, measure)])
    fall = found.interval(difference(0, 1))
    return statement.decide(
        found,
        difference(0, 1),
        effect=Effect.of("fall of medium from N = 32 to N = 64", fall, COLUMNS[measure].unit),
        words=f"From N = 32 to N = 64 {move(flipped(fall), measure, first=True)} for {MEDIUM}.",
        numbers={"fall": bounds(fall)},
    )


@stated(
    "large_fails_at_most",
    f"At the largest N even Large fails: {{name}} is at most {100 * FAILED:.0f} % of its best (margin ours).",
)
def large_fails(statement: Statement, comparison: Comparison) -> Claim:
    """At the largest count the measure of Large is far below its own best."""
    measure, group = statement.measure, _members(comparison, [LARGE])[LARGE]
    counts, last = group.done, group.values[-1]
    if last not in counts or last <= LARGE_HOLDS:
        reason = "has no result" if last not in counts else f"is not beyond {LARGE_HOLDS}, where Large still works"
        raise Undecided(f"The largest N, {last}, {reason}; the paper says it of {PAPER_MOST}.")
    found = means_at([(group, count, measure) for count in counts])
    ratio = found.interval(lambda means: np.asarray(means[..., -1] / means.max(axis=-1)))
    level, best = (number(float(mean), decimals(measure)) for mean in (found.means[-1], found.means.max()))
    part, low, high = (number(100 * bound, 0) for bound in (ratio.mean, ratio.low, ratio.high))
    words = f"At {at(group.axis, last)} {name(measure)} of {LARGE} is {level}, {part} % of its best, {best} "
    words += f"(95 % interval {low} to {high} %)."
    claim = statement.decide(
        found,
        lambda means: FAILED * means.max(axis=-1) - means[..., -1],
        effect=Effect.of(f"part of its best at {at(group.axis, last)}", ratio),
        words=words,
        numbers={"of_best": bounds(ratio), "largest": last},
    )
    if claim.verdict == CONTRADICTED and last < AS_MANY:
        raise Undecided(f"{words} The paper says it of {PAPER_MOST}; {last} may be too few.")
    return claim


# The more complex the category of the backgrounds, the sooner removal breaks down.


def check_category(frames: Frames) -> list[Claim]:
    """All statements on the image category, for every comparison of categories in a study.

    Certain in the paper are that CelebA drops sharply from 8 to 16 patches while DIV2K does not drop yet, and the order
    of complexity; the counts of the simpler categories stand in a garbled sentence and are no statement here.
    """
    found = []
    statements = (celeba_first, celeba_first_at_a_common_level, drops, ranked)
    for comparison in comparisons(frames, "background"):
        claims = [statement(comparison, measure) for statement in statements for measure in TWINS]
        found += with_scope(claims, comparison.name, list(comparison.groups.values()))
    return found


@stated(
    "celeba_first_at_a_common_level",
    "There is a level, one share of the oracle for all, below which {name} falls first for CelebA, of all categories.",
)
def celeba_first_at_a_common_level(statement: Statement, comparison: Comparison) -> Claim:
    """At a common level CelebA is last above it at a smaller count than every other category there is."""
    celeba, *others = CATEGORIES
    there = [category for category in others if not comparison.lacks([category])]
    if not there:
        raise Undecided("There is no other category with results.")
    order = differences([(place, 0) for place in range(1, len(there) + 1)])
    return _at_common_levels(statement, _members(comparison, [celeba, *there]), order, "lead of CelebA")


@stated("celeba_first", "{name} breaks down first for CelebA, of all categories.")
def celeba_first(statement: Statement, comparison: Comparison) -> Claim:
    """The measure of CelebA breaks down at a smaller count than that of every other category there is."""
    celeba, *others = CATEGORIES
    there = [category for category in others if not comparison.lacks([category])]
    if not there:
        raise Undecided("There is no other category with results.")
    leads = {f"lead over {category}, the next": (place, 0) for place, category in enumerate(there, 1)}
    found = break_downs(_members(comparison, [celeba, *there]), statement.measure)
    return _ordered(statement, found, leads, "CelebA is first, alone,")


@stated("celeba_drops_at_16", "From N = 8 to N = 16 {name}, normalised, drops for CelebA and hardly for DIV2K.")
def drops(statement: Statement, comparison: Comparison) -> Claim:
    """From 8 to 16 patches the normalised measure falls more for CelebA than for DIV2K."""
    measure, members = statement.measure, _members(comparison, CATEGORIES[:2])
    counts = comparison.common(CATEGORIES[:2])
    if absent := [at(PATCHES, count) for count in (8, 16) if count not in counts]:
        raise Undecided(f"There is no result at {listing(absent)} for both.")
    for label, group in members.items():
        needs_fall(group, label, measure)
    found = means_at([(group, count, measure) for group in members.values() for count in counts])
    start = counts.index(8)

    def fall(means: Array, member: int) -> Array:
        curve = means[..., member * len(counts) : (member + 1) * len(counts)]
        return np.asarray((curve[..., start] - curve[..., start + 1]) / np.ptp(curve, axis=-1))

    falls = [found.interval(partial(fall, member=member)) for member in (0, 1)]
    more = found.interval(lambda means: fall(means, 0) - fall(means, 1))
    shown = " for CelebA and ".join(told(one, words="") for one in falls)
    return statement.decide(
        found,
        lambda means: np.stack([fall(means, 0), fall(means, 0) - fall(means, 1)], axis=-1),
        effect=Effect.of("fall of CelebA less that of DIV2K, normalised", more),
        words=f"From N = 8 to N = 16 normalised {name(measure)} falls by {shown} for DIV2K.",
        numbers={"celeba": bounds(falls[0]), "div2k": bounds(falls[1])},
    )


@stated("simpler_later", "The simpler the category, the more patches until {name} breaks down.")
def ranked(statement: Statement, comparison: Comparison) -> Claim:
    """The break-down comes the later the simpler the category, as a rank correlation with the published order."""
    there = [category for category in CATEGORIES if not comparison.lacks([category])]
    if len(there) < FEWEST_RANKED:
        raise Undecided(f"It takes {FEWEST_RANKED} categories with results; there are {len(there)}.")
    found = break_downs(_members(comparison, there), statement.measure)
    correlation = found.joint.interval(rank_correlation)
    return statement.decide(
        found.joint,
        rank_correlation,
        effect=Effect.of("rank correlation with the published order", correlation),
        words=f"{found.words} With the published order, most complex first, that is a rank correlation of "
        f"{told(correlation)}.",
        numbers={"breaks_down_after": found.numbers, "spearman": bounds(correlation)},
    )
