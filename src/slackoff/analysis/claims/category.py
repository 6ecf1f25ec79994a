"""Section 1 of the paper on the image category: the more complex the backgrounds, the sooner removal breaks down.

Certain in the text are that CelebA drops sharply from 8 to 16 patches while DIV2K does not drop yet, and the order of
complexity; the counts of the simpler categories stand in a garbled sentence and are not made a statement here.
"""

from functools import partial

import numpy as np

from slackoff.analysis.claim import Claim, Effect
from slackoff.analysis.claims.breakdown import break_downs, without_fall
from slackoff.analysis.claims.comparisons import Comparison, comparisons
from slackoff.analysis.claims.decision import TWINS, judged, lacking, share
from slackoff.analysis.claims.patchcount import spearman
from slackoff.analysis.claims.samples import difference, differences, samples
from slackoff.analysis.claims.scope import placed
from slackoff.analysis.frames import Frames
from slackoff.analysis.statistics import Array
from slackoff.analysis.text import at, listing, name, number, quantity
from slackoff.analysis.trends import bounds

CATEGORIES = ("celeba", "div2k", "manga109", "urban100")
"""In the paper's order of structural complexity, the most complex first."""

_FEWEST_CATEGORIES = 3


def check_category(frames: Frames) -> list[Claim]:
    """All statements on the image category, for every comparison of categories in a study."""
    found = []
    for comparison in comparisons(frames, "background"):
        claims = [statement(comparison, measure) for statement in (celeba_first, drops, ranked) for measure in TWINS]
        found += placed(claims, comparison.name, list(comparison.groups.values()))
    return found


def celeba_first(comparison: Comparison, measure: str) -> Claim:
    """The measure of CelebA breaks down at a smaller count than that of every other category there is."""
    topic, statement = "celeba_first", f"{name(measure)} breaks down first for CelebA, of all categories."
    statement = statement[0].upper() + statement[1:]
    celeba, *others = CATEGORIES
    there = [category for category in others if not comparison.lacks([category])]
    if not there:
        return lacking(topic, measure, statement, "There is no other category with results.")
    found = break_downs(comparison, [celeba, *there], measure)
    if isinstance(found, str):
        return lacking(topic, measure, statement, found)

    pairs = [(place, 0) for place in range(1, len(there) + 1)]
    leads = [found.joint.interval(difference(*pair)) for pair in pairs]
    alone = number(100 * share(found.joint, differences(pairs)), 0)
    nearest = min(range(len(there)), key=lambda place: leads[place].mean)
    return judged(
        topic,
        measure,
        statement,
        found.joint,
        differences(pairs),
        Effect.of(f"lead over {there[nearest]}, the next", leads[nearest], "doublings of N"),
        f"{found.words} CelebA is first, alone, in {alone} % of the resamples.",
        {"breaks_down_after": found.numbers},
    )


def drops(comparison: Comparison, measure: str) -> Claim:
    """From 8 to 16 patches the normalised measure falls more for CelebA than for DIV2K."""
    celeba, div2k, *_ = CATEGORIES
    topic = "celeba_drops_at_16"
    statement = f"From N = 8 to N = 16 {name(measure)}, normalised, drops for CelebA and hardly for DIV2K."
    if missing := comparison.lacks([celeba, div2k]):
        return lacking(topic, measure, statement, f"There is no result for background {listing(missing)}.")
    counts = comparison.common([celeba, div2k])
    if absent := [at("patch_count", count) for count in (8, 16) if count not in counts]:
        return lacking(topic, measure, statement, f"There is no result at {listing(absent)} for both.")
    members = [comparison.groups[category] for category in (celeba, div2k)]
    for label, group in zip((celeba, div2k), members, strict=True):
        if reason := without_fall(group, label, measure):
            return lacking(topic, measure, statement, reason)
    found = samples([(group, count, measure) for group in members for count in counts])
    start = counts.index(8)

    def fall(means: Array, member: int) -> Array:
        curve = means[..., member * len(counts) : (member + 1) * len(counts)]
        return np.asarray((curve[..., start] - curve[..., start + 1]) / np.ptp(curve, axis=-1))

    falls = [found.interval(partial(fall, member=member)) for member in (0, 1)]
    more = found.interval(lambda means: fall(means, 0) - fall(means, 1))
    shown = [quantity(one.mean, one.low, one.high) for one in falls]
    return judged(
        topic,
        measure,
        statement,
        found,
        lambda means: np.stack([fall(means, 0), fall(means, 0) - fall(means, 1)], axis=-1),
        Effect.of("fall of CelebA less that of DIV2K, normalised", more),
        f"From N = 8 to N = 16 normalised {name(measure)} falls by {shown[0]} for CelebA and {shown[1]} for DIV2K.",
        {"celeba": bounds(falls[0]), "div2k": bounds(falls[1])},
    )


def ranked(comparison: Comparison, measure: str) -> Claim:
    """The break-down comes the later the simpler the category, as a rank correlation with the published order."""
    topic = "simpler_later"
    statement = f"The simpler the category, the more patches until {name(measure)} breaks down."
    there = [category for category in CATEGORIES if not comparison.lacks([category])]
    if len(there) < _FEWEST_CATEGORIES:
        reason = f"It takes {_FEWEST_CATEGORIES} categories with results; there are {len(there)}."
        return lacking(topic, measure, statement, reason)
    found = break_downs(comparison, there, measure)
    if isinstance(found, str):
        return lacking(topic, measure, statement, found)
    correlation = found.joint.interval(spearman)
    shown = quantity(correlation.mean, correlation.low, correlation.high, words="95 % interval ")
    return judged(
        topic,
        measure,
        statement,
        found.joint,
        spearman,
        Effect.of("rank correlation with the published order", correlation),
        f"{found.words} With the published order, most complex first, that is a rank correlation of {shown}.",
        {"breaks_down_after": found.numbers, "spearman": bounds(correlation)},
    )
