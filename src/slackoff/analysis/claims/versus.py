"""Where E_R and the removal of rain disagree: which statements hold for removal itself, and which only for E_R.

E_R also rises when a network damages the picture. Every statement on E_R is therefore made about the removal share too,
and what comes out differently is said beside both, and for the whole study.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

from slackoff.analysis.claim import CONTRADICTED, NOT_ENOUGH, SUPPORTED, Claim, Verdict
from slackoff.analysis.claims.decision import TWINS
from slackoff.analysis.text import listing

ID = "er_versus_removal"

_STATEMENT = "What holds for E_R holds for the removal of rain itself, too."

_DISAGREEMENTS: dict[tuple[Verdict, Verdict], str] = {
    (SUPPORTED, CONTRADICTED): "Holds for E_R, not for removal itself.",
    (SUPPORTED, NOT_ENOUGH): "Shown for E_R, not for removal itself.",
    (CONTRADICTED, SUPPORTED): "Holds for removal itself, not for E_R.",
    (NOT_ENOUGH, SUPPORTED): "Shown for removal itself, not for E_R.",
    (CONTRADICTED, NOT_ENOUGH): "Contradicted for E_R; for removal itself there is not enough data.",
    (NOT_ENOUGH, CONTRADICTED): "Contradicted for removal itself; for E_R there is not enough data.",
}
"""By the verdicts for E_R and for the removal share."""


def with_disagreements(claims: list[Claim]) -> list[Claim]:
    """The claims in their order, each that comes out differently from its twin with a line that says how."""
    lines = {_key(e_r): _DISAGREEMENTS.get((e_r.verdict, share.verdict), "") for e_r, share in _twins(claims)}
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
    of_e_r = [(e_r, share) for e_r, share in pairs if e_r.verdict == SUPPORTED]
    held = {share.verdict for _, share in of_e_r}
    verdict: Verdict = NOT_ENOUGH
    if CONTRADICTED in held:
        verdict = CONTRADICTED
    elif held == {SUPPORTED}:
        verdict = SUPPORTED
    kinds = _kinds(pairs)
    groups = Counter(e_r.topic for e_r, _ in pairs)
    words = [f"{text}: {_named(kinds[kind], groups)}." for kind, text in _KINDS.items() if kinds[kind]]
    if kinds["neither"]:
        words.append(f"Supported for neither: {len(kinds['neither'])} of {len(pairs)}.")
    numbers = {kind: [f"{e_r.topic} ({e_r.group})".removesuffix(" ()") for e_r in same] for kind, same in kinds.items()}
    return Claim(ID, _STATEMENT, verdict, numbers, " ".join(words), topic=ID)


_KINDS = {
    "both": "For both hold",
    "only_e_r": "For E_R and not for removal itself hold",
    "shown_for_e_r": "Shown for E_R, not for removal itself, are",
    "only_removal": "For removal itself and not for E_R hold",
    "shown_for_removal": "Shown for removal itself, not for E_R, are",
}


def _kinds(pairs: list[tuple[Claim, Claim]]) -> dict[str, list[Claim]]:
    found: dict[str, list[Claim]] = {kind: [] for kind in (*_KINDS, "neither")}
    for e_r, share in pairs:
        found[_kind(e_r.verdict, share.verdict)].append(e_r)
    return found


def _kind(e_r: Verdict, share: Verdict) -> str:
    if SUPPORTED not in (e_r, share):
        return "neither"
    if e_r == share:
        return "both"
    if e_r == SUPPORTED:
        return "only_e_r" if share == CONTRADICTED else "shown_for_e_r"
    return "only_removal" if e_r == CONTRADICTED else "shown_for_removal"


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
