"""Statements on curves over the number of training backgrounds N: "Networks are Slacking Off", section 1.

How a measure falls with N, what is left at single counts, and whether a fall of E_R is one of rain removal or of
damage. Words such as "handle", "most", "little" and "nearly" have no numbers in the paper: the margins are ours, and
the statements say so.
"""

from itertools import pairwise
from math import isfinite, log2
from typing import Any

import numpy as np
from scipy.stats import rankdata

from slackoff.analysis.claims.claim import (
    CONTRADICTED,
    NOT_ENOUGH,
    SUPPORTED,
    TWINS,
    Claim,
    Effect,
    Statement,
    Undecided,
    Verdict,
    along_patch_count,
    bounds,
    difference,
    stated,
    with_scope,
    within,
)
from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import REMOVED, Group, groups, means_at
from slackoff.analysis.statistics import MIN_UNITS, Array, Interval, Joint, spearman
from slackoff.analysis.tables import ORACLES
from slackoff.analysis.text import (
    MINUS,
    amount,
    at,
    decimals,
    flipped,
    listing,
    move,
    name,
    number,
    plain_label,
    quantity,
    signed,
    too_few,
)
from slackoff.metrics.columns import COLUMNS

FEW, STABLE, MANY = 8, 256, 1024
"""The counts that the paper speaks of: 8 patches handle unseen rain, 256 hardly, beyond 1024 little changes."""

HALF = 0.5
LITTLE = 0.2
NEAR_GREY_LEVELS, NEAR_SHARE = 3.0, 0.25

FEWEST_RANKED = 3
"""Fewest results of which a rank correlation says anything."""

REMOVAL_OR_DAMAGE = "removal_or_damage"
"""Id of the claim that answers the question of a patch-count study."""

_GREY = "grey levels"


def check_patch_count(frames: Frames) -> list[Claim]:
    """All statements on the patch count, for every group of a study."""
    found = []
    for group in groups(along_patch_count(frames)):
        claims = [statement(group, measure) for statement in (falls, rank) for measure in (*TWINS, "e_b")]
        claims += [statement(group, measure) for statement in (handled, gone, settled) for measure in TWINS]
        claims += [near(group, "e_b"), flattens(group, "e_b"), removal_or_damage(group, "")]
        found += with_scope(claims, group.name, [group])
    return found


def told(interval: Interval, unit: str = "", words: str = "95 % interval ") -> str:
    """'0.52 (95 % interval 0.40 to 0.61)', with the unit behind the number."""
    return quantity(interval.mean, interval.low, interval.high, unit, words=words)


# How a measure falls along the patch count.


@stated("falls", "{label} falls as N grows.")
def falls(statement: Statement, group: Group) -> Claim:
    """The ends of the range and the rank correlation of the means both say that the measure falls.

    All changes are paired over the same images. Where the ends and the correlation disagree nothing is decided.
    """
    measure, values = statement.measure, group.done
    if len(values) < 2:
        only = f"Only {at(group.axis, values[0])} has results: there is nothing to compare." if values else ""
        raise Undecided(only or "No N has results yet.")
    levels = [group.level(value, measure) for value in values]
    change = group.change(values[0], values[-1], measure)
    steps = {(start, end): group.change(start, end, measure) for start, end in pairwise(values)}
    correlation = spearman(range(len(values)), [round(level.mean, 6) for level in levels])
    numbers = {
        "values": values,
        "levels": [bounds(level) for level in levels],
        "change": bounds(change),
        "steps": [bounds(step) for step in steps.values()],
        "spearman": correlation,
        "images": change.images,
        "images_skipped": change.skipped,
    }
    if not change.images:
        words = f"No test image has a value of {plain_label(measure)} at both ends: nothing can be said."
        return statement.with_verdict(NOT_ENOUGH, numbers, words, None)
    verdict: Verdict = NOT_ENOUGH
    if change.sign * correlation > 0:
        verdict = SUPPORTED if change.sign < 0 else CONTRADICTED
    span = f"rom {at(group.axis, values[0])} to {at(group.axis, values[-1])}"
    shown = f"{correlation:+.2f}".replace("-", MINUS) if isfinite(correlation) else "undefined"
    words = (
        f"F{span} {move(change, measure, first=True)}; Spearman's rank correlation with N over {len(values)} values "
    )
    words += f"is {shown}."
    if change.units < MIN_UNITS:
        words += f" {too_few(change)}"
    else:
        if change.sign and verdict == NOT_ENOUGH:
            words += " The ends and the values between them disagree, so no direction is claimed."
        if len(steps) > 1:
            words += f" {_step_by_step(change, steps, measure)}"
    return statement.with_verdict(verdict, numbers, words, Effect.of(f"change f{span}", change, COLUMNS[measure].unit))


