"""Where a measure breaks down as N grows, compared between groups that differ in one thing.

The paper judges it by eye. The rule here is that of `slackoff.analysis.groups`: the largest count at which the
measure, stretched to 0 .. 1 over the counts of its group, is still above one half. Only a group whose measure clearly
falls from its first to its last count has a break-down.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from slackoff.analysis.claim import Claim, Effect
from slackoff.analysis.claims.ability import not_between
from slackoff.analysis.claims.comparisons import Comparison
from slackoff.analysis.claims.decision import judged, lacking, share
from slackoff.analysis.claims.samples import apart, difference, differences
from slackoff.analysis.groups import Crossing, Group, crossing, normalised
from slackoff.analysis.statistics import MIN_UNITS, RESAMPLES, Array, Joint
from slackoff.analysis.text import at, listing, name, number, quantity
from slackoff.analysis.trends import bounds, move, too_few

HALF = 0.5
_FEWEST_COUNTS = 3


@dataclass(frozen=True)
class BreakDowns:
    """The base-2 logarithm of the last count before the break-down, one point per group, with their resamples."""

    joint: Joint
    words: str
    numbers: dict[str, Any]


def order(comparison: Comparison, names: Sequence[str], topic: str, measure: str, statement: str) -> Claim:
    """The claim that the measure breaks down at a larger count for each of `names` than for the one before."""
    found = break_downs(comparison, names, measure)
    if isinstance(found, str):
        return lacking(topic, measure, statement, found)
    steps = [(place + 1, place) for place in range(len(names) - 1)]
    criteria = differences(steps)
    words = f"{found.words} The order holds in {number(100 * share(found.joint, criteria), 0)} % of the resamples."
    intervals = [found.joint.interval(difference(*step)) for step in steps]
    if any(not step.mean for step in intervals):
        words += " Neighbours that break down after the same count cannot be told apart with these counts."
    smallest = min(range(len(steps)), key=lambda place: intervals[place].mean)
    what = f"step from {names[smallest]} to {names[smallest + 1]}, the smallest"
    effect = Effect.of(what, intervals[smallest], "doublings of N")
    behind = {"breaks_down_after": found.numbers}
    return judged(topic, measure, statement, found.joint, criteria, effect, words, behind)


def break_downs(comparison: Comparison, names: Sequence[str], measure: str) -> BreakDowns | str:
    """The break-downs of the groups of these names over the counts that they share, or why there are none."""
    if missing := comparison.lacks(names):
        return f"There is no result for {comparison.by.replace('_', ' ')} {listing(missing)}."
    counts = comparison.common(names)
    if len(counts) < _FEWEST_COUNTS:
        return f"It takes results at {_FEWEST_COUNTS} counts in each group; they share {len(counts)}."
    members = [_at_counts(comparison.groups[name], counts) for name in names]
    for label, group in zip(names, members, strict=True):
        if reason := without_fall(group, label, measure):
            return reason
    found = [crossing(group, measure) for group in members]
    fewest = min((one.extent for one in found), key=lambda extent: extent.units)
    places = np.log2([float(one.value or np.nan) for one in found])
    joint = Joint(places, _draws(members, found), fewest.images, fewest.skipped, fewest.units, fewest.seeds)
    words = [_words(label, one) for label, one in zip(names, found, strict=True)]
    numbers = {
        label: {"count": one.value, "low": one.low, "high": one.high, "within_the_study": one.falls}
        for label, one in zip(names, found, strict=True)
    }
    return BreakDowns(joint, f"{name(measure)[0].upper()}{name(measure)[1:]} breaks down {listing(words)}.", numbers)


def beside_half(
    comparison: Comparison, label: str, count: int, topic: str, measure: str, statement: str, above: bool
) -> Claim:
    """The claim that the normalised measure of one group is above (or below) one half at a count."""
    if comparison.lacks([label]):
        return lacking(topic, measure, statement, f"There is no result for {comparison.by} {label}.")
    group = comparison.groups[label]
    if reason := not_between(group, count) or without_fall(group, label, measure):
        return lacking(topic, measure, statement, reason)
    curve = normalised(group, measure)
    place, side = group.done.index(count), 1.0 if above else -1.0
    level = curve.levels[place]
    draws = curve.draws[:, place : place + 1]
    found = Joint(np.array([level.mean]), draws, level.images, level.skipped, level.units, level.seeds)
    shown = quantity(level.mean, level.low, level.high, words="95 % interval ")
    where = at(group.axis, count)
    return judged(
        topic,
        measure,
        statement,
        found,
        lambda means: side * (means[..., 0] - HALF),
        Effect.of(f"normalised level of {label} at {where}", level),
        f"At {where} {name(measure)} of {label} is {shown} on a scale from 0, its least, to 1, its greatest.",
        {"level": bounds(level), "extent": bounds(curve.extent)},
    )


def without_fall(group: Group, label: str, measure: str) -> str:
    """Why there is no break-down to place: the measure does not clearly fall from the first to the last count."""
    first, last = group.done[0], group.done[-1]
    change = group.change(first, last, measure)
    if change.sign < 0:
        return ""
    if not change.images:
        return f"No test image has a value of {name(measure)} at both ends for {label}."
    words = f"From {at(group.axis, first)} to {at(group.axis, last)} {move(change, measure, first=True)} for {label}"
    few = f" {too_few(change)}" if change.units < MIN_UNITS else ""
    return f"{words}: there is no break-down to place.{few}"


def _at_counts(group: Group, counts: Sequence[int]) -> Group:
    """The group with the cells and results of some counts only."""
    cells, images = group.cells, group.images
    return replace(group, cells=cells[cells[group.axis].isin(counts)], images=images[images[group.axis].isin(counts)])


def _draws(groups: Sequence[Group], found: Sequence[Crossing]) -> Array:
    """(RESAMPLES, V): paired where groups share their test images, else each group's own."""
    blocks: dict[tuple[str, ...], int] = {}
    columns = []
    for group, one in zip(groups, found, strict=True):
        block = blocks.setdefault(group.units, len(blocks))
        draws = np.log2(np.broadcast_to(one.draws, (RESAMPLES,)))
        columns.append(apart(draws, block))
    return np.stack(columns, axis=1)


def _words(label: str, found: Crossing) -> str:
    """'after N = 16 (16 to 32) for small'."""
    value, low, high = (
        number(bound if bound is not None else np.nan, 0) for bound in (found.value, found.low, found.high)
    )
    beyond = "" if found.falls else ", the largest"
    interval = "" if low == high == value else f" ({low} to {high})"
    return f"after N = {value}{beyond}{interval} for {label}"
