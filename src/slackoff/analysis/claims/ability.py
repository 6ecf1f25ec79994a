"""Section 1 of the paper on single counts: 8 patches handle unseen rain, 256 hardly, beyond 1024 little changes.

"Handle", "most" and "little" have no numbers in the paper: the margins are ours.
"""

import numpy as np

from slackoff.analysis.claim import Claim, Effect
from slackoff.analysis.claims.decision import judged, lacking, within
from slackoff.analysis.claims.samples import difference, samples
from slackoff.analysis.groups import Group
from slackoff.analysis.statistics import MIN_UNITS, Array
from slackoff.analysis.tables import ORACLES
from slackoff.analysis.text import at, decimals, flipped, name, number, quantity
from slackoff.analysis.trends import bounds, move
from slackoff.metrics.columns import COLUMNS

FEW, STABLE, MANY = 8, 256, 1024
"""The counts that the paper speaks of."""

HANDLED = 0.5
LITTLE = 0.2


def handled(group: Group, measure: str) -> Claim:
    """With 8 patches the measure reaches at least half of what the perfect output has."""
    where = at(group.axis, FEW)
    statement = f"With {where} unseen rain is handled: {name(measure)} is at least half of its oracle (half is ours)."
    if FEW not in group.done:
        return lacking("handled_at_8", measure, statement, f"There is no result at {where}.")
    found = samples([(group, FEW, measure), (group, FEW, ORACLES[measure])])
    ratio = found.interval(lambda means: means[..., 0] / means[..., 1])
    level, oracle = (number(float(mean), decimals(measure)) for mean in found.means)
    return judged(
        "handled_at_8",
        measure,
        statement,
        found,
        lambda means: means[..., 0] - HANDLED * means[..., 1],
        Effect.of(f"ratio to the oracle at {where}", ratio),
        f"At {where} {name(measure)} is {level} and its oracle {oracle}, "
        f"a ratio of {quantity(ratio.mean, ratio.low, ratio.high, words='95 % interval ')}.",
        {"level": float(found.means[0]), "oracle": float(found.means[1]), "ratio": bounds(ratio)},
    )


def gone(group: Group, measure: str) -> Claim:
    """At 256 the measure has made more than half of its whole fall."""
    where = at(group.axis, STABLE)
    statement = f"At {where} most of the ability is gone: {name(measure)} has made more than half of its fall."
    if reason := not_between(group, STABLE):
        return lacking("gone_at_256", measure, statement, reason)
    found = samples([(group, count, measure) for count in (group.done[0], STABLE, group.done[-1])])
    whole = found.interval(_whole_fall)
    fallen = found.interval(difference(0, 1))
    words = f"From {at(group.axis, group.done[0])} to {where} {move(flipped(fallen), measure, first=True)}; "
    words += f"to {at(group.axis, group.done[-1])} {move(flipped(whole), measure)}."
    if whole.sign == 0 and found.units >= MIN_UNITS:
        return lacking("gone_at_256", measure, statement, f"{words} Without a clear fall nothing can be gone.")
    part = found.interval(_part_fallen)
    return judged(
        "gone_at_256",
        measure,
        statement,
        found,
        lambda means: np.stack([_whole_fall(means), means[..., 0] + means[..., 2] - 2 * means[..., 1]], axis=-1),
        Effect.of(f"part of the fall that is made at {where}", part),
        words,
        {"whole_fall": bounds(whole), "fall": bounds(fallen), "part": bounds(part)},
    )


def settled(group: Group, measure: str) -> Claim:
    """Beyond 1024 the measure moves by less than a fifth of its whole fall."""
    where = at(group.axis, MANY)
    statement = f"Beyond {where} {name(measure)} changes little: by less than a fifth of its whole fall "
    statement += "(a fifth is ours)."
    if reason := not_between(group, MANY):
        return lacking("settled_at_1024", measure, statement, reason)
    found = samples([(group, count, measure) for count in (group.done[0], MANY, group.done[-1])])
    whole = found.interval(_whole_fall)
    beyond = found.interval(difference(1, 2))
    last = at(group.axis, group.done[-1])
    words = f"From {where} to {last} {move(flipped(beyond), measure, first=True)}; "
    words += f"from {at(group.axis, group.done[0])} to {last} {move(flipped(whole), measure)}."
    if whole.sign <= 0 and found.units >= MIN_UNITS:
        reason = f"{words} Without a clear fall there is nothing to compare with."
        return lacking("settled_at_1024", measure, statement, reason)
    return judged(
        "settled_at_1024",
        measure,
        statement,
        found,
        lambda means: within(means[..., 1] - means[..., 2], LITTLE * _whole_fall(means)),
        Effect.of(f"fall beyond {where}", beyond, COLUMNS[measure].unit),
        words,
        {"whole_fall": bounds(whole), "fall_beyond": bounds(beyond)},
    )


def not_between(group: Group, count: int, needs_fewer: bool = True) -> str:
    """Why nothing can be said of a count: no result there, none at a larger one, or none at a smaller one."""
    where = at(group.axis, count)
    if count not in group.done:
        return f"There is no result at {where}."
    if count == group.done[-1]:
        return f"There is no result beyond {where}."
    return f"There is no result below {where}." if needs_fewer and count == group.done[0] else ""


def _whole_fall(means: Array) -> Array:
    return np.asarray(means[..., 0] - means[..., 2])


def _part_fallen(means: Array) -> Array:
    whole = _whole_fall(means)
    return np.asarray((means[..., 0] - means[..., 1]) / np.where(whole, whole, np.nan))
