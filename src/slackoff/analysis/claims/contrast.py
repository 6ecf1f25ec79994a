"""What a contrast is: that one thing is better than another, all else equal, and what decides it.

A row of contrasts.yaml (`Contrast`) names what should be better, what it is compared with and a `Design`: which results
are alike in everything else, and which of them are set against each other. Designs are shared; only a comparison of a
new shape needs another, in `claims.contrasts`.

Every difference between two results is a criterion of its own (see `claim.verdict`), so that no best one is picked from
noisy means. Margins and thresholds that a paper does not give are ours, and every statement that rests on one says so.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from slackoff.analysis.claims.claim import (
    NOT_ENOUGH,
    Claim,
    Comparison,
    Effect,
    Statement,
    Statistic,
    Undecided,
    bounds,
    differences,
    first_upper,
    share_of_resamples,
    within,
)
from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import means_at
from slackoff.analysis.statistics import Interval, Joint
from slackoff.analysis.text import first_of, listing, name, number, signed
from slackoff.metrics.columns import COLUMNS

Stated = Literal["higher", "lower"] | float
"""What is stated of a measure: that it is higher, lower, or alike within a margin in its unit."""

Place = tuple[str, Any]
"""Where a result stands in a `Comparison`: the key of its group there, and a value of the main axis."""


class Gap(NamedTuple):
    """A difference between two results, `more` less `less`; with `over`, less that between two others: of gains."""

    label: str
    more: Place
    less: Place
    over: tuple[Place, Place] | None = None


@dataclass(frozen=True)
class Contrast:
    """A row of the table: that what is `better` has a higher, or lower, measure than what is `worse`.

    `paper` says where that is stated. `statement` may use {name} of the measure, what is {stated} of it or the
    {opposite}, and the {weighting} that is compared. `better` and `worse` belong together one by one; a single `worse`
    stands against all. `gains` are what a design of gains compares: two kinds of gains, each by name a pair (better,
    worse). `test_set` and `networks`, where given, are those that alone it is about.

    `words` are the sentence with what was found, `effect` names the gap that decides; both may use what `Found.told`
    holds. `numbers` is what claims.json calls the gaps.
    """

    family: str
    topic: str
    paper: str
    statement: str
    design: "Design"
    measures: Mapping[str, Stated]
    better: tuple[str, ...] = ()
    worse: tuple[str, ...] = ()
    gains: Mapping[str, Mapping[str, tuple[Any, Any]]] | None = None
    test_set: str = ""
    networks: tuple[str, ...] = ()
    words: str = "Differences in {name}: {shown}."
    effect: str = "{smallest}"
    numbers: str = "gaps"

    def pairs(self, measure: str) -> list[tuple[str, str]]:
        """Each pair, first the one of which the higher measure is stated."""
        against = self.worse * len(self.better) if len(self.worse) == 1 else self.worse
        first, second = (against, self.better) if self.measures[measure] == "lower" else (self.better, against)
        return list(zip(first, second, strict=True))

    def about(self, comparison: Comparison, measure: str) -> Statement:
        """What the row says of one measure of one comparison."""
        stated = self.measures[measure]
        margin = f"{stated:g} {COLUMNS[measure].unit}".rstrip() if isinstance(stated, float) else ""
        weighting = comparison.labels.get("weighting", "balanced")
        opposite = "higher" if stated == "lower" else "lower"
        text = self.statement.format(
            name=name(measure), stated=margin or stated, opposite=opposite, weighting=weighting
        )
        return Statement(self.topic.format(weighting=weighting), measure, text)


@dataclass(frozen=True)
class Found:
    """What was measured of a row: the intervals of its `gaps` by their labels, `which` of them decides, the criteria.

    `places` are those of the means in `joint`, and `parts` what the gaps are made of.
    """

    row: Contrast
    comparison: Comparison
    measure: str
    places: list[Place]
    parts: list[Gap]
    joint: Joint
    gaps: dict[str, Interval]
    which: str
    criteria: Statistic

    def told(self) -> dict[str, Any]:
        """What the texts of the row may use, with what its design adds.

        `name` of the measure; `shown`, '64 medium (+0.6, 0.1 to 1.1)' of the first six gaps, and `all_shown`; `which`
        gap decides, and `smallest`, the same in words; in how many of 100 resamples (`percent`) all criteria hold.
        """
        gaps = shown(self.gaps, self.measure)
        extreme = "largest" if isinstance(self.row.measures[self.measure], float) else "smallest"
        return {
            "name": name(self.measure),
            "shown": first_of(gaps, most=6),
            "all_shown": listing(gaps),
            "which": self.which,
            "smallest": self.which if len(self.gaps) == 1 else f"{self.which}, the {extreme}",
            "percent": number(100 * share_of_resamples(self.joint, self.criteria), 0),
            **self.row.design.told(self),
        }


Gaps = list[Gap] | tuple[list[Place], list[Gap]]
"""What is set against what, with the order of the means where that is not the order of the gaps."""


@dataclass(frozen=True)
class Design:
    """How rows of one shape are compared.

    `alike`: the comparisons of a study within which all else is equal. `gaps`: what is set against what in one of them,
    for a measure, so that the statement holds where every gap is positive (with `changes`: where a measure changes as
    stated); it raises `Undecided` where nothing can be. `told`: what the texts of its rows may use beside `Found.told`.
    `numbers`: what claims.json holds. `average`: the mean of the gaps decides, not each. `by_topic`: claims come
    statement by statement, else comparison by comparison. `doubt`: why no row about a comparison decides anything, else
    empty.
    """

    alike: Callable[[Frames, str], list[Comparison]]
    gaps: Callable[[Comparison, Contrast, str], Gaps]
    told: Callable[[Found], dict[str, Any]] = lambda found: {}
    numbers: Callable[[Found], dict[str, Any]] = lambda found: {found.row.numbers: bounds_of(found.gaps)}
    changes: bool = False
    average: bool = False
    by_topic: bool = False
    doubt: Callable[[Comparison], str] = lambda comparison: ""


def judge(row: Contrast, comparison: Comparison, measure: str) -> Claim:
    """The claim that a row makes of one comparison and measure."""
    design, statement, stated = row.design, row.about(comparison, measure), row.measures[measure]
    try:
        found = _measured(row, comparison, measure)
        told = found.told()
        effect = Effect.of(row.effect.format(**told), found.gaps[found.which], COLUMNS[measure].unit)
        numbers = design.numbers(found) | ({"margin": stated} if isinstance(stated, float) else {})
        words = first_upper(row.words.format(**told))
        claim = statement.decide(found.joint, found.criteria, effect=effect, words=words, numbers=numbers)
    except Undecided as reason:
        claim = statement.open(str(reason))
    doubt = design.doubt(comparison)
    return replace(claim, verdict=NOT_ENOUGH, sentence=f"{doubt} {claim.sentence}") if doubt else claim


def _measured(row: Contrast, comparison: Comparison, measure: str) -> Found:
    """What a row finds in one comparison."""
    design, stated = row.design, row.measures[measure]
    given = design.gaps(comparison, row, measure)
    places, parts = given if isinstance(given, tuple) else ([], given)
    places = places or list(dict.fromkeys(place for gap in parts for place in (gap.more, gap.less, *(gap.over or ()))))
    joint = means_at([(comparison.groups[key], value, measure) for key, value in places])
    each = differences([(places.index(gap.more), places.index(gap.less)) for gap in parts])
    every = each
    if over := [(places.index(gap.over[0]), places.index(gap.over[1])) for gap in parts if gap.over]:
        every = lambda means: each(means) - differences(over)(means)  # noqa: E731
    if design.average:
        mean: Statistic = lambda means: every(means).mean(axis=-1)  # noqa: E731
        return Found(row, comparison, measure, places, parts, joint, {"": joint.interval(mean)}, "", mean)
    gaps = {gap.label: joint.interval(_part(every, place)) for place, gap in enumerate(parts)}
    criteria, size = every, {label: gap.mean for label, gap in gaps.items()}
    if isinstance(stated, float):
        criteria, size = (lambda means: within(every(means), stated)), {label: -abs(gap) for label, gap in size.items()}
    elif stated == "lower" and design.changes:
        criteria, size = (lambda means: -every(means)), {label: -gap for label, gap in size.items()}
    return Found(row, comparison, measure, places, parts, joint, gaps, min(size, key=size.__getitem__), criteria)


def _part(statistic: Statistic, place: int) -> Statistic:
    return lambda means: statistic(means)[..., place]


def bounds_of(gaps: Mapping[str, Interval]) -> dict[str, dict[str, float]]:
    """The intervals of gaps as plain numbers, by their labels."""
    return {label: bounds(gap) for label, gap in gaps.items()}


def shown(gaps: Mapping[str, Interval], measure: str) -> list[str]:
    """'64 medium (+0.6, 0.1 to 1.1)' of each gap."""
    return [f"{label} ({signed(gap, measure)})" for label, gap in gaps.items()]
