"""Section 1 of the paper on E_B: it falls and flattens at about 256 patches, where it is nearly as good as it gets.

"Flattens" and "nearly" have no numbers in the paper: the margins are ours.
"""

from math import log2

import numpy as np

from slackoff.analysis.claim import Claim, Effect
from slackoff.analysis.claims.ability import STABLE, not_between
from slackoff.analysis.claims.decision import judged, lacking
from slackoff.analysis.claims.samples import samples
from slackoff.analysis.groups import Group
from slackoff.analysis.statistics import Array, Interval
from slackoff.analysis.text import at, number, quantity
from slackoff.analysis.trends import bounds

NEAR_GREY_LEVELS = 3.0
NEAR_SHARE = 0.25
FLAT = 0.5

_UNIT = "grey levels"


def near(group: Group) -> Claim:
    """E_B at 256 is within a few grey levels of E_B at the largest count, paired over the images."""
    where = at(group.axis, STABLE)
    statement = (
        f"E_B at {where} is nearly as good as at the largest N: worse by at most {NEAR_GREY_LEVELS:g} grey levels or "
        f"{100 * NEAR_SHARE:g} %, whichever is more (margin ours)."
    )
    if reason := not_between(group, STABLE, needs_fewer=False):
        return lacking("near_at_256", "e_b", statement, reason)
    last = at(group.axis, group.done[-1])
    found = samples([(group, STABLE, "e_b"), (group, group.done[-1], "e_b")])
    gap, margin = found.interval(_gap), float(_margin(found.means))
    return judged(
        "near_at_256",
        "e_b",
        statement,
        found,
        lambda means: _margin(means) - _gap(means),
        Effect.of(f"E_B at {where} above that at {last}", gap, _UNIT),
        f"E_B is {number(float(found.means[0]), 1)} at {where} and {number(float(found.means[1]), 1)} at {last}, "
        f"{_words(gap)} more; the margin is {number(margin, 1)}.",
        {"gap": bounds(gap), "margin": margin},
    )


def flattens(group: Group) -> Claim:
    """Beyond 256 E_B falls per doubling of N by less than half of what it falls per doubling before."""
    where = at(group.axis, STABLE)
    statement = (
        f"E_B falls and flattens at about {where}: beyond it E_B falls by less than half as much per doubling of N "
        "as before it (half is ours)."
    )
    if reason := not_between(group, STABLE):
        return lacking("flattens_at_256", "e_b", statement, reason)
    first, last = group.done[0], group.done[-1]
    found = samples([(group, count, "e_b") for count in (first, STABLE, last)])

    def before(means: Array) -> Array:
        return np.asarray((means[..., 0] - means[..., 1]) / log2(STABLE / first))

    def beyond(means: Array) -> Array:
        return np.asarray((means[..., 1] - means[..., 2]) / log2(last / STABLE))

    early, late = found.interval(before), found.interval(beyond)
    return judged(
        "flattens_at_256",
        "e_b",
        statement,
        found,
        lambda means: np.stack([before(means), FLAT * before(means) - beyond(means)], axis=-1),
        Effect.of(f"fall per doubling of N beyond {where}", late, _UNIT),
        f"Per doubling of N E_B falls by {_words(early)} up to {where} and by {_words(late)} beyond it.",
        {"fall_per_doubling_before": bounds(early), "fall_per_doubling_beyond": bounds(late)},
    )


def _gap(means: Array) -> Array:
    return np.asarray(means[..., 0] - means[..., 1])


def _margin(means: Array) -> Array:
    return np.maximum(NEAR_GREY_LEVELS, NEAR_SHARE * means[..., 1])


def _words(interval: Interval) -> str:
    return quantity(interval.mean, interval.low, interval.high, _UNIT)