def _step_by_step(change: Interval, steps: dict[tuple[Any, Any], Interval], measure: str) -> str:
    """Whether the measure moves the same way at every step, naming each step that does not."""
    against = [
        f"from {start} to {end} ({signed(step, measure)}{'' if step.sign else ', not clear'})"
        for (start, end), step in steps.items()
        if step.sign != change.sign
    ]
    if not change.sign:
        return f"Clear steps: {listing(against)}." if against else "No step in between is clear on its own either."
    verb = "rises" if change.sign > 0 else "falls"
    if not against:
        return f"It {verb} clearly at every step."
    return f"It {verb} clearly at {len(steps) - len(against)} of {len(steps)} steps; not {listing(against)}."


@stated("rank", "Spearman's rank correlation of N and {name} is negative.")
def rank(statement: Statement, group: Group) -> Claim:
    """Spearman's correlation of N and the measure, recomputed in each resample of the images, is below 0.

    Resampling shuffles the ranks of counts whose means are alike, so the interval of a curve that falls and then stays
    flat lies nearer to 0 than the correlation of its means.
    """
    measure, counts = statement.measure, group.done
    if len(counts) < FEWEST_RANKED:
        raise Undecided(f"A rank correlation takes results at {FEWEST_RANKED} values of N; there are {len(counts)}.")
    found = means_at([(group, count, measure) for count in counts])
    correlation = found.interval(rank_correlation)
    return statement.decide(
        found,
        lambda means: -rank_correlation(means),
        effect=Effect.of("Spearman's rank correlation", correlation),
        words=f"Over {len(counts)} values of N Spearman's rank correlation with {name(measure)} is "
        f"{told(correlation)}.",
        numbers={"values": counts, "spearman": bounds(correlation)},
    )


def rank_correlation(means: Array) -> Array:
    """(...): the rank correlation of (..., V) means with their position; 0 where all means are the same."""
    ranks = rankdata(np.round(means, 6), axis=-1)
    ranks = ranks - ranks.mean(axis=-1, keepdims=True)
    position = np.arange(means.shape[-1]) - (means.shape[-1] - 1) / 2
    spread = np.sqrt((ranks**2).sum(axis=-1) * (position**2).sum())
    return np.asarray((ranks * position).sum(axis=-1) / np.where(spread > 0, spread, np.inf))


# What is left at single counts.


@stated("handled_at_8", "With N = 8 unseen rain is handled: {name} is at least half of its oracle (half is ours).")
def handled(statement: Statement, group: Group) -> Claim:
    """With 8 patches the measure reaches at least half of what the perfect output has."""
    measure, where = statement.measure, at(group.axis, FEW)
    if FEW not in group.done:
        raise Undecided(f"There is no result at {where}.")
    found = means_at([(group, FEW, measure), (group, FEW, ORACLES[measure])])
    ratio = found.interval(lambda means: means[..., 0] / means[..., 1])
    level, oracle = (number(float(mean), decimals(measure)) for mean in found.means)
    return statement.decide(
        found,
        lambda means: means[..., 0] - HALF * means[..., 1],
        effect=Effect.of(f"ratio to the oracle at {where}", ratio),
        words=f"At {where} {name(measure)} is {level} and its oracle {oracle}, a ratio of {told(ratio)}.",
        numbers={"level": float(found.means[0]), "oracle": float(found.means[1]), "ratio": bounds(ratio)},
    )


@stated("gone_at_256", "At N = 256 most of the ability is gone: {name} has made more than half of its fall.")
def gone(statement: Statement, group: Group) -> Claim:
    """At 256 the measure has made more than half of its whole fall."""
    measure = statement.measure
    found, first, last = _first_here_last(group, STABLE, measure)
    whole, fallen = found.interval(difference(0, 2)), found.interval(difference(0, 1))
    words = f"From {first} to {at(group.axis, STABLE)} {move(flipped(fallen), measure, first=True)}; "
    words += f"to {last} {move(flipped(whole), measure)}."
    if whole.sign == 0 and found.units >= MIN_UNITS:
        raise Undecided(f"{words} Without a clear fall nothing can be gone.")

    def part_fallen(means: Array) -> Array:
        fall = difference(0, 2)(means)
        return np.asarray(difference(0, 1)(means) / np.where(fall, fall, np.nan))

    part = found.interval(part_fallen)
    return statement.decide(
        found,
        lambda means: np.stack([difference(0, 2)(means), means[..., 0] + means[..., 2] - 2 * means[..., 1]], axis=-1),
        effect=Effect.of(f"part of the fall that is made at {at(group.axis, STABLE)}", part),
        words=words,
        numbers={"whole_fall": bounds(whole), "fall": bounds(fallen), "part": bounds(part)},
    )


