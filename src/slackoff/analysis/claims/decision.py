"""From resampled numbers to a verdict: every statement is numbers that are positive where it holds."""

from typing import Any

import numpy as np

from slackoff.analysis.claim import CONTRADICTED, NOT_ENOUGH, SUPPORTED, Claim, Effect, Verdict
from slackoff.analysis.claims.samples import Statistic
from slackoff.analysis.statistics import LEVEL, MIN_UNITS, Array, Joint
from slackoff.analysis.text import plain_label
from slackoff.analysis.trends import too_few

TWINS = ("e_r", "removal_share")
"""Every statement on E_R is also made about the removal share, which does not rise when a picture is damaged."""


def verdict(found: Joint, criteria: Statistic) -> Verdict:
    """'supported' where every criterion's 95 % interval lies above 0, 'contradicted' where one clearly lies below.

    `criteria` are one number or several, (..., V) means to (...) or (..., k). A statement of several parts holds where
    each holds on its own (intersection-union test). The more parts, the likelier that one fails by chance alone, so the
    error that a contradiction may have is divided by their number (Bonferroni).
    """
    if found.units < MIN_UNITS:
        return NOT_ENOUGH
    points, draws = _parts(found, criteria)
    tail = 100 * (1 - LEVEL) / 2
    if (points > 0).all() and (np.percentile(draws, tail, axis=0) > 0).all():
        return SUPPORTED
    below = (points < 0) & (np.percentile(draws, 100 - tail / len(points), axis=0) < 0)
    return CONTRADICTED if below.any() else NOT_ENOUGH


def share(found: Joint, criteria: Statistic) -> float:
    """The share of the resamples in which all criteria are positive; NaN without resamples."""
    return float((_parts(found, criteria)[1] > 0).all(axis=1).mean()) if found.units >= 2 else float("nan")


def judged(
    topic: str,
    measure: str,
    statement: str,
    found: Joint,
    criteria: Statistic,
    effect: Effect,
    words: str,
    numbers: dict[str, Any],
) -> Claim:
    """The claim that the criteria decide; `words` say the effect, `numbers` is what lies behind it."""
    if not found.images:
        label = plain_label(measure)
        return lacking(topic, measure, statement, f"No test image has a value of {label} everywhere.")
    counts = {"share_of_resamples": share(found, criteria), "images": found.images, "images_skipped": found.skipped}
    return Claim(
        f"{measure}_{topic}",
        statement,
        verdict(found, criteria),
        numbers | counts,
        f"{words} {too_few(found)}" if found.units < MIN_UNITS else words,
        topic=topic,
        measure=measure,
        effect=effect,
    )


def lacking(topic: str, measure: str, statement: str, reason: str) -> Claim:
    """The claim for which there are no numbers, and why."""
    return Claim(f"{measure}_{topic}", statement, NOT_ENOUGH, {}, reason, topic=topic, measure=measure)


def within(difference: Array, margin: Array | float) -> Array:
    """(..., 2): the criteria of equivalence: the difference is below the margin, and above its opposite (two tests)."""
    return np.stack([margin - difference, margin + difference], axis=-1)


def _parts(found: Joint, criteria: Statistic) -> tuple[Array, Array]:
    """(k,) criteria as measured and (RESAMPLES, k) in each resample."""
    return np.ravel(criteria(found.means)), criteria(found.draws).reshape(len(found.draws), -1)
