"""Which claims a study is checked on, whether its cells compare, how E_R and removal disagree, and the page's tables.

E_R also rises when a network damages the picture. Every statement on E_R is therefore made about the removal share too,
and what comes out differently is said beside both, and for the whole study.
"""

import difflib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np

from slackoff.analysis.claims.break_downs import check_category, check_rain_range
from slackoff.analysis.claims.claim import CONTRADICTED, NOT_ENOUGH, SUPPORTED, TWINS, Claim, Verdict, scope
from slackoff.analysis.claims.contrasts import TITLES, check_contrasts
from slackoff.analysis.claims.curves import check_patch_count
from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import Group, groups
from slackoff.analysis.statistics import difference_interval
from slackoff.analysis.study import Study
from slackoff.analysis.text import amount, at, between, flipped, listing, number, plain_label
from slackoff.errors import SlackoffError

REFERENCES: Final = "references"
SUMMARY: Final = "summary"

REFERENCE_COLUMNS = ("e_r_oracle", "removal_share_oracle", "psnr_rgb_input", "ssim_rgb_input")
"""Columns that depend on the test images alone: no network can change them."""

TOLERANCE = 1e-3
"""Largest difference of a reference between cells, in its own unit; rounding differs between machines."""


class Family(NamedTuple):
    """Claims that belong together: their heading on the page, and the function that makes them."""

    title: str
    check: Callable[[Frames], list[Claim]]


def check_references(frames: Frames) -> list[Claim]:
    """For every group of a study, whether its cells are comparable."""
    return [
        replace(_references(group), group=group.name, scope=scope(group), topic=REFERENCES) for group in groups(frames)
    ]


FAMILIES = MappingProxyType[str, Family](
    {
        "patchcount": Family("Number of backgrounds", check_patch_count),
        "rainrange": Family("Rain range", check_rain_range),
        "category": Family("Image category", check_category),
        **{family: Family(title, partial(check_contrasts, family=family)) for family, title in TITLES.items()},
        REFERENCES: Family("Are the cells comparable?", check_references),
    }
)
"""What a study may name in `study.claims`, in the order of the page."""


def check(frames: Frames) -> list[Claim]:
    """The claims of the families that the study names, how E_R and removal compare over them, and the references.

    A study that names none is checked on the patch count where that is its main axis. The references, whether the
    cells are comparable at all, are always checked.

    Raises SlackoffError when the study names a family that does not exist.
    """
    found: list[Claim] = []
    for family in _families(frames.study):
        found += [replace(claim, family=family) for claim in FAMILIES[family].check(frames)]
    found = with_disagreements(found)
    if summary := e_r_versus_removal(found):
        over = " ".join(dict.fromkeys(claim.scope for claim in found))
        found.append(replace(summary, family=SUMMARY, scope=over))
    return [*found, *(replace(claim, family=REFERENCES) for claim in check_references(frames))]


def _families(study: Study) -> list[str]:
    """The families to check, each once, without the references."""
    for name in study.claims:
        if name not in FAMILIES:
            close = difflib.get_close_matches(name, FAMILIES, n=1, cutoff=0.4)
            suggestion = f"did you mean '{close[0]}'? " if close else ""
            raise SlackoffError(
                f"study.claims of the study '{study.name}' names '{name}', which is no family of claims: "
                f"{suggestion}There are {', '.join(FAMILIES)}."
            )
    default = ("patchcount",) if study.axis == "patch_count" else ()
    return [name for name in dict.fromkeys(study.claims or default) if name != REFERENCES]


_SAME_IMAGES = "All networks were tested on the same rainy images."


def _references(group: Group) -> Claim:
    """The claim that the references agree between cells; says which networks pass beyond a reference."""
    if not group.done:
        return Claim(REFERENCES, _SAME_IMAGES, NOT_ENOUGH, {}, "There are no results yet.")
    levels = {name: group.level(group.done[0], name).mean for name in REFERENCE_COLUMNS}
    spread = _spread(group)
    numbers = {"largest_difference": spread, **levels}
    if not spread <= TOLERANCE:
        what = f"their references differ by up to {spread:.2g} in the same image"
        what = "they have different test images" if np.isnan(spread) else what
        sentence = f"The cells do not compare, {what}: evaluate all of them on one test set."
        return Claim(REFERENCES, _SAME_IMAGES, CONTRADICTED, numbers, sentence)
    sentence = (
        f"Doing nothing gives E_R 0, removal share 0 and PSNR {number(levels['psnr_rgb_input'], 2)} dB; "
        f"the perfect output gives E_R {number(levels['e_r_oracle'], 1)}, "
        f"removal share {number(levels['removal_share_oracle'], 2)} and E_B 0."
    )
    if above := _beyond(group, "e_r", "e_r_oracle", 1):
        sentence += f" E_R exceeds its oracle at {listing(above)}: that cannot be rain removal alone."
    if worse := _beyond(group, "psnr_rgb", "psnr_rgb_input", -1):
        sentence += f" PSNR is below that of the untouched input at {listing(worse)}."
    return Claim(REFERENCES, _SAME_IMAGES, SUPPORTED, numbers, sentence)


