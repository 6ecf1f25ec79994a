"""Statements that one variant of a study is better, or worse, than another: what the claims on ablations share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Literal

from slackoff.analysis.claim import Claim, Effect
from slackoff.analysis.claims.decision import judged, lacking
from slackoff.analysis.claims.samples import difference, differences, samples
from slackoff.analysis.claims.scope import placed
from slackoff.analysis.claims.variant_tables import MEASURES
from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import Group, groups
from slackoff.analysis.statistics import Interval
from slackoff.analysis.text import first_of, listing, name, signed
from slackoff.analysis.trends import bounds
from slackoff.metrics.columns import COLUMNS

Direction = Literal["higher", "lower"]
Pair = tuple[str, str]

BETTER: Final = MappingProxyType[str, Direction](dict.fromkeys(MEASURES, "higher"))
WORSE: Final = MappingProxyType[str, Direction](dict.fromkeys(MEASURES, "lower"))


@dataclass(frozen=True)
class Statement:
    """That in each pair the first variant has a higher, or lower, measure than the second.

    `directions` holds the measures that it is about and which of the two is stated of each.
    """

    words: str
    pairs: Sequence[Pair]
    directions: Mapping[str, Direction] = field(default_factory=lambda: BETTER)


def checked(frames: Frames, statements: Mapping[str, Statement], test_set: str = "") -> list[Claim]:
    """A claim for each statement (by its topic), group and measure, on one test set or on each that there is."""

    def claim_on(topic: str, statement: Statement) -> Callable[[Group, str], Claim]:
        return lambda group, measure: _compared(group, measure, topic, statement)

    return [
        claim
        for topic, statement in statements.items()
        for claim in for_each(frames, claim_on(topic, statement), tuple(statement.directions), test_set)
    ]


def for_each(
    frames: Frames, claim: Callable[[Group, str], Claim], measures: Sequence[str] = MEASURES, test_set: str = ""
) -> list[Claim]:
    """What `claim` makes of each group and measure. `test_set`: only of the groups that were tested on it.

    Where no group was, the claims say so.
    """
    found = [group for group in groups(frames) if not test_set or set(group.images["test_set"]) == {test_set}]
    if not found:
        nothing = Group(frames.study.axis, {}, frames.cells, frames.images.head(0))
        said, over = f"No network was tested on {test_set}.", f"There are no results on {test_set}."
        return [replace(claim(nothing, measure), sentence=said, scope=over) for measure in measures]
    return [
        made for group in found for made in placed([claim(group, measure) for measure in measures], group.name, [group])
    ]


def undecided(group: Group, variants: Sequence[str]) -> str:
    """Why nothing can be said about these variants; empty where there is no reason."""
    if missing := [variant for variant in variants if variant not in group.done]:
        return f"There is no result for {listing(missing)}."
    best = max(group.level(variant, "psnr_rgb").mean for variant in group.done)
    untouched = group.level(group.done[0], "psnr_rgb_input").mean
    if best > untouched:
        return ""
    return (
        f"No variant gets better than its input (PSNR {best:.2f} dB at the best, input {untouched:.2f} dB): networks "
        "that were trained for so short a time say nothing about it."
    )


def places_of(pairs: Sequence[Pair], variants: Sequence[str]) -> list[tuple[int, int]]:
    """Where the variants of each pair stand among `variants`."""
    return [(variants.index(first), variants.index(second)) for first, second in pairs]


def told(gaps: Mapping[str, Interval], measure: str) -> str:
    """'Differences in PSNR: full over basic (+2.92, 2.70 to 3.10).'"""
    shown = first_of([f"{pair} ({signed(gap, measure)})" for pair, gap in gaps.items()], most=6)
    return f"Differences in {name(measure)}: {shown}."


def _compared(group: Group, measure: str, topic: str, statement: Statement) -> Claim:
    """The claim that in each pair of variants the measure differs in the direction that is stated."""
    direction = statement.directions[measure]
    text = f"{statement.words}: {name(measure)} is {direction}."
    pairs = [pair if direction == "higher" else pair[::-1] for pair in statement.pairs]
    variants = list(dict.fromkeys(variant for pair in pairs for variant in pair))
    if reason := undecided(group, variants):
        return lacking(topic, measure, text, reason)
    found = samples([(group, variant, measure) for variant in variants])
    places = places_of(pairs, variants)
    gaps = {
        f"{first} over {second}": found.interval(difference(*at))
        for (first, second), at in zip(pairs, places, strict=True)
    }
    smallest = min(gaps, key=lambda pair: gaps[pair].mean)
    return judged(
        topic,
        measure,
        text,
        found,
        differences(places),
        Effect.of(smallest if len(gaps) == 1 else f"{smallest}, the smallest", gaps[smallest], COLUMNS[measure].unit),
        told(gaps, measure),
        {"gaps": {pair: bounds(gap) for pair, gap in gaps.items()}},
    )
