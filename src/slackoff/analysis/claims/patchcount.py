"""Section 1 of the paper: E_R, the removal share and E_B fall as the number of training backgrounds grows."""

import numpy as np
from scipy.stats import rankdata

from slackoff.analysis.claim import Claim, Effect
from slackoff.analysis.claims import ability, background_error
from slackoff.analysis.claims.artefact import removal_or_damage
from slackoff.analysis.claims.comparisons import along_patch_count
from slackoff.analysis.claims.decision import TWINS, judged, lacking
from slackoff.analysis.claims.samples import samples
from slackoff.analysis.claims.scope import placed
from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import Group, groups
from slackoff.analysis.statistics import Array
from slackoff.analysis.text import at, name, plain_label, quantity, symbol
from slackoff.analysis.trends import bounds, describe, trend
from slackoff.metrics.columns import COLUMNS

_FEWEST_RANKS = 3


def check_patch_count(frames: Frames) -> list[Claim]:
    """All statements on the patch count, for every group of a study."""
    found = []
    for group in groups(along_patch_count(frames)):
        claims = [falls(group, measure) for measure in (*TWINS, "e_b")]
        claims += [rank(group, measure) for measure in (*TWINS, "e_b")]
        for statement in (ability.handled, ability.gone, ability.settled):
            claims += [statement(group, measure) for measure in TWINS]
        claims += [background_error.near(group), background_error.flattens(group), removal_or_damage(group)]
        found += placed(claims, group.name, [group])
    return found


def falls(group: Group, measure: str) -> Claim:
    """The ends of the range and the rank correlation of the means both say that the measure falls."""
    label = plain_label(measure)
    statement = f"{label[0].upper()}{label[1:]} falls as {symbol(group.axis)} grows."
    found = trend(group, measure)
    if found is None:
        return lacking("falls", measure, statement, _too_few_values(group))
    effect = Effect.of(f"change {found.span[0].lower()}{found.span[1:]}", found.change, COLUMNS[measure].unit)
    return Claim(
        f"{measure}_falls",
        statement,
        found.verdict_on_fall,
        found.numbers(),
        describe(found),
        topic="falls",
        measure=measure,
        effect=effect if found.change.images else None,
    )


def rank(group: Group, measure: str) -> Claim:
    """Spearman's correlation of N and the measure, recomputed in each resample of the images, is below 0.

    Resampling shuffles the ranks of counts whose means are alike, so the interval of a curve that falls and then stays
    flat lies nearer to 0 than the correlation of its means.
    """
    counts = group.done
    statement = f"Spearman's rank correlation of {symbol(group.axis)} and {name(measure)} is negative."
    if len(counts) < _FEWEST_RANKS:
        reason = f"A rank correlation takes results at {_FEWEST_RANKS} values of {symbol(group.axis)}; "
        return lacking("rank", measure, statement, f"{reason}there are {len(counts)}.")
    found = samples([(group, count, measure) for count in counts])
    correlation = found.interval(spearman)
    words = f"Over {len(counts)} values of {symbol(group.axis)} Spearman's rank correlation with {name(measure)} is "
    words += f"{quantity(correlation.mean, correlation.low, correlation.high, words='95 % interval ')}."
    return judged(
        "rank",
        measure,
        statement,
        found,
        lambda means: -spearman(means),
        Effect.of("Spearman's rank correlation", correlation),
        words,
        {"values": counts, "spearman": bounds(correlation)},
    )


def spearman(means: Array) -> Array:
    """(...): the rank correlation of (..., V) means with their position; 0 where all means are the same."""
    ranks = rankdata(np.round(means, 6), axis=-1)
    ranks = ranks - ranks.mean(axis=-1, keepdims=True)
    position = np.arange(means.shape[-1]) - (means.shape[-1] - 1) / 2
    spread = np.sqrt((ranks**2).sum(axis=-1) * (position**2).sum())
    return np.asarray((ranks * position).sum(axis=-1) / np.where(spread > 0, spread, np.inf))


def _too_few_values(group: Group) -> str:
    if not group.done:
        return f"No {symbol(group.axis)} has results yet."
    return f"Only {at(group.axis, group.done[0])} has results: there is nothing to compare."
