"""Section 8 of the paper's facts, Table 2: what fewer backgrounds and a wider rain range do to any network.

Against the baseline (most backgrounds, medium rain) every treated row has a higher E_R at the price of E_B, and E_R
rises as N falls (for RCDNet and ResNet; SPDNet's published numbers do not, so nothing is stated of it). PSNR is told
but decides nothing: in the paper it falls in rows that remove more rain. Only of a baseline that leaves the pictures
worse than it got them nothing is decided: it has not been trained for long enough to be one.
"""

from dataclasses import dataclass, replace
from itertools import pairwise, product

from slackoff.analysis.claim import NOT_ENOUGH, Claim, Effect
from slackoff.analysis.claims.comparisons import Comparison, comparisons
from slackoff.analysis.claims.decision import TWINS, judged, lacking, share
from slackoff.analysis.claims.samples import difference, differences, samples
from slackoff.analysis.claims.scope import placed
from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import Group
from slackoff.analysis.statistics import difference_interval
from slackoff.analysis.text import amount, flipped, listing, name, number, signed
from slackoff.analysis.trends import bounds
from slackoff.metrics.columns import COLUMNS

BASELINE_RAIN, WIDER_RAIN = "medium", "large"
ORDERED_NETWORKS = ("resnet", "rcdnet")
"""Networks whose published E_R falls at every step of N."""


@dataclass(frozen=True)
class Row:
    """A row of the table for one network: its number of backgrounds, its rain range, its results."""

    count: int
    rain: str
    group: Group

    @property
    def name(self) -> str:
        """'64 medium'."""
        return f"{self.count} {self.rain}"

    @property
    def done(self) -> bool:
        return self.count in self.group.done


def check_table2(frames: Frames) -> list[Claim]:
    """All statements of Table 2, for every network of a study."""
    found = []
    for comparison in comparisons(frames, "rain"):
        claims = [treated_higher(comparison, measure) for measure in TWINS]
        claims.append(treated_price(comparison))
        if network(comparison) in ORDERED_NETWORKS:
            claims += [ordered(comparison, measure) for measure in TWINS]
        if reason := untrained(baseline(comparison)):
            claims = [_without_verdict(claim, reason) for claim in claims]
        found += placed(claims, comparison.name, list(comparison.groups.values()))
    return found


def rows(comparison: Comparison) -> list[Row]:
    """The rows of a network, fewest backgrounds first."""
    found = [Row(int(count), rain, group) for rain, group in comparison.groups.items() for count in group.values]
    return sorted(found, key=lambda row: (row.count, row.rain))


def baseline(comparison: Comparison) -> Row | None:
    """The row with the most backgrounds at medium rain, whether or not it has results."""
    return max((row for row in rows(comparison) if row.rain == BASELINE_RAIN), key=lambda row: row.count, default=None)


def untrained(base: Row | None) -> str:
    """Why a baseline's rows say nothing about backgrounds and rain; empty if it restores, or has no result."""
    if base is None or not base.done:
        return ""
    own, untouched = (base.group.table(base.count, measure) for measure in ("psnr_rgb", "psnr_rgb_input"))
    gap = difference_interval(own, untouched, base.group.sources)
    if gap.sign >= 0:
        return ""
    return (
        f"The baseline ({base.name}) has not learned to restore: its PSNR lies {amount(flipped(gap), 'psnr_rgb')} dB "
        "below that of the untouched input. Train longer."
    )


def _without_verdict(claim: Claim, reason: str) -> Claim:
    return replace(claim, verdict=NOT_ENOUGH, sentence=f"{reason} {claim.sentence}")


def network(comparison: Comparison) -> str:
    """The network's name without its size: 'resnet' for resnet_small; empty where cells do not say it."""
    for group in comparison.groups.values():
        if "network" in group.cells:
            return str(group.cells["network"].iloc[0]).split("_")[0]
    return ""


def treated_higher(comparison: Comparison, measure: str) -> Claim:
    """Every row with fewer backgrounds or a wider range has more of the measure than the baseline."""
    statement = f"Fewer backgrounds or a wider rain range raise {name(measure)} over the baseline."
    return _against_baseline(comparison, "treated_higher", measure, statement)


