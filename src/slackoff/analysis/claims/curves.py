"""Statements on curves over the number of training backgrounds N: "Networks are Slacking Off", section 1.

How a measure falls with N, what is left at single counts, whether a fall of E_R is one of rain removal or of damage,
and where removal breaks down, for each rain range and image category. Words such as "handle", "most", "little" and
"nearly" have no numbers in the paper: the margins are ours, and the statements say so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import isfinite, log2
from typing import Any

import numpy as np
from scipy.stats import rankdata

from slackoff.analysis.breakdown import BreakDowns, break_downs, normalised, without_fall
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
    Verdict,
    along_patch_count,
    bounds,
    comparisons,
    difference,
    differences,
    means_at,
    share_of_resamples,
    with_scope,
    within,
)
from slackoff.analysis.claims.contrasts import CATEGORIES
from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import REMOVED, Group, groups
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
    symbol,
    too_few,
)
from slackoff.metrics.columns import COLUMNS

FEW, STABLE, MANY = 8, 256, 1024
"""The counts that the paper speaks of: 8 patches handle unseen rain, 256 hardly, beyond 1024 little changes."""

HALF = 0.5
LITTLE = 0.2
FAILED = 0.75
"""At or below this part of its own best a measure has failed."""
NEAR_GREY_LEVELS, NEAR_SHARE = 3.0, 0.25

SMALL, MEDIUM, LARGE = RANGES = ("small", "medium", "large")
LARGE_HOLDS, PAPER_MOST, AS_MANY = 512, 30000, 10_000
"""The paper has Large work up to 512; from 10000 patches on a study is as good as its 30000."""

REMOVAL_OR_DAMAGE = "removal_or_damage"
"""Id of the claim that answers the question of a patch-count study."""

_FEWEST = 3
_GREY = "grey levels"
_INTERVAL = "95 % interval "


# How a measure falls along the patch count.


def check_patch_count(frames: Frames) -> list[Claim]:
    """All statements on the patch count, for every group of a study."""
    found = []
    for group in groups(along_patch_count(frames)):
        claims = [statement(group, measure) for statement in (falls, rank) for measure in (*TWINS, "e_b")]
        claims += [statement(group, measure) for statement in (handled, gone, settled) for measure in TWINS]
        found += with_scope([*claims, near(group), flattens(group), removal_or_damage(group)], group.name, [group])
    return found


def falls(group: Group, measure: str) -> Claim:
    """The ends of the range and the rank correlation of the means both say that the measure falls."""
    label = plain_label(measure)
    statement = Statement("falls", measure, f"{label[0].upper()}{label[1:]} falls as {symbol(group.axis)} grows.")
    if len(group.done) < 2:
        only = f"Only {at(group.axis, group.done[0])} has results: there is nothing to compare." if group.done else ""
        return statement.open(only or f"No {symbol(group.axis)} has results yet.")
    found = Trend.of(group, measure)
    effect = Effect.of(f"change {found.span[0].lower()}{found.span[1:]}", found.change, COLUMNS[measure].unit)
    return statement.with_verdict(
        found.verdict_on_fall, found.numbers(), found.describe(), effect if found.change.images else None
    )


@dataclass(frozen=True)
class Trend:
    """A measure along the main axis, over the values that have results.

    `levels` holds the mean at each of `values`; `change` is last minus first and each of `steps` next minus
    this one, all paired over the same images; `spearman` correlates the means with the values.
    """

    measure: str
    axis: str
    values: list[Any]
    levels: list[Interval]
    change: Interval
    steps: list[Interval]
    spearman: float

    @classmethod
    def of(cls, group: Group, measure: str) -> "Trend":
        """The trend of a measure of a group with results at two values or more of its main axis."""
        values = group.done
        levels = [group.level(value, measure) for value in values]
        change = group.change(values[0], values[-1], measure)
        steps = [group.change(start, end, measure) for start, end in pairwise(values)]
        correlation = spearman(range(len(values)), [round(level.mean, 6) for level in levels])
        return cls(measure, group.axis, values, levels, change, steps, correlation)

    @property
    def verdict_on_fall(self) -> Verdict:
        """'supported' where the ends and the rank correlation both say that it falls, 'contradicted' where
        both say that it rises, else 'not enough data'."""
        if self.change.sign < 0 and self.spearman < 0:
            return SUPPORTED
        return CONTRADICTED if self.change.sign > 0 and self.spearman > 0 else NOT_ENOUGH

    @property
    def span(self) -> str:
        """'From N = 8 to N = 1024'."""
        return f"From {at(self.axis, self.values[0])} to {at(self.axis, self.values[-1])}"

    def numbers(self) -> dict[str, Any]:
        """Everything above as plain numbers."""
        return {
            "values": self.values,
            "levels": [bounds(level) for level in self.levels],
            "change": bounds(self.change),
            "steps": [bounds(step) for step in self.steps],
            "spearman": self.spearman,
            "images": self.change.images,
            "images_skipped": self.change.skipped,
        }

    def describe(self) -> str:
        """The trend in one or two sentences that say what moved, by how much, and whether at every step."""
        if not self.change.images:
            return f"No test image has a value of {plain_label(self.measure)} at both ends: nothing can be said."
        correlation = f"{self.spearman:+.2f}".replace("-", MINUS) if isfinite(self.spearman) else "undefined"
        sentence = f"{self.span} {move(self.change, self.measure, first=True)}; Spearman's rank correlation "
        sentence += f"with {symbol(self.axis)} over {len(self.values)} values is {correlation}."
        if self.change.units < MIN_UNITS:
            return f"{sentence} {too_few(self.change)}"
        if self.change.sign and self.verdict_on_fall == NOT_ENOUGH:
            sentence += " The ends and the values between them disagree, so no direction is claimed."
        return f"{sentence} {self._step_by_step()}" if len(self.steps) > 1 else sentence

    def _step_by_step(self) -> str:
        """Whether the measure moves the same way at every step, naming each step that does not."""
        steps = list(zip(pairwise(self.values), self.steps, strict=True))
        if not self.change.sign:
            clear = [self._step(pair, step) for pair, step in steps if step.sign]
            return f"Clear steps: {listing(clear)}." if clear else "No step in between is clear on its own either."
        others = [self._step(pair, step) for pair, step in steps if step.sign != self.change.sign]
        verb = "rises" if self.change.sign > 0 else "falls"
        if not others:
            return f"It {verb} clearly at every step."
        return f"It {verb} clearly at {len(steps) - len(others)} of {len(steps)} steps; not {listing(others)}."

    def _step(self, pair: tuple[Any, Any], step: Interval) -> str:
        unclear = "" if step.sign else ", not clear"
        return f"from {pair[0]} to {pair[1]} ({signed(step, self.measure)}{unclear})"


def rank(group: Group, measure: str) -> Claim:
    """Spearman's correlation of N and the measure, recomputed in each resample of the images, is below 0.

    Resampling shuffles the ranks of counts whose means are alike, so the interval of a curve that falls and then stays
    flat lies nearer to 0 than the correlation of its means.
    """
    counts, axis = group.done, symbol(group.axis)
    statement = Statement("rank", measure, f"Spearman's rank correlation of {axis} and {name(measure)} is negative.")
    if len(counts) < _FEWEST:
        return statement.open(
            f"A rank correlation takes results at {_FEWEST} values of {axis}; there are {len(counts)}."
        )
    found = means_at([(group, count, measure) for count in counts])
    correlation = found.interval(rank_correlation)
    shown = quantity(correlation.mean, correlation.low, correlation.high, words=_INTERVAL)
    return statement.decide(
        found,
        lambda means: -rank_correlation(means),
        effect=Effect.of("Spearman's rank correlation", correlation),
        words=f"Over {len(counts)} values of {axis} Spearman's rank correlation with {name(measure)} is {shown}.",
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


def handled(group: Group, measure: str) -> Claim:
    """With 8 patches the measure reaches at least half of what the perfect output has."""
    where = at(group.axis, FEW)
    text = f"With {where} unseen rain is handled: {name(measure)} is at least half of its oracle (half is ours)."
    statement = Statement("handled_at_8", measure, text)
    if FEW not in group.done:
        return statement.open(f"There is no result at {where}.")
    found = means_at([(group, FEW, measure), (group, FEW, ORACLES[measure])])
    ratio = found.interval(lambda means: means[..., 0] / means[..., 1])
    level, oracle = (number(float(mean), decimals(measure)) for mean in found.means)
    return statement.decide(
        found,
        lambda means: means[..., 0] - HALF * means[..., 1],
        effect=Effect.of(f"ratio to the oracle at {where}", ratio),
        words=f"At {where} {name(measure)} is {level} and its oracle {oracle}, "
        f"a ratio of {quantity(ratio.mean, ratio.low, ratio.high, words=_INTERVAL)}.",
        numbers={"level": float(found.means[0]), "oracle": float(found.means[1]), "ratio": bounds(ratio)},
    )


def gone(group: Group, measure: str) -> Claim:
    """At 256 the measure has made more than half of its whole fall."""
    where = at(group.axis, STABLE)
    text = f"At {where} most of the ability is gone: {name(measure)} has made more than half of its fall."
    statement = Statement("gone_at_256", measure, text)
    if reason := _not_between(group, STABLE):
        return statement.open(reason)
    first, last = group.done[0], group.done[-1]
    found = means_at([(group, count, measure) for count in (first, STABLE, last)])
    whole, fallen = found.interval(difference(0, 2)), found.interval(difference(0, 1))
    words = f"From {at(group.axis, first)} to {where} {move(flipped(fallen), measure, first=True)}; "
    words += f"to {at(group.axis, last)} {move(flipped(whole), measure)}."
    if whole.sign == 0 and found.units >= MIN_UNITS:
        return statement.open(f"{words} Without a clear fall nothing can be gone.")
    part = found.interval(_part_fallen)
    return statement.decide(
        found,
        lambda means: np.stack([difference(0, 2)(means), means[..., 0] + means[..., 2] - 2 * means[..., 1]], axis=-1),
        effect=Effect.of(f"part of the fall that is made at {where}", part),
        words=words,
        numbers={"whole_fall": bounds(whole), "fall": bounds(fallen), "part": bounds(part)},
    )


def settled(group: Group, measure: str) -> Claim:
    """Beyond 1024 the measure moves by less than a fifth of its whole fall."""
    where = at(group.axis, MANY)
    text = f"Beyond {where} {name(measure)} changes little: by less than a fifth of its whole fall (a fifth is ours)."
    statement = Statement("settled_at_1024", measure, text)
    if reason := _not_between(group, MANY):
        return statement.open(reason)
    first, last = group.done[0], group.done[-1]
    found = means_at([(group, count, measure) for count in (first, MANY, last)])
    whole, beyond = found.interval(difference(0, 2)), found.interval(difference(1, 2))
    words = f"From {where} to {at(group.axis, last)} {move(flipped(beyond), measure, first=True)}; "
    words += f"from {at(group.axis, first)} to {at(group.axis, last)} {move(flipped(whole), measure)}."
    if whole.sign <= 0 and found.units >= MIN_UNITS:
        return statement.open(f"{words} Without a clear fall there is nothing to compare with.")
    return statement.decide(
        found,
        lambda means: within(difference(1, 2)(means), LITTLE * difference(0, 2)(means)),
        effect=Effect.of(f"fall beyond {where}", beyond, COLUMNS[measure].unit),
        words=words,
        numbers={"whole_fall": bounds(whole), "fall_beyond": bounds(beyond)},
    )


def near(group: Group) -> Claim:
    """E_B at 256 is within a few grey levels of E_B at the largest count, paired over the images."""
    where = at(group.axis, STABLE)
    statement = Statement(
        "near_at_256",
        "e_b",
        f"E_B at {where} is nearly as good as at the largest N: worse by at most {NEAR_GREY_LEVELS:g} grey levels or "
        f"{100 * NEAR_SHARE:g} %, whichever is more (margin ours).",
    )
    if reason := _not_between(group, STABLE, needs_fewer=False):
        return statement.open(reason)
    last = at(group.axis, group.done[-1])
    found = means_at([(group, STABLE, "e_b"), (group, group.done[-1], "e_b")])
    gap, margin = found.interval(difference(0, 1)), float(_near_margin(found.means))
    return statement.decide(
        found,
        lambda means: _near_margin(means) - difference(0, 1)(means),
        effect=Effect.of(f"E_B at {where} above that at {last}", gap, _GREY),
        words=f"E_B is {number(float(found.means[0]), 1)} at {where} and {number(float(found.means[1]), 1)} at {last}, "
        f"{quantity(gap.mean, gap.low, gap.high, _GREY)} more; the margin is {number(margin, 1)}.",
        numbers={"gap": bounds(gap), "margin": margin},
    )


def flattens(group: Group) -> Claim:
    """Beyond 256 E_B falls per doubling of N by less than half of what it falls per doubling before."""
    where = at(group.axis, STABLE)
    statement = Statement(
        "flattens_at_256",
        "e_b",
        f"E_B falls and flattens at about {where}: beyond it E_B falls by less than half as much per doubling of N "
        "as before it (half is ours).",
    )
    if reason := _not_between(group, STABLE):
        return statement.open(reason)
    first, last = group.done[0], group.done[-1]
    found = means_at([(group, count, "e_b") for count in (first, STABLE, last)])

    def before(means: Array) -> Array:
        return np.asarray(difference(0, 1)(means) / log2(STABLE / first))

    def beyond(means: Array) -> Array:
        return np.asarray(difference(1, 2)(means) / log2(last / STABLE))

    early, late = found.interval(before), found.interval(beyond)
    shown = [quantity(one.mean, one.low, one.high, _GREY) for one in (early, late)]
    return statement.decide(
        found,
        lambda means: np.stack([before(means), HALF * before(means) - beyond(means)], axis=-1),
        effect=Effect.of(f"fall per doubling of N beyond {where}", late, _GREY),
        words=f"Per doubling of N E_B falls by {shown[0]} up to {where} and by {shown[1]} beyond it.",
        numbers={"fall_per_doubling_before": bounds(early), "fall_per_doubling_beyond": bounds(late)},
    )


def _not_between(group: Group, count: int, needs_fewer: bool = True) -> str:
    """Why nothing can be said of a count: no result there, none at a larger one, or none at a smaller one."""
    where = at(group.axis, count)
    if count not in group.done:
        return f"There is no result at {where}."
    if count == group.done[-1]:
        return f"There is no result beyond {where}."
    return f"There is no result below {where}." if needs_fewer and count == group.done[0] else ""


def _part_fallen(means: Array) -> Array:
    whole = difference(0, 2)(means)
    return np.asarray(difference(0, 1)(means) / np.where(whole, whole, np.nan))


def _near_margin(means: Array) -> Array:
    return np.maximum(NEAR_GREY_LEVELS, NEAR_SHARE * means[..., 1])


# Is a change of E_R rain removal, or damage to the picture?

_MORE = "the network trained on few patches really removes more of the unseen rain"
_LESS = "the network trained on few patches removes less of the unseen rain, not more"


def removal_or_damage(group: Group) -> Claim:
    """Says which of E_R and removal share moved from the smallest to the largest N, and what that means.

    E_R is the RMS change inside the rain. A network that removes the share s of the rain and does nothing else
    has E_R = s * oracle, in grey levels; whatever E_R moves beyond that does not follow the rain. So three paired
    changes are set side by side: of E_R, of the removal share, and of removal share * oracle.
    """
    text = "E_R falls because less of the rain is removed, not only because the background is damaged less."

    def claim(verdict: Verdict, numbers: dict[str, Any], sentence: str, effect: Effect | None = None) -> Claim:
        return Claim(REMOVAL_OR_DAMAGE, text, verdict, numbers, sentence, topic=REMOVAL_OR_DAMAGE, effect=effect)

    if len(group.done) < 2:
        return claim(NOT_ENOUGH, {}, "It takes results at two values to say what moved.")
    first, last = group.done[0], group.done[-1]
    e_r, share, removed = (group.change(last, first, name) for name in ("e_r", "removal_share", REMOVED))
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
    span = f"from {at(group.axis, first)} to {at(group.axis, last)}"
    effect = Effect.of(f"fall of the rain taken out {span}", removed, _GREY)
    return claim(verdict, numbers, f"F{span[1:]} {words}", effect if removed.images else None)


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


# The wider the rain range, the later removal breaks down as N grows.


def check_rain_range(frames: Frames) -> list[Claim]:
    """All statements on the rain range, for every comparison of ranges in a study."""
    found = []
    for comparison in comparisons(frames, "rain"):
        together = [breaks_later(comparison, measure) for measure in TWINS]
        found += with_scope(together, comparison.name, list(comparison.groups.values()))
        for rain, statement in (
            (SMALL, small_fails),
            (MEDIUM, medium_weakens),
            (LARGE, large_holds),
            (LARGE, large_fails),
        ):
            own = [comparison.groups[rain]] if rain in comparison.groups else []
            found += with_scope([statement(comparison, measure) for measure in TWINS], comparison.name, own)
    return found


def breaks_later(comparison: Comparison, measure: str) -> Claim:
    """The count at which the measure breaks down is ordered small < medium < large."""
    text = f"The wider the rain range, the more patches until {name(measure)} breaks down: small < medium < large."
    statement = Statement("breaks_later", measure, text)
    found = _break_downs(comparison, RANGES, measure)
    if isinstance(found, str):
        return statement.open(found)
    steps = [(place + 1, place) for place in range(len(RANGES) - 1)]
    criteria = differences(steps)
    held = number(100 * share_of_resamples(found.joint, criteria), 0)
    words = f"{found.words} The order holds in {held} % of the resamples."
    intervals = [found.joint.interval(difference(*step)) for step in steps]
    if any(not step.mean for step in intervals):
        words += " Neighbours that break down after the same count cannot be told apart with these counts."
    smallest = min(range(len(steps)), key=lambda place: intervals[place].mean)
    what = f"step from {RANGES[smallest]} to {RANGES[smallest + 1]}, the smallest"
    return statement.decide(
        found.joint,
        criteria,
        effect=Effect.of(what, intervals[smallest], "doublings of N"),
        words=words,
        numbers={"breaks_down_after": found.numbers},
    )


def small_fails(comparison: Comparison, measure: str) -> Claim:
    """At 16 patches the normalised measure of Small is below one half."""
    text = f"Small fails already at N = 16: {name(measure)}, normalised, is below one half there (half is ours)."
    return _beside_half(comparison, SMALL, 16, Statement("small_fails_at_16", measure, text), above=False)


def large_holds(comparison: Comparison, measure: str) -> Claim:
    """At 512 patches the normalised measure of Large is above one half."""
    text = f"Large keeps working until N = 512: {name(measure)}, normalised, is above one half there (half is ours)."
    return _beside_half(comparison, LARGE, LARGE_HOLDS, Statement("large_holds_to_512", measure, text), above=True)


def medium_weakens(comparison: Comparison, measure: str) -> Claim:
    """From 32 to 64 patches the measure of Medium falls."""
    text = f"Medium starts weakening at N = 64: {name(measure)} falls from N = 32."
    statement = Statement("medium_weakens_at_64", measure, text)
    if comparison.lacks([MEDIUM]):
        return statement.open(f"There is no result for rain {MEDIUM}.")
    group = comparison.groups[MEDIUM]
    if absent := [at(group.axis, count) for count in (32, 64) if count not in group.done]:
        return statement.open(f"There is no result at {listing(absent)} for {MEDIUM}.")
    found = means_at([(group, 32, measure), (group, 64, measure)])
    fall = found.interval(difference(0, 1))
    return statement.decide(
        found,
        difference(0, 1),
        effect=Effect.of("fall of medium from N = 32 to N = 64", fall, COLUMNS[measure].unit),
        words=f"From N = 32 to N = 64 {move(flipped(fall), measure, first=True)} for {MEDIUM}.",
        numbers={"fall": bounds(fall)},
    )


def large_fails(comparison: Comparison, measure: str) -> Claim:
    """At the largest count the measure of Large is far below its own best."""
    text = f"At the largest N even Large fails: {name(measure)} is at most {100 * FAILED:.0f} % of its best "
    statement = Statement("large_fails_at_most", measure, f"{text}(margin ours).")
    if comparison.lacks([LARGE]):
        return statement.open(f"There is no result for rain {LARGE}.")
    group = comparison.groups[LARGE]
    counts, last = group.done, group.values[-1]
    if last not in counts or last <= LARGE_HOLDS:
        reason = "has no result" if last not in counts else f"is not beyond {LARGE_HOLDS}, where Large still works"
        return statement.open(f"The largest N, {last}, {reason}; the paper says it of {PAPER_MOST}.")
    found = means_at([(group, count, measure) for count in counts])
    ratio = found.interval(lambda means: np.asarray(means[..., -1] / means.max(axis=-1)))
    level, best = (number(float(mean), decimals(measure)) for mean in (found.means[-1], found.means.max()))
    part, low, high = (number(100 * bound, 0) for bound in (ratio.mean, ratio.low, ratio.high))
    words = f"At {at(group.axis, last)} {name(measure)} of {LARGE} is {level}, {part} % of its best, {best} "
    words += f"({_INTERVAL}{low} to {high} %)."
    claim = statement.decide(
        found,
        lambda means: FAILED * means.max(axis=-1) - means[..., -1],
        effect=Effect.of(f"part of its best at {at(group.axis, last)}", ratio),
        words=words,
        numbers={"of_best": bounds(ratio), "largest": last},
    )
    if claim.verdict == CONTRADICTED and last < AS_MANY:
        return statement.open(f"{words} The paper says it of {PAPER_MOST}; {last} may be too few.")
    return claim


def _beside_half(comparison: Comparison, label: str, count: int, statement: Statement, above: bool) -> Claim:
    """The claim that the normalised measure of one group is above (or below) one half at a count."""
    measure = statement.measure
    if comparison.lacks([label]):
        return statement.open(f"There is no result for {comparison.by} {label}.")
    group = comparison.groups[label]
    if reason := _not_between(group, count) or without_fall(group, label, measure):
        return statement.open(reason)
    curve = normalised(group, measure)
    place, side = group.done.index(count), 1.0 if above else -1.0
    level = curve.levels[place]
    draws = curve.draws[:, place : place + 1]
    found = Joint(np.array([level.mean]), draws, level.images, level.skipped, level.units, level.seeds)
    shown, where = quantity(level.mean, level.low, level.high, words=_INTERVAL), at(group.axis, count)
    return statement.decide(
        found,
        lambda means: side * (means[..., 0] - HALF),
        effect=Effect.of(f"normalised level of {label} at {where}", level),
        words=f"At {where} {name(measure)} of {label} is {shown} on a scale from 0, its least, to 1, its greatest.",
        numbers={"level": bounds(level), "extent": bounds(curve.extent)},
    )


def _break_downs(comparison: Comparison, names: Sequence[str], measure: str) -> BreakDowns | str:
    """The break-downs of the groups of these names, or why there are none."""
    if missing := comparison.lacks(names):
        return f"There is no result for {comparison.by.replace('_', ' ')} {listing(missing)}."
    return break_downs({name: comparison.groups[name] for name in names}, measure)


# The more complex the category of the backgrounds, the sooner removal breaks down.


def check_category(frames: Frames) -> list[Claim]:
    """All statements on the image category, for every comparison of categories in a study.

    Certain in the paper are that CelebA drops sharply from 8 to 16 patches while DIV2K does not drop yet, and the order
    of complexity; the counts of the simpler categories stand in a garbled sentence and are no statement here.
    """
    found = []
    for comparison in comparisons(frames, "background"):
        claims = [statement(comparison, measure) for statement in (celeba_first, drops, ranked) for measure in TWINS]
        found += with_scope(claims, comparison.name, list(comparison.groups.values()))
    return found


def celeba_first(comparison: Comparison, measure: str) -> Claim:
    """The measure of CelebA breaks down at a smaller count than that of every other category there is."""
    text = f"{name(measure)} breaks down first for CelebA, of all categories."
    statement = Statement("celeba_first", measure, text[0].upper() + text[1:])
    celeba, *others = CATEGORIES
    there = [category for category in others if not comparison.lacks([category])]
    if not there:
        return statement.open("There is no other category with results.")
    found = _break_downs(comparison, [celeba, *there], measure)
    if isinstance(found, str):
        return statement.open(found)
    pairs = [(place, 0) for place in range(1, len(there) + 1)]
    leads = [found.joint.interval(difference(*pair)) for pair in pairs]
    alone = number(100 * share_of_resamples(found.joint, differences(pairs)), 0)
    nearest = min(range(len(there)), key=lambda place: leads[place].mean)
    return statement.decide(
        found.joint,
        differences(pairs),
        effect=Effect.of(f"lead over {there[nearest]}, the next", leads[nearest], "doublings of N"),
        words=f"{found.words} CelebA is first, alone, in {alone} % of the resamples.",
        numbers={"breaks_down_after": found.numbers},
    )


def drops(comparison: Comparison, measure: str) -> Claim:
    """From 8 to 16 patches the normalised measure falls more for CelebA than for DIV2K."""
    compared = CATEGORIES[:2]
    text = f"From N = 8 to N = 16 {name(measure)}, normalised, drops for CelebA and hardly for DIV2K."
    statement = Statement("celeba_drops_at_16", measure, text)
    if missing := comparison.lacks(compared):
        return statement.open(f"There is no result for background {listing(missing)}.")
    counts = comparison.common(compared)
    if absent := [at(PATCHES, count) for count in (8, 16) if count not in counts]:
        return statement.open(f"There is no result at {listing(absent)} for both.")
    members = [comparison.groups[category] for category in compared]
    for label, group in zip(compared, members, strict=True):
        if reason := without_fall(group, label, measure):
            return statement.open(reason)
    found = means_at([(group, count, measure) for group in members for count in counts])
    start = counts.index(8)

    def fall(means: Array, member: int) -> Array:
        curve = means[..., member * len(counts) : (member + 1) * len(counts)]
        return np.asarray((curve[..., start] - curve[..., start + 1]) / np.ptp(curve, axis=-1))

    falls = [found.interval(partial(fall, member=member)) for member in (0, 1)]
    more = found.interval(lambda means: fall(means, 0) - fall(means, 1))
    shown = [quantity(one.mean, one.low, one.high) for one in falls]
    return statement.decide(
        found,
        lambda means: np.stack([fall(means, 0), fall(means, 0) - fall(means, 1)], axis=-1),
        effect=Effect.of("fall of CelebA less that of DIV2K, normalised", more),
        words=f"From N = 8 to N = 16 normalised {name(measure)} falls by {' for CelebA and '.join(shown)} for DIV2K.",
        numbers={"celeba": bounds(falls[0]), "div2k": bounds(falls[1])},
    )


def ranked(comparison: Comparison, measure: str) -> Claim:
    """The break-down comes the later the simpler the category, as a rank correlation with the published order."""
    text = f"The simpler the category, the more patches until {name(measure)} breaks down."
    statement = Statement("simpler_later", measure, text)
    there = [category for category in CATEGORIES if not comparison.lacks([category])]
    if len(there) < _FEWEST:
        return statement.open(f"It takes {_FEWEST} categories with results; there are {len(there)}.")
    found = _break_downs(comparison, there, measure)
    if isinstance(found, str):
        return statement.open(found)
    correlation = found.joint.interval(rank_correlation)
    shown = quantity(correlation.mean, correlation.low, correlation.high, words=_INTERVAL)
    return statement.decide(
        found.joint,
        rank_correlation,
        effect=Effect.of("rank correlation with the published order", correlation),
        words=f"{found.words} With the published order, most complex first, that is a rank correlation of {shown}.",
        numbers={"breaks_down_after": found.numbers, "spearman": bounds(correlation)},
    )
