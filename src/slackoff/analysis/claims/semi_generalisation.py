"""Does self-training generalise? Rain of the unlabelled images, rain that is in neither set, and fewer backgrounds.

"Networks are Slacking Off" says of semi-supervised methods that they make unseen rain seen rain, and leave the problem
as it is. What is checked here is that, for one network and one choice of rains.
"""

from typing import Any

from slackoff.analysis.claim import Claim, Effect
from slackoff.analysis.claims.decision import TWINS, judged, lacking
from slackoff.analysis.claims.samples import Point, Statistic, samples
from slackoff.analysis.claims.scope import placed
from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import TEST_SET, Group, groups
from slackoff.analysis.statistics import Array
from slackoff.analysis.text import listing, name
from slackoff.analysis.trends import bounds
from slackoff.metrics.columns import COLUMNS

MANY, TAUGHT, FEW = "many patches", "many patches, self-training", "few patches"
NEW, UNLABELLED = "new_rain", "unlabelled_rain"

Place = tuple[str, str]
"""A test set and a variant."""

STATEMENTS: dict[str, tuple[str, list[Place], list[int]]] = {
    "unlabelled_rain": (
        "Self-training removes more of the rain of the unlabelled images",
        [(UNLABELLED, TAUGHT), (UNLABELLED, MANY)],
        [1, -1],
    ),
    "new_rain": (
        "Self-training removes more of rain that is in neither set",
        [(NEW, TAUGHT), (NEW, MANY)],
        [1, -1],
    ),
    "turns_into_seen": (
        "Self-training gains more on the rain of the unlabelled images than on rain that is in neither set",
        [(UNLABELLED, TAUGHT), (UNLABELLED, MANY), (NEW, TAUGHT), (NEW, MANY)],
        [1, -1, -1, 1],
    ),
    "few_patches": (
        "On rain that is in neither set, fewer patches without unlabelled images remove more than self-training",
        [(NEW, FEW), (NEW, TAUGHT)],
        [1, -1],
    ),
}
"""Topic to statement, places, and the signs with which their means add up to a number that is positive if it holds."""


def check_semi_generalisation(frames: Frames) -> list[Claim]:
    """All statements, for E_R and the removal share, once for each combination of the other axes."""
    found: list[Claim] = []
    for title, sets in (_by_test_set(frames) or {"": {}}).items():
        made = [_claim(topic, measure, sets) for topic in STATEMENTS for measure in TWINS]
        found += placed(made, title, list(sets.values()))
    return found


def _by_test_set(frames: Frames) -> dict[str, dict[str, Group]]:
    """Groups that differ in their test set only, together."""
    found: dict[str, dict[str, Group]] = {}
    for group in groups(frames):
        if len(group.images):
            title = ", ".join(f"{key} = {value}" for key, value in group.labels.items() if key != TEST_SET)
            found.setdefault(title, {})[str(group.images["test_set"].iloc[0])] = group
    return found


def _claim(topic: str, measure: str, sets: dict[str, Group]) -> Claim:
    words, places, signs = STATEMENTS[topic]
    statement = f"{words}: {name(measure)} is higher." if len(signs) == 2 else f"{words}: {name(measure)} rises more."
    missing = [f"{variant} on {test}" for test, variant in places if test not in sets or variant not in sets[test].done]
    if missing:
        return lacking(topic, measure, statement, f"There is no result for {listing(missing)}.")
    points: list[Point] = [(sets[test], variant, measure) for test, variant in places]
    found = samples(points)
    gap = found.interval(_signed(signs))
    means = {f"{variant} on {test}": float(found.means[place]) for place, (test, variant) in enumerate(places)}
    shown = [f"{place} {value:.2f}" for place, value in means.items()]
    numbers: dict[str, Any] = {"means": means, "gap": bounds(gap)}
    return judged(
        topic,
        measure,
        statement,
        found,
        _signed(signs),
        Effect.of("difference" if len(signs) == 2 else "difference of the gains", gap, COLUMNS[measure].unit),
        f"Means of {name(measure)}: {listing(shown)}.",
        numbers,
    )


def _signed(signs: list[int]) -> Statistic:
    def total(means: Array) -> Array:
        result: Array = (means * signs).sum(axis=-1)
        return result

    return total