def treated_price(comparison: Comparison) -> Claim:
    """Every treated row has a higher E_B than the baseline; says what PSNR did."""
    statement = "That has its price: every such row has a higher E_B than the baseline. PSNR decides nothing."
    return _against_baseline(comparison, "treated_price", "e_b", statement, told="psnr_rgb")


def ordered(comparison: Comparison, measure: str) -> Claim:
    """Along rows of falling N, whatever their range, the measure rises at every step."""
    statement = f"Over all rows {name(measure)} falls at every step as N grows, whatever the rain range."
    done = [row for row in rows(comparison) if row.done]
    counts = sorted({row.count for row in done})
    if len(counts) < 2:
        return lacking("ordered", measure, statement, f"It takes rows of two N with results; there are {len(counts)}.")
    found = samples([(row.group, row.count, measure) for row in done])
    steps = [
        (i, j)
        for few, many in pairwise(counts)
        for (i, first), (j, second) in product(enumerate(done), repeat=2)
        if first.count == few and second.count == many
    ]
    falls = {f"{done[i].name} to {done[j].name}": found.interval(difference(i, j)) for i, j in steps}
    shown = [f"{amount(fall, measure)} from {step}" for step, fall in falls.items()]
    words = f"{name(measure)} falls by {listing(shown)}. It falls at every step in "
    words += f"{number(100 * share(found, differences(steps)), 0)} % of the resamples."
    smallest = min(falls, key=lambda step: falls[step].mean)
    return judged(
        "ordered",
        measure,
        statement,
        found,
        differences(steps),
        Effect.of(f"fall from {smallest}, the smallest", falls[smallest], COLUMNS[measure].unit),
        words[0].upper() + words[1:],
        {"falls": {step: bounds(fall) for step, fall in falls.items()}},
    )


def _against_baseline(comparison: Comparison, topic: str, measure: str, statement: str, told: str = "") -> Claim:
    base = baseline(comparison)
    if base is None or not base.done:
        which = f"The baseline ({base.name})" if base else f"A baseline at {BASELINE_RAIN} rain"
        return lacking(topic, measure, statement, f"{which} has no result.")
    treated = [row for row in rows(comparison) if row.done and _is_treated(row, base)]
    if not treated:
        return lacking(topic, measure, statement, f"There is no row beside the baseline ({base.name}) with results.")
    found = samples([(row.group, row.count, measure) for row in (base, *treated)])

    pairs = [(place, 0) for place in range(1, len(treated) + 1)]
    gaps = {row.name: found.interval(difference(*pair)) for row, pair in zip(treated, pairs, strict=True)}
    shown = [f"{row} ({signed(gap, measure)})" for row, gap in gaps.items()]
    words = f"Against {base.name} {name(measure)} changes at {listing(shown)}."
    if told:
        words += f" {_told(base, treated, told)}"
    smallest = min(gaps, key=lambda row: gaps[row].mean)
    return judged(
        topic,
        measure,
        statement,
        found,
        differences(pairs),
        Effect.of(f"{smallest} above the baseline, the smallest difference", gaps[smallest], COLUMNS[measure].unit),
        words,
        {"baseline": base.name, "differences": {row: bounds(gap) for row, gap in gaps.items()}},
    )


def _is_treated(row: Row, base: Row) -> bool:
    """Whether a row has a wider rain range than the baseline, or fewer backgrounds at the same one."""
    return row.rain == WIDER_RAIN or (row.rain == BASELINE_RAIN and row.count < base.count)


def _told(base: Row, treated: list[Row], measure: str) -> str:
    """'PSNR, which decides nothing, changes at 64, medium (−1.20, −1.50 to −0.90).'"""
    found = samples([(row.group, row.count, measure) for row in (base, *treated)])
    shown = [f"{row.name} ({signed(found.interval(difference(i + 1, 0)), measure)})" for i, row in enumerate(treated)]
    return f"{name(measure)}, which decides nothing, changes at {listing(shown)}."