@stated(
    "settled_at_1024",
    "Beyond N = 1024 {name} changes little: by less than a fifth of its whole fall (a fifth is ours).",
)
def settled(statement: Statement, group: Group) -> Claim:
    """Beyond 1024 the measure moves by less than a fifth of its whole fall."""
    measure, where = statement.measure, at(group.axis, MANY)
    found, first, last = _first_here_last(group, MANY, measure)
    whole, beyond = found.interval(difference(0, 2)), found.interval(difference(1, 2))
    words = f"From {where} to {last} {move(flipped(beyond), measure, first=True)}; "
    words += f"from {first} to {last} {move(flipped(whole), measure)}."
    if whole.sign <= 0 and found.units >= MIN_UNITS:
        raise Undecided(f"{words} Without a clear fall there is nothing to compare with.")
    return statement.decide(
        found,
        lambda means: within(difference(1, 2)(means), LITTLE * difference(0, 2)(means)),
        effect=Effect.of(f"fall beyond {where}", beyond, COLUMNS[measure].unit),
        words=words,
        numbers={"whole_fall": bounds(whole), "fall_beyond": bounds(beyond)},
    )


@stated(
    "near_at_256",
    f"{{name}} at N = 256 is nearly as good as at the largest N: worse by at most {NEAR_GREY_LEVELS:g} grey levels or "
    f"{100 * NEAR_SHARE:g} %, whichever is more (margin ours).",
)
def near(statement: Statement, group: Group) -> Claim:
    """E_B at 256 is within a few grey levels of E_B at the largest count, paired over the images."""
    measure, where = statement.measure, at(group.axis, STABLE)
    needs_between(group, STABLE, fewer=False)
    last = at(group.axis, group.done[-1])
    found = means_at([(group, STABLE, measure), (group, group.done[-1], measure)])

    def margin(means: Array) -> Array:
        return np.maximum(NEAR_GREY_LEVELS, NEAR_SHARE * means[..., 1])

    gap, allowed = found.interval(difference(0, 1)), float(margin(found.means))
    here, there = (number(float(mean), 1) for mean in found.means)
    return statement.decide(
        found,
        lambda means: margin(means) - difference(0, 1)(means),
        effect=Effect.of(f"E_B at {where} above that at {last}", gap, _GREY),
        words=f"E_B is {here} at {where} and {there} at {last}, {told(gap, _GREY, '')} more; the margin is "
        f"{number(allowed, 1)}.",
        numbers={"gap": bounds(gap), "margin": allowed},
    )


@stated(
    "flattens_at_256",
    "{name} falls and flattens at about N = 256: beyond it E_B falls by less than half as much per doubling of N as "
    "before it (half is ours).",
)
def flattens(statement: Statement, group: Group) -> Claim:
    """Beyond 256 E_B falls per doubling of N by less than half of what it falls per doubling before."""
    where = at(group.axis, STABLE)
    found, *_ = _first_here_last(group, STABLE, statement.measure)

    def before(means: Array) -> Array:
        return np.asarray(difference(0, 1)(means) / log2(STABLE / group.done[0]))

    def beyond(means: Array) -> Array:
        return np.asarray(difference(1, 2)(means) / log2(group.done[-1] / STABLE))

    early, late = found.interval(before), found.interval(beyond)
    return statement.decide(
        found,
        lambda means: np.stack([before(means), HALF * before(means) - beyond(means)], axis=-1),
        effect=Effect.of(f"fall per doubling of N beyond {where}", late, _GREY),
        words=f"Per doubling of N E_B falls by {told(early, _GREY, '')} up to {where} and by {told(late, _GREY, '')} "
        "beyond it.",
        numbers={"fall_per_doubling_before": bounds(early), "fall_per_doubling_beyond": bounds(late)},
    )


def _first_here_last(group: Group, count: int, measure: str) -> tuple[Joint, str, str]:
    """The means at the first count, at this one and at the last, and what the first and the last are called."""
    needs_between(group, count)
    first, last = group.done[0], group.done[-1]
    found = means_at([(group, place, measure) for place in (first, count, last)])
    return found, at(group.axis, first), at(group.axis, last)


def needs_between(group: Group, count: int, fewer: bool = True) -> None:
    """Raises Undecided without a result at a count, at a larger one, or (where `fewer` are needed) at a smaller one."""
    where = at(group.axis, count)
    if count not in group.done:
        raise Undecided(f"There is no result at {where}.")
    if count == group.done[-1]:
        raise Undecided(f"There is no result beyond {where}.")
    if fewer and count == group.done[0]:
        raise Undecided(f"There is no result below {where}.")


# Is a change of E_R rain removal, or damage to the picture?

