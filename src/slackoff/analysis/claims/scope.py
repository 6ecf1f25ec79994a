"""What the numbers of a claim are over, what they hold nothing about, and which cells are missing from them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from slackoff.analysis.claim import Claim
from slackoff.analysis.groups import Group
from slackoff.analysis.text import at, listing, symbol


def scope(group: Group) -> str:
    """What the intervals are over, and what they hold nothing about."""
    if not len(group.images):
        return "There are no results yet."
    images = group.images["image"].nunique()
    names = listing(sorted(map(str, group.images["test_set"].unique())))
    photographs = "" if group.sources is None else f" from {len(set(group.sources))} photographs"
    if "photograph" in group.images and group.images["photograph"].notna().any():
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


def placed(claims: Iterable[Claim], name: str, groups: Sequence[Group]) -> list[Claim]:
    """The claims with the name of what they are about, their scope, and the cells that are missing from them."""
    scopes = list(dict.fromkeys(scope(group) for group in groups if len(group.images)))
    over = " ".join(scopes) or "There are no results yet."
    absent = [cell for group in groups for cell in _absent(group, named=len(groups) > 1)]
    gaps = f" No result for {listing(absent)}." if absent else ""
    return [replace(claim, sentence=claim.sentence + gaps, group=name, scope=over) for claim in claims]


def _absent(group: Group, named: bool) -> list[str]:
    """'N = 16 (failed)' for each value of the main axis that has no results."""
    found = []
    prefix = f"{group.name}, " if named and group.name else ""
    for value in group.values:
        if value not in group.done:
            states = sorted(set(group.cells[group.cells[group.axis] == value]["state"]))
            found.append(f"{prefix}{at(group.axis, value)} ({listing(states)})")
    return found