def _spread(group: Group) -> float:
    """Largest difference of a reference between cells in one image; NaN where cells have different images."""
    largest = 0.0
    for name in REFERENCE_COLUMNS:
        table = np.concatenate([group.table(value, name) for value in group.done])
        missing = np.isnan(table)
        if (missing.any(axis=0) != missing.all(axis=0)).any():
            return float("nan")
        present = table[:, ~missing.any(axis=0)]
        largest = max(largest, float(np.ptp(present, axis=0).max(initial=0.0)))
    return largest


def _beyond(group: Group, measure: str, reference: str, side: int) -> list[str]:
    """'N = 8 by 8.4 (7.1 to 9.9)' for each value at which a measure lies clearly beyond its reference."""
    found = []
    for value in group.done:
        own, bound = group.table(value, measure), group.table(value, reference)
        gap = difference_interval(own, bound, group.sources)
        if gap.sign == side:
            found.append(f"{at(group.axis, value)} by {amount(gap if side > 0 else flipped(gap), measure)}")
    return found


_SAME_FOR_REMOVAL = "What holds for E_R holds for the removal of rain itself, too."

_OUTCOMES: Final[dict[tuple[Verdict, Verdict], tuple[str, str]]] = {
    (SUPPORTED, SUPPORTED): ("both", ""),
    (SUPPORTED, CONTRADICTED): ("only_e_r", "Holds for E_R, not for removal itself."),
    (SUPPORTED, NOT_ENOUGH): ("shown_for_e_r", "Shown for E_R, not for removal itself."),
    (CONTRADICTED, SUPPORTED): ("only_removal", "Holds for removal itself, not for E_R."),
    (NOT_ENOUGH, SUPPORTED): ("shown_for_removal", "Shown for removal itself, not for E_R."),
    (CONTRADICTED, NOT_ENOUGH): ("neither", "Contradicted for E_R; for removal itself there is not enough data."),
    (NOT_ENOUGH, CONTRADICTED): ("neither", "Contradicted for removal itself; for E_R there is not enough data."),
}
"""By the verdicts for E_R and for the removal share: the kind of twins in the summary, and what is said beside both."""

_KINDS = {
    "both": "For both hold",
    "only_e_r": "For E_R and not for removal itself hold",
    "shown_for_e_r": "Shown for E_R, not for removal itself, are",
    "only_removal": "For removal itself and not for E_R hold",
    "shown_for_removal": "Shown for removal itself, not for E_R, are",
}


def _outcome(twins: tuple[Claim, Claim]) -> tuple[str, str]:
    return _OUTCOMES.get((twins[0].verdict, twins[1].verdict), ("neither", ""))


def with_disagreements(claims: list[Claim]) -> list[Claim]:
    """The claims in their order, each that comes out differently from its twin with a line that says how."""
    lines = {_key(pair[0]): _outcome(pair)[1] for pair in _twins(claims)}
    return [
        replace(claim, disagreement=lines.get(_key(claim), "")) if claim.measure in TWINS else claim for claim in claims
    ]


