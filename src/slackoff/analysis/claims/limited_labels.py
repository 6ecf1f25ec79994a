"""Limited labels: images without truth beside labelled ones, at each share of labels."""

from slackoff.analysis.claim import Claim, Effect
from slackoff.analysis.claims.decision import judged, lacking
from slackoff.analysis.claims.samples import difference, differences, samples
from slackoff.analysis.claims.scope import placed
from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import Group, groups
from slackoff.analysis.text import first_of, name, signed
from slackoff.analysis.trends import bounds
from slackoff.metrics.columns import COLUMNS

BY = "self_training"
MEASURES = ("psnr_rgb", "ssim_rgb")


def check_limited_labels(frames: Frames) -> list[Claim]:
    """At every share the labelled and unlabelled images together give more than the labelled ones alone."""
    if not (pairs := _pairs(frames)):
        reason = "There are no networks with and without self-training that agree in everything else."
        return placed([lacking("unlabelled", measure, _statement(measure), reason) for measure in MEASURES], "", [])
    return [
        claim
        for title, (alone, both) in pairs.items()
        for claim in placed([_better(alone, both, measure) for measure in MEASURES], title, [alone, both])
    ]


def _pairs(frames: Frames) -> dict[str, tuple[Group, Group]]:
    """Groups without and with self-training that agree in everything else."""
    apart: dict[str, dict[bool, Group]] = {}
    for group in groups(frames):
        if BY in group.labels:
            title = ", ".join(f"{key} = {value}" for key, value in group.labels.items() if key != BY)
            apart.setdefault(title, {})[bool(group.labels[BY])] = group
    return {title: (found[False], found[True]) for title, found in apart.items() if len(found) == 2}


def _better(alone: Group, both: Group, measure: str) -> Claim:
    statement = _statement(measure)
    shares = [share for share in alone.done if share in both.done]
    if not shares:
        return lacking("unlabelled", measure, statement, "There is no share at which both have results.")
    points = [(group, share, measure) for share in shares for group in (both, alone)]
    found = samples(points)
    places = [(2 * number, 2 * number + 1) for number in range(len(shares))]
    gaps = {f"{share:g}": found.interval(difference(*pair)) for share, pair in zip(shares, places, strict=True)}
    smallest = min(gaps, key=lambda share: gaps[share].mean)
    shown = first_of([f"{share} ({signed(gap, measure)})" for share, gap in gaps.items()], most=6)
    return judged(
        "unlabelled",
        measure,
        statement,
        found,
        differences(places),
        Effect.of(f"gain at a share of {smallest}, the smallest", gaps[smallest], COLUMNS[measure].unit),
        f"Gain in {name(measure)} by share: {shown}.",
        {"gains": {share: bounds(gap) for share, gap in gaps.items()}},
    )


def _statement(measure: str) -> str:
    return (
        f"The other pairs' rainy images add to the labelled ones at every share of labels: {name(measure)} is higher."
    )
