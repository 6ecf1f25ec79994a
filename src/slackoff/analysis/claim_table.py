"""The claims of a study as tables for its page: one table per family, one row per statement, twins side by side."""

from collections import Counter
from dataclasses import dataclass

from slackoff.analysis.claim import Claim
from slackoff.analysis.claims.check import REFERENCES
from slackoff.analysis.claims.decision import TWINS
from slackoff.analysis.text import between, plain_label

TITLES = {
    "patchcount": "Number of backgrounds",
    "rainrange": "Rain range",
    "category": "Image category",
    "transfer": "Transfer to DIV2K-like backgrounds",
    "table2": "Table 2",
    "moss": "Images without truth",
    "moss_ablation": "Components of MOSS",
    "moss_tau": "Decay of the memory",
    "moss_nu": "Decay of the teacher",
    "menet_ablation": "Losses, weights and parts of MENET",
    "menet_table2": "MENET and its depth",
    "menet_lossnet": "Losses of MENET at fixed weights",
    "limited_labels": "Limited labels",
    "semi_generalisation": "Does self-training generalise?",
    "published_weights": "PReNet's published weights",
    "zoo": "Over all networks",
    REFERENCES: "Are the cells comparable?",
}
"""Headings, in the order of the page."""


@dataclass(frozen=True)
class Entry:
    """What a statement came to in one group: one claim, or the one on E_R and its twin on the removal share."""

    claims: tuple[Claim, ...]

    @property
    def group(self) -> str:
        return self.claims[0].group

    @property
    def disagreement(self) -> str:
        return self.claims[0].disagreement


@dataclass(frozen=True)
class Row:
    """A statement and what it came to in every group."""

    statement: str
    entries: tuple[Entry, ...]

    @property
    def verdicts(self) -> list[list[tuple[str, int]]]:
        """(verdict, in how many groups), the commonest first: of the claim, or of E_R and of the removal share."""
        columns = zip(*(entry.claims for entry in self.entries), strict=True)
        return [Counter(claim.verdict for claim in column).most_common() for column in columns]

    @property
    def spans(self) -> list[tuple[str, str]]:
        """(which of twins, '5.0 to 14.0 grey levels over 3 groups') for the effects that several groups have."""
        found = []
        for column in zip(*(entry.claims for entry in self.entries), strict=True):
            effects = [claim.effect for claim in column if claim.effect is not None]
            if effects:
                low, high = min(effect.mean for effect in effects), max(effect.mean for effect in effects)
                label = plain_label(column[0].measure) if len(self.verdicts) > 1 else ""
                over = f" over {len(effects)} groups" if len(effects) > 1 else " in 1 group"
                found.append((label, between(low, high, effects[0].unit) + over))
        return found

    @property
    def disagreements(self) -> list[tuple[str, int]]:
        """(how E_R and removal share disagree, in how many groups), the commonest first."""
        return Counter(entry.disagreement for entry in self.entries if entry.disagreement).most_common()


@dataclass(frozen=True)
class ClaimTable:
    """The statements of one family."""

    title: str
    rows: tuple[Row, ...]

    @property
    def has_twins(self) -> bool:
        """Whether a statement is made about E_R and about the removal share."""
        return any(len(row.verdicts) > 1 for row in self.rows)


def claim_tables(claims: list[Claim]) -> list[ClaimTable]:
    """The claims by family and statement, families in the order of `TITLES`."""
    families: dict[str, dict[tuple[str, str], dict[str, list[Claim]]]] = {title: {} for title in TITLES}
    for claim in claims:
        rows = families.setdefault(claim.family, {})
        own = "" if claim.measure in TWINS else claim.measure
        rows.setdefault((claim.topic, own), {}).setdefault(claim.group, []).append(claim)
    return [
        ClaimTable(TITLES.get(family, family), tuple(_row(list(groups.values())) for groups in rows.values()))
        for family, rows in families.items()
        if rows
    ]


def _row(groups: list[list[Claim]]) -> Row:
    return Row(groups[0][0].statement, tuple(Entry(tuple(claims)) for claims in groups))
