"""Section 1 of the paper on transfer: trained on one category, tested on backgrounds like DIV2K.

Manga-trained networks are worse in E_B and E_R at every count; CelebA- and Urban-trained ones behave like the
DIV2K-trained from 128 patches on. "Like" has no number in the paper: the margins are ours.
"""

from collections.abc import Sequence

from slackoff.analysis.claim import Claim, Effect
from slackoff.analysis.claims.category import CATEGORIES
from slackoff.analysis.claims.comparisons import Comparison, comparisons, on_test_set
from slackoff.analysis.claims.decision import TWINS, judged, lacking, share, within
from slackoff.analysis.claims.samples import difference, differences, samples
from slackoff.analysis.claims.scope import placed
from slackoff.analysis.frames import Frames
from slackoff.analysis.statistics import Interval
from slackoff.analysis.text import first_of, listing, name, number, signed
from slackoff.analysis.trends import bounds
from slackoff.metrics.columns import COLUMNS

TEST_SET = "div2k"
MANGA = "manga109"
LIKE, ALIKE, LIKE_FROM = "div2k", ("celeba", "urban100"), 128
MARGINS = {"e_r": 3.0, "removal_share": 0.05, "e_b": 3.0}
"""Largest difference that still counts as alike: grey levels, share, grey levels."""

_MEASURES = (*TWINS, "e_b")


def check_transfer(frames: Frames) -> list[Claim]:
    """All statements on transfer, for every comparison of training categories on the DIV2K-like test set."""
    here = on_test_set(frames, TEST_SET)
    found = []
    for comparison in comparisons(here, "background"):
        claims = [statement(comparison, measure) for statement in (manga_worst, alike) for measure in _MEASURES]
        found += placed(claims, comparison.name, list(comparison.groups.values()))
    return found


def manga_worst(comparison: Comparison, measure: str) -> Claim:
    """At every count the Manga-trained network is worse than each of the others."""
    word = "lower" if COLUMNS[measure].better == "higher" else "higher"
    statement = f"On DIV2K-like backgrounds the Manga-trained are the worst at every count: {name(measure)} is {word}."
    others = [category for category in CATEGORIES if category != MANGA and not comparison.lacks([category])]
    if comparison.lacks([MANGA]) or not others:
        return lacking("manga_worst", measure, statement, _no_result(comparison, CATEGORIES))
    points = [(category, count) for count in comparison.common([MANGA, *others]) for category in (MANGA, *others)]
    if not points:
        return lacking("manga_worst", measure, statement, "There is no count at which all categories have results.")
    found = samples([(comparison.groups[category], count, measure) for category, count in points])
    manga = {count: place for place, (category, count) in enumerate(points) if category == MANGA}
    pairs = {
        f"{category} at N = {count}": (place, manga[count]) if word == "lower" else (manga[count], place)
        for place, (category, count) in enumerate(points)
        if category != MANGA
    }
    gaps = {where: found.interval(difference(*pair)) for where, pair in pairs.items()}
    criteria = differences(list(pairs.values()))
    smallest = min(gaps, key=lambda where: gaps[where].mean)
    return judged(
        "manga_worst",
        measure,
        statement,
        found,
        criteria,
        Effect.of(f"gap to {smallest}, the smallest", gaps[smallest], COLUMNS[measure].unit),
        f"{_counted(gaps, measure)} The Manga-trained are the worst at every count in "
        f"{number(100 * share(found, criteria), 0)} % of the resamples.{_left_out(comparison)}",
        {"gaps": {where: bounds(gap) for where, gap in gaps.items()}},
    )


def alike(comparison: Comparison, measure: str) -> Claim:
    """From 128 patches on CelebA- and Urban-trained networks differ from the DIV2K-trained by less than the margin."""
    margin, unit = MARGINS[measure], COLUMNS[measure].unit
    statement = (
        f"From N = {LIKE_FROM} on the CelebA- and Urban-trained behave like the DIV2K-trained: {name(measure)} differs "
        f"by at most {f'{margin:g} {unit}'.rstrip()} (margin ours)."
    )
    categories = (LIKE, *ALIKE)
    if comparison.lacks(categories):
        return lacking("alike_from_128", measure, statement, _no_result(comparison, categories))
    counts = [count for count in comparison.common(categories) if count >= LIKE_FROM]
    if not counts:
        reason = f"There is no count from {LIKE_FROM} on at which all three have results."
        return lacking("alike_from_128", measure, statement, reason)
    points = [(category, count) for count in counts for category in categories]
    found = samples([(comparison.groups[category], count, measure) for category, count in points])
    pairs = {
        f"{category} at N = {count}": (place, points.index((LIKE, count)))
        for place, (category, count) in enumerate(points)
        if category != LIKE
    }
    gaps = {where: found.interval(difference(*pair)) for where, pair in pairs.items()}
    largest = sorted(gaps, key=lambda where: -abs(gaps[where].mean))
    shown = [f"{where} ({signed(gaps[where], measure)})" for where in largest]
    return judged(
        "alike_from_128",
        measure,
        statement,
        found,
        lambda means: within(differences(list(pairs.values()))(means), margin),
        Effect.of(f"difference of {largest[0]}, the largest", gaps[largest[0]], unit),
        f"From the DIV2K-trained {name(measure)} differs most for {first_of(shown)}.",
        {"gaps": {where: bounds(gap) for where, gap in gaps.items()}, "margin": margin},
    )


def _counted(gaps: dict[str, Interval], measure: str) -> str:
    """How many comparisons have the Manga-trained worse, and which do not."""
    against = [f"{where} ({signed(gap, measure)})" for where, gap in gaps.items() if gap.mean <= 0]
    words = f"{len(gaps) - len(against)} of {len(gaps)} comparisons have the Manga-trained worse"
    return f"{words}; not {first_of(against)}." if against else f"{words}."


def _left_out(comparison: Comparison) -> str:
    missing = comparison.lacks(CATEGORIES)
    return f" There is no result for {listing(missing)}." if missing else ""


def _no_result(comparison: Comparison, wanted: Sequence[str]) -> str:
    return f"There is no result on the test set {TEST_SET} for {listing(comparison.lacks(wanted))}."