def e_r_versus_removal(claims: list[Claim]) -> Claim | None:
    """One claim over all twins of a study; None where there are no twins.

    'supported' where every statement that is supported for E_R is supported for the removal share, 'contradicted'
    where one of them is contradicted for the removal share.
    """
    pairs = list(_twins(claims))
    if not pairs:
        return None
    held = {share.verdict for e_r, share in pairs if e_r.verdict == SUPPORTED}
    verdict: Verdict = NOT_ENOUGH
    if CONTRADICTED in held:
        verdict = CONTRADICTED
    elif held == {SUPPORTED}:
        verdict = SUPPORTED
    kinds: dict[str, list[Claim]] = {kind: [] for kind in (*_KINDS, "neither")}
    for pair in pairs:
        kinds[_outcome(pair)[0]].append(pair[0])
    groups = Counter(e_r.topic for e_r, _ in pairs)
    words = [f"{text}: {_named(kinds[kind], groups)}." for kind, text in _KINDS.items() if kinds[kind]]
    if kinds["neither"]:
        words.append(f"Supported for neither: {len(kinds['neither'])} of {len(pairs)}.")
    numbers = {kind: [f"{e_r.topic} ({e_r.group})".removesuffix(" ()") for e_r in same] for kind, same in kinds.items()}
    return Claim("er_versus_removal", _SAME_FOR_REMOVAL, verdict, numbers, " ".join(words), topic="er_versus_removal")


def _named(claims: list[Claim], groups: Counter[str]) -> str:
    """'“E_R falls as N grows” (in 2 of 8 groups)', each statement once; `groups` counts those of each topic."""
    parts = []
    for topic, same in groupby(sorted(claims, key=lambda claim: claim.topic), key=lambda claim: claim.topic):
        found = list(same)
        statement = found[0].statement.removesuffix(".")
        where = f" (in {len(found)} of {groups[topic]} groups)" if groups[topic] > 1 else ""
        parts.append(f"\N{LEFT DOUBLE QUOTATION MARK}{statement}\N{RIGHT DOUBLE QUOTATION MARK}{where}")
    return listing(parts)


def _key(claim: Claim) -> tuple[str, str, str]:
    return claim.family, claim.topic, claim.group


def _twins(claims: list[Claim]) -> Iterator[tuple[Claim, Claim]]:
    """(claim on E_R, its twin on the removal share)."""
    shares = {_key(claim): claim for claim in claims if claim.measure == TWINS[1]}
    for claim in claims:
        if claim.measure == TWINS[0] and _key(claim) in shares:
            yield claim, shares[_key(claim)]


@dataclass(frozen=True)
class Row:
    """A statement and what it came to in every group.

    Each of `entries` holds one claim, or the one on E_R and its twin on the removal share.
    """

    entries: tuple[tuple[Claim, ...], ...]

    @property
    def statement(self) -> str:
        """What is claimed."""
        return self.entries[0][0].statement

    @property
    def verdicts(self) -> list[list[tuple[str, int]]]:
        """(verdict, in how many groups), the commonest first: of the claim, or of E_R and of the removal share."""
        return [Counter(claim.verdict for claim in of_one).most_common() for of_one in zip(*self.entries, strict=True)]

    @property
    def spans(self) -> list[tuple[str, str]]:
        """(which of twins, '5.0 to 14.0 grey levels over 3 groups') for the effects that several groups have."""
        found = []
        for of_one in zip(*self.entries, strict=True):
            effects = [claim.effect for claim in of_one if claim.effect is not None]
            if effects:
                low, high = min(effect.mean for effect in effects), max(effect.mean for effect in effects)
                label = plain_label(of_one[0].measure) if len(self.entries[0]) > 1 else ""
                over = f" over {len(effects)} groups" if len(effects) > 1 else " in 1 group"
                found.append((label, between(low, high, effects[0].unit) + over))
        return found

    @property
    def disagreements(self) -> list[tuple[str, int]]:
        """(how E_R and removal share disagree, in how many groups), the commonest first."""
        return Counter(claim.disagreement for claim, *_ in self.entries if claim.disagreement).most_common()


@dataclass(frozen=True)
class ClaimTable:
    """The statements of one family."""

    title: str
    rows: tuple[Row, ...]

    @property
    def has_twins(self) -> bool:
        """Whether a statement is made about E_R and about the removal share."""
        return any(len(row.entries[0]) > 1 for row in self.rows)


def claim_tables(claims: list[Claim]) -> list[ClaimTable]:
    """The claims by family and statement, families in the order of `FAMILIES`."""
    families: dict[str, dict[tuple[str, str], dict[str, list[Claim]]]] = {family: {} for family in FAMILIES}
    for claim in claims:
        rows = families[claim.family]
        own = "" if claim.measure in TWINS else claim.measure
        rows.setdefault((claim.topic, own), {}).setdefault(claim.group, []).append(claim)
    return [
        ClaimTable(FAMILIES[family].title, tuple(Row(tuple(map(tuple, groups.values()))) for groups in rows.values()))
        for family, rows in families.items()
        if rows
    ]
