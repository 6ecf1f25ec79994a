"""What a user study says, in words that never exceed its votes."""

from math import isclose

from slackoff.analysis.statistics import MIN_UNITS, Interval
from slackoff.analysis.user_study.summary import Summary
from slackoff.analysis.wording import first_of, listing, number, quantity


def answer(summary: Summary) -> tuple[bool, str]:
    """Whether one method is clearly preferred, and the sentences that say so or not."""
    level = summary.selection if summary.shares is not None else lambda name: summary.rank(name, 1)
    words = "selected most" if summary.shares is not None else "best most often"
    unit = "% of an image's votes" if summary.shares is not None else f"% of {len(summary.values)} images"
    names = summary.methods
    leaders = [name for name in names if isclose(level(name).mean, level(names[0]).mean)]
    share = number(level(names[0]).mean, 1)
    if len(leaders) > 1:
        return False, f"{listing(leaders)} are equally {words}, each with {share} {unit}."
    if len(summary.values) < MIN_UNITS:
        few = f"It takes {MIN_UNITS} images to decide anything; there are {len(summary.values)}."
        return False, f"{names[0]} is {words}, with {share} {unit}. {few}"
    text = f"{names[0]} is {words}, with {_text(level(names[0]), unit, '95 % interval ')}."
    if summary.shares is None:
        return False, text
    lead = summary.lead(*names[:2])
    ahead = f"ahead of {names[1]}, the next: by {_text(lead, 'percentage points')}"
    return lead.sign > 0, f"{text} It is {'' if lead.sign > 0 else 'not '}clearly {ahead}."


def notes(summary: Summary) -> list[str]:
    """What a reader must know of the data: images left out, replaced votes, ties."""
    found = []
    if summary.left_out:
        lacking = "votes" if summary.shares is not None else "a score of every method"
        found.append(f"Images without {lacking} are left out: {first_of(list(summary.left_out))}.")
    if summary.replaced:
        found.append(
            f"Votes of a rater on an image on which the rater voted again later do not count: {summary.replaced}."
        )
    if ties := [f"{summary.tied(n)} at n = {n}" for n in summary.places if summary.tied(n)]:
        found.append(
            f"Of {len(summary.values)} images, methods tie at the n-th place on {listing(ties)}: all of them count as "
            "among the n best there, which raises rank-n scores."
        )
    return found


def counted(summary: Summary) -> str:
    """'404 raters, 4040 votes, 48 images, 5 methods'."""
    parts = [f"{len(summary.values)} images", f"{len(summary.methods)} methods"]
    if summary.shares is not None:
        least, most = int(summary.values.sum(axis=1).min()), int(summary.values.sum(axis=1).max())
        span = number(least, 0) if least == most else f"{least} to {most}"
        parts = [f"{summary.raters} raters", f"{summary.votes} votes ({span} an image)", *parts]
    return ", ".join(parts)


def _text(level: Interval, unit: str, words: str = "") -> str:
    return quantity(level.mean, level.low, level.high, unit, 1, words)
