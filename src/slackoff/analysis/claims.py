"""What a study says about the claims of the paper, in words that never exceed the numbers.

The claims are those of Gu et al., "Networks are Slacking Off" (NeurIPS 2023), on the number of training
backgrounds. E_R also rises when a network wrecks the picture, so the claim on the removal share is the one
that counts, and a claim of its own says how much of the change of E_R is rain removal and how much is damage.
"""

from dataclasses import replace

from slackoff.analysis.artefact import ANSWER, removal_or_damage
from slackoff.analysis.claim import Claim
from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import Group, groups
from slackoff.analysis.sanity import check_references
from slackoff.analysis.trends import describe, trend
from slackoff.analysis.wording import at, listing, plain_label, symbol

__all__ = ["ANSWER", "Claim", "check", "scope"]


def check(frames: Frames) -> list[Claim]:
    """Checks the claims in every group of a study; those on patch counts only where that is the main axis."""
    found = []
    for group in groups(frames):
        checked = [check_references(group)]
        if group.axis == "patch_count":
            falls = [_falls(group, measure) for measure in ("e_r", "removal_share", "e_b")]
            checked = [*falls, removal_or_damage(group), *checked]
        gaps = _gaps(group)
        for claim in checked:
            sentence = claim.sentence + gaps if claim.id != "references" else claim.sentence
            found.append(replace(claim, sentence=sentence, group=group.name, scope=scope(group)))
    return found


def scope(group: Group) -> str:
    """What the intervals are over, and what they hold nothing about."""
    if not len(group.images):
        return "There are no results yet."
    images = group.images["image"].nunique()
    names = listing(sorted(map(str, group.images["test_set"].unique())))
    photographs = "" if group.sources is None else f" from {len(set(group.sources))} photographs"
    if "photograph" in group.images:
        photographs = f" (crops of {group.images['photograph'].nunique()} photographs)"
    each = symbol(group.axis)
    over = f"95 % bootstrap intervals over the {images} test images{photographs} of {names}"
    seeds = group.images.groupby(group.axis)["cell"].nunique()
    if seeds.max() == 1:
        return (
            f"{over}, for the trained networks at hand; with one training seed per {each} they hold nothing "
            "about other training seeds."
        )
    count = f"{seeds.min()}" if seeds.min() == seeds.max() else f"{seeds.min()} to {seeds.max()}"
    return f"{over} and over {count} training seeds per {each}; few seeds understate how trainings differ."


def _falls(group: Group, measure: str) -> Claim:
    label = plain_label(measure)
    statement = f"{label[0].upper()}{label[1:]} falls as {symbol(group.axis)} grows."
    found = trend(group, measure)
    if found is None:
        return Claim(f"{measure}_falls", statement, "undecided", {}, _too_few_values(group))
    return Claim(f"{measure}_falls", statement, found.verdict_on_fall, found.numbers(), describe(found))


def _too_few_values(group: Group) -> str:
    if not group.done:
        return f"No {symbol(group.axis)} has results yet."
    return f"Only {at(group.axis, group.done[0])} has results: there is nothing to compare."


def _gaps(group: Group) -> str:
    """' No result for N = 16 (failed).' for the values that are not in the comparison; else empty."""
    absent = [value for value in group.values if value not in group.done]
    if not absent:
        return ""
    states = {value: sorted(set(group.cells[group.cells[group.axis] == value]["state"])) for value in absent}
    named = [f"{at(group.axis, value)} ({listing(states[value])})" for value in absent]
    return f" No result for {listing(named)}."