_MORE = "the network trained on few patches really removes more of the unseen rain"
_LESS = "the network trained on few patches removes less of the unseen rain, not more"


@stated(
    REMOVAL_OR_DAMAGE,
    "E_R falls because less of the rain is removed, not only because the background is damaged less.",
)
def removal_or_damage(statement: Statement, group: Group) -> Claim:
    """Says which of E_R and removal share moved from the smallest to the largest N, and what that means.

    E_R is the RMS change inside the rain. A network that removes the share s of the rain and does nothing else
    has E_R = s * oracle, in grey levels; whatever E_R moves beyond that does not follow the rain. So three paired
    changes are set side by side: of E_R, of the removal share, and of removal share * oracle.
    """
    if len(group.done) < 2:
        raise Undecided("It takes results at two values to say what moved.")
    first, last = group.done[0], group.done[-1]
    e_r, share, removed = (group.change(last, first, measure) for measure in ("e_r", "removal_share", REMOVED))
    numbers = {
        "from": first,
        "to": last,
        "e_r_fall": bounds(e_r),
        "removal_share_fall": bounds(share),
        "removed_rain_fall": bounds(removed),
        "part_of_e_r_fall": removed.mean / e_r.mean if e_r.sign > 0 else float("nan"),
    }
    fewest = min(e_r, share, key=lambda interval: interval.units)
    if fewest.units < MIN_UNITS:
        verdict: Verdict = NOT_ENOUGH
        words = f"E_R falls by {amount(e_r, 'e_r', first=True)} and the removal share by "
        words += f"{amount(share, 'removal_share')}. {too_few(fewest)}"
    else:
        verdict, words = _removal_verdict(e_r, share, removed, at(group.axis, first))
    span = f"rom {at(group.axis, first)} to {at(group.axis, last)}"
    effect = Effect.of(f"fall of the rain taken out f{span}", removed, _GREY)
    return statement.with_verdict(verdict, numbers, f"F{span} {words}", effect if removed.images else None)


def _removal_verdict(e_r: Interval, share: Interval, removed: Interval, few: str) -> tuple[Verdict, str]:
    """Verdict and words from how far E_R, removal share and removed rain fall (negative: rise) as N grows."""
    of_e_r, of_share = move(flipped(e_r), "e_r", first=True), move(flipped(share), "removal_share")
    if e_r.sign > 0 and share.sign > 0:
        by = amount(share, "removal_share")
        return SUPPORTED, f"{of_e_r} and the removal share by {by}: {_MORE}. {_removed_part(e_r, removed)}"
    if e_r.sign > 0 and share.sign < 0:
        return CONTRADICTED, f"{of_e_r}, but {of_share}: {_LESS}; its higher E_R is background damage."
    if e_r.sign > 0:
        return _e_r_alone(e_r, removed, f"{of_e_r}, but {of_share}", few)
    if share.sign > 0:
        verdict: Verdict = CONTRADICTED if e_r.sign < 0 else NOT_ENOUGH
        return verdict, f"{of_e_r}, but {of_share}: {_MORE}, though E_R does not show it."
    if share.sign < 0:
        return CONTRADICTED, f"{of_e_r} and {of_share}: {_LESS}, the opposite of the paper's finding."
    if e_r.sign < 0:
        return CONTRADICTED, f"{of_e_r}, the opposite of the paper's finding, and {of_share}."
    return NOT_ENOUGH, f"{of_e_r} and {of_share}: the effect does not show in this study."


def _e_r_alone(e_r: Interval, removed: Interval, words: str, few: str) -> tuple[Verdict, str]:
    """E_R falls, the share not clearly: damage, if the removed rain can only be the smaller part.

    "At most" is the upper bound of the removed rain's interval against half the lower bound of E_R's, since
    an interval that holds 0 alone would not prove that nothing was removed.
    """
    most = max(removed.high, 0.0)
    if most > e_r.low / 2:
        unsure = "too uncertain to say whether"
        return NOT_ENOUGH, f"{words}: {unsure} the higher E_R at {few} is rain removal or background damage."
    reason = f"at most {most:.1f} of the grey levels that E_R falls by can be rain"
    return CONTRADICTED, f"{words}: the higher E_R at {few} is background damage, not rain removal ({reason})."


def _removed_part(e_r: Interval, removed: Interval) -> str:
    """How much of the fall of E_R the removed rain accounts for."""
    percent = 100 * removed.mean / e_r.mean
    overstates = "; the larger part is change that does not follow the rain, so E_R overstates the effect"
    return (
        f"The rain taken out (removal share \N{MULTIPLICATION SIGN} oracle E_R) falls by "
        f"{amount(removed, 'e_r')} grey levels, "
        f"{percent:.0f} % of the fall of E_R{overstates if percent < 50 else ''}."
    )
