"""Do fewer backgrounds and a wider rain range remove more unseen rain whatever the network is?

"Networks are Slacking Off" shows it for three networks; here it is asked of every network of a study, and on average.
"""

from collections.abc import Sequence

import numpy as np

from slackoff.analysis.claim import Claim, Effect
from slackoff.analysis.claims.decision import TWINS, judged, lacking
from slackoff.analysis.claims.samples import samples
from slackoff.analysis.claims.scope import placed
from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import TEST_SET, Group, groups, in_order
from slackoff.analysis.statistics import Array
from slackoff.analysis.study import SIZES
from slackoff.analysis.text import at, first_of, name, number
from slackoff.metrics.columns import COLUMNS

PATCHES, RAIN = "patch_count", "rain"

STATEMENTS = {
    PATCHES: "On average over the networks, fewer background patches remove more unseen rain",
    RAIN: "On average over the networks, a wider range of training rain removes more unseen rain",
}

_Pair = tuple[Group, Group]
"""Settings that differ in one thing: what should remove more, and what it is compared with."""


def check_zoo(frames: Frames) -> list[Claim]:
    """Both statements, for E_R and the removal share, on each test set."""
    by_test_set: dict[str, list[Group]] = {}
    for group in groups(frames):
        by_test_set.setdefault(str(group.labels.get(TEST_SET, "")), []).append(group)
    return [
        claim
        for test_set, found in by_test_set.items()
        for claim in placed(
            [_claim(topic, measure, _pairs(topic, found)) for topic in STATEMENTS for measure in TWINS],
            f"{TEST_SET} = {test_set}" if test_set else "",
            found,
        )
    ]


def _pairs(topic: str, found: Sequence[Group]) -> list[_Pair]:
    """Groups at both ends of an axis that agree in everything else: the one that should remove more comes first."""
    ends = in_order(group.labels[topic] for group in found if topic in group.labels)
    if topic == RAIN:
        ends = sorted((end for end in ends if end in SIZES), key=SIZES.index, reverse=True)
    if len(ends) < 2:
        return []
    at_end = {
        end: {_others(group, topic): group for group in found if group.labels.get(topic) == end}
        for end in (ends[0], ends[-1])
    }
    first, last = at_end.values()
    return [(first[key], last[key]) for key in first if key in last]


def _others(group: Group, topic: str) -> tuple[tuple[str, str], ...]:
    return tuple((key, str(value)) for key, value in group.labels.items() if key != topic)


def _claim(topic: str, measure: str, pairs: Sequence[_Pair]) -> Claim:
    statement = f"{STATEMENTS[topic]}: {name(measure)} is higher."
    found = {
        network: differing
        for network in dict.fromkeys(str(value) for pair in pairs for value in pair[0].done)
        if (differing := [pair for pair in pairs if _differ(pair, network, measure)])
    }
    if not found:
        return lacking(topic, measure, statement, "There are no trained networks at both ends that agree in all else.")
    points = [(group, network, measure) for network, pairs in found.items() for pair in pairs for group in pair]
    joint = samples(points)
    gaps = joint.means[0::2] - joint.means[1::2]
    owners = np.repeat(list(found), [len(differing) for differing in found.values()])
    each = {network: float(gaps[owners == network].mean()) for network in found}
    higher = [network for network, gap in each.items() if gap > 0]
    more, less = (at(topic, pairs[0][place].labels[topic]) for place in (0, 1))
    against = [f"{network} ({number(gap, 2)})" for network, gap in each.items() if gap <= 0]
    what = f"{more} less {less}, mean of {len(each)} networks"
    effect = Effect.of(what, joint.interval(_mean_gap), COLUMNS[measure].unit)
    words = f"{name(measure)} is higher with {more} than with {less} in {len(higher)} of {len(each)} networks"
    rest = f", but not in {first_of(against, most=6)}" if against and higher else ""
    return judged(
        topic,
        measure,
        statement,
        joint,
        _mean_gap,
        effect,
        f"{words[0].upper()}{words[1:]}{rest}.",
        {"changes": each, "higher": len(higher), "networks": len(each)},
    )


def _differ(pair: _Pair, network: str, measure: str) -> bool:
    """Whether both have results of a network, which are not the same: what trains nothing is the same everywhere."""
    if any(network not in group.done for group in pair):
        return False
    first, second = (group.table(network, measure) for group in pair)
    return first.shape != second.shape or not np.array_equal(first, second, equal_nan=True)


def _mean_gap(means: Array) -> Array:
    gap: Array = (means[..., 0::2] - means[..., 1::2]).mean(axis=-1)
    return gap
