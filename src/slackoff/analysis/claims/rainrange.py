"""Section 1 of the paper on the rain range: the wider it is, the later removal breaks down as N grows."""

import numpy as np

from slackoff.analysis.claim import Claim, Effect
from slackoff.analysis.claims.breakdown import beside_half, order
from slackoff.analysis.claims.comparisons import Comparison, comparisons
from slackoff.analysis.claims.decision import TWINS, judged, lacking
from slackoff.analysis.claims.samples import difference, samples
from slackoff.analysis.claims.scope import placed
from slackoff.analysis.frames import Frames
from slackoff.analysis.statistics import Array
from slackoff.analysis.text import at, decimals, flipped, listing, name, number
from slackoff.analysis.trends import bounds, move
from slackoff.metrics.columns import COLUMNS

SMALL, MEDIUM, LARGE = RANGES = ("small", "medium", "large")

FAILED = 0.75
"""At or below this part of its own best a range has failed: ours."""

_PAPER_MOST = 30000
_LARGE_HOLDS, _AS_MANY = 512, 10_000
"""The paper has Large work up to 512; from 10000 patches on a study is as good as its 30000 (ours)."""


def check_rain_range(frames: Frames) -> list[Claim]:
    """All statements on the rain range, for every comparison of ranges in a study."""
    found = []
    for comparison in comparisons(frames, "rain"):
        together = [breaks_later(comparison, measure) for measure in TWINS]
        found += placed(together, comparison.name, list(comparison.groups.values()))
        for rain, statement in _OF_ONE_RANGE:
            own = [comparison.groups[rain]] if rain in comparison.groups else []
            found += placed([statement(comparison, measure) for measure in TWINS], comparison.name, own)
    return found


def breaks_later(comparison: Comparison, measure: str) -> Claim:
    """The count at which the measure breaks down is ordered small < medium < large."""
    statement = f"The wider the rain range, the more patches until {name(measure)} breaks down: small < medium < large."
    return order(comparison, RANGES, "breaks_later", measure, statement)


def small_fails(comparison: Comparison, measure: str) -> Claim:
    """At 16 patches the normalised measure of Small is below one half."""
    statement = f"Small fails already at N = 16: {name(measure)}, normalised, is below one half there (half is ours)."
    return beside_half(comparison, SMALL, 16, "small_fails_at_16", measure, statement, above=False)


def large_holds(comparison: Comparison, measure: str) -> Claim:
    """At 512 patches the normalised measure of Large is above one half."""
    statement = (
        f"Large keeps working until N = 512: {name(measure)}, normalised, is above one half there (half is ours)."
    )
    return beside_half(comparison, LARGE, _LARGE_HOLDS, "large_holds_to_512", measure, statement, above=True)


def medium_weakens(comparison: Comparison, measure: str) -> Claim:
    """From 32 to 64 patches the measure of Medium falls."""
    topic, statement = "medium_weakens_at_64", f"Medium starts weakening at N = 64: {name(measure)} falls from N = 32."
    if comparison.lacks([MEDIUM]):
        return lacking(topic, measure, statement, f"There is no result for rain {MEDIUM}.")
    group = comparison.groups[MEDIUM]
    if absent := [at(group.axis, count) for count in (32, 64) if count not in group.done]:
        return lacking(topic, measure, statement, f"There is no result at {listing(absent)} for {MEDIUM}.")
    found = samples([(group, 32, measure), (group, 64, measure)])
    fall = found.interval(difference(0, 1))
    return judged(
        topic,
        measure,
        statement,
        found,
        difference(0, 1),
        Effect.of("fall of medium from N = 32 to N = 64", fall, COLUMNS[measure].unit),
        f"From N = 32 to N = 64 {move(flipped(fall), measure, first=True)} for {MEDIUM}.",
        {"fall": bounds(fall)},
    )


def large_fails(comparison: Comparison, measure: str) -> Claim:
    """At the largest count the measure of Large is far below its own best."""
    topic = "large_fails_at_most"
    statement = (
        f"At the largest N even Large fails: {name(measure)} is at most {100 * FAILED:.0f} % of its best (margin ours)."
    )
    if comparison.lacks([LARGE]):
        return lacking(topic, measure, statement, f"There is no result for rain {LARGE}.")
    group = comparison.groups[LARGE]
    counts, last = group.done, group.values[-1]
    if last not in counts or last <= _LARGE_HOLDS:
        reason = "has no result" if last not in counts else f"is not beyond {_LARGE_HOLDS}, where Large still works"
        return lacking(
            topic, measure, statement, f"The largest N, {last}, {reason}; the paper says it of {_PAPER_MOST}."
        )
    found = samples([(group, count, measure) for count in counts])
    ratio = found.interval(_of_best)
    level, best = (number(float(mean), decimals(measure)) for mean in (found.means[-1], found.means.max()))
    words = f"At {at(group.axis, last)} {name(measure)} of {LARGE} is {level}, {number(100 * ratio.mean, 0)} % of its "
    words += f"best, {best} (95 % interval {number(100 * ratio.low, 0)} to {number(100 * ratio.high, 0)} %)."
    claim = judged(
        topic,
        measure,
        statement,
        found,
        lambda means: FAILED * means.max(axis=-1) - means[..., -1],
        Effect.of(f"part of its best at {at(group.axis, last)}", ratio),
        words,
        {"of_best": bounds(ratio), "largest": last},
    )
    if claim.verdict == "contradicted" and last < _AS_MANY:
        reason = f"{words} The paper says it of {_PAPER_MOST}; {last} may be too few."
        return lacking(topic, measure, statement, reason)
    return claim


def _of_best(means: Array) -> Array:
    return np.asarray(means[..., -1] / means.max(axis=-1))


_OF_ONE_RANGE = ((SMALL, small_fails), (MEDIUM, medium_weakens), (LARGE, large_holds), (LARGE, large_fails))
