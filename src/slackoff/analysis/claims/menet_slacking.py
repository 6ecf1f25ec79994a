"""Balanced against fixed weights of losses at each number of background patches, on rain that is not trained on."""

from slackoff.analysis.claim import Claim, Effect
from slackoff.analysis.claims.decision import judged, lacking
from slackoff.analysis.claims.samples import difference, differences, samples
from slackoff.analysis.claims.scope import placed
from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import Group, groups
from slackoff.analysis.text import at, first_of, name, signed
from slackoff.analysis.trends import bounds
from slackoff.metrics.columns import COLUMNS

BY, FIXED = "weighting", "fixed"
MEASURES = {"e_r": "removed", "removal_share": "removed", "e_b": "background"}
"""Measure to topic: E_R and its twin say what is removed, E_B what that costs."""


def check_menet_slacking(frames: Frames) -> list[Claim]:
    """Everywhere balanced weights remove more unseen rain than fixed ones and change the background less."""
    found = _beside_fixed(frames)
    if not found:
        reason = "There are no networks with fixed and with balanced weights that agree in everything else."
        return placed(
            [lacking(topic, key, _statement("balanced", key), reason) for key, topic in MEASURES.items()], "", []
        )
    return [
        claim
        for title, fixed, balanced in found
        for claim in placed([_compared(fixed, balanced, measure) for measure in MEASURES], title, [fixed, balanced])
    ]


def _beside_fixed(frames: Frames) -> list[tuple[str, Group, Group]]:
    """What is compared, in words, and the groups with fixed and with other weights that agree in everything else."""
    weighted = [group for group in groups(frames) if BY in group.labels]
    fixed = {_others(group): group for group in weighted if group.labels[BY] == FIXED}
    return [
        (group.name, fixed[_others(group)], group)
        for group in weighted
        if group.labels[BY] != FIXED and _others(group) in fixed
    ]


def _others(group: Group) -> tuple[tuple[str, str], ...]:
    return tuple((key, str(value)) for key, value in group.labels.items() if key != BY)


def _compared(fixed: Group, balanced: Group, measure: str) -> Claim:
    weighting = str(balanced.labels[BY])
    topic, statement = f"{weighting}_{MEASURES[measure]}", _statement(weighting, measure)
    values = [value for value in fixed.done if value in balanced.done]
    if not values:
        return lacking(topic, measure, statement, "There is no number of patches at which both have results.")
    lower = COLUMNS[measure].better == "lower"
    found = samples([(group, value, measure) for value in values for group in (balanced, fixed)])
    places = [(2 * number, 2 * number + 1) for number in range(len(values))]
    gaps = {value: found.interval(difference(*place)) for value, place in zip(values, places, strict=True)}
    least = (max if lower else min)(gaps, key=lambda value: gaps[value].mean)
    shown = first_of([f"{at(fixed.axis, value)} ({signed(gap, measure)})" for value, gap in gaps.items()], most=6)
    return judged(
        topic,
        measure,
        statement,
        found,
        differences([place[::-1] for place in places] if lower else places),
        Effect.of(
            f"{weighting} less fixed at {at(fixed.axis, least)}, where it helps least",
            gaps[least],
            COLUMNS[measure].unit,
        ),
        f"Change of {name(measure)} from fixed to {weighting} weights: {shown}.",
        {"changes": {str(value): bounds(gap) for value, gap in gaps.items()}},
    )


def _statement(weighting: str, measure: str) -> str:
    what = "the background is changed less" if MEASURES[measure] == "background" else "more rain is removed"
    direction = f"{name(measure)} is {COLUMNS[measure].better}"
    return f"With {weighting} weights {what} than with fixed ones at every number of patches: {direction}."
