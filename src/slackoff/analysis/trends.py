"""How a measure moves along the main axis of a group: from end to end, and step by step."""

from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Any

from slackoff.analysis.claim import NOT_ENOUGH, Verdict
from slackoff.analysis.groups import Group
from slackoff.analysis.statistics import MIN_UNITS, Interval, Joint, spearman
from slackoff.analysis.text import MINUS, amount, at, flipped, listing, name, plain_label, signed, symbol


@dataclass(frozen=True)
class Trend:
    """A measure along the main axis, over the values that have results.

    `levels` holds the mean at each of `values`; `change` is last minus first and each of `steps` next minus
    this one, all paired over the same images; `spearman` correlates the means with the values.
    """

    measure: str
    axis: str
    values: list[Any]
    levels: list[Interval]
    change: Interval
    steps: list[Interval]
    spearman: float

    @property
    def verdict_on_fall(self) -> Verdict:
        """'supported' where the ends and the rank correlation both say that it falls, 'contradicted' where
        both say that it rises, else 'not enough data'."""
        if self.change.sign < 0 and self.spearman < 0:
            return "supported"
        return "contradicted" if self.change.sign > 0 and self.spearman > 0 else NOT_ENOUGH

    @property
    def span(self) -> str:
        """'From N = 8 to N = 1024'."""
        return f"From {at(self.axis, self.values[0])} to {at(self.axis, self.values[-1])}"

    def numbers(self) -> dict[str, Any]:
        """Everything above as plain numbers."""
        return {
            "values": self.values,
            "levels": [bounds(level) for level in self.levels],
            "change": bounds(self.change),
            "steps": [bounds(step) for step in self.steps],
            "spearman": self.spearman,
            "images": self.change.images,
            "images_skipped": self.change.skipped,
        }


def trend(group: Group, measure: str) -> Trend | None:
    """The trend of a measure; None with results at fewer than two values of the main axis."""
    values = group.done
    if len(values) < 2:
        return None
    levels = [group.level(value, measure) for value in values]
    return Trend(
        measure,
        group.axis,
        values,
        levels,
        group.change(values[0], values[-1], measure),
        [group.change(start, end, measure) for start, end in pairwise(values)],
        spearman(range(len(values)), [round(level.mean, 6) for level in levels]),
    )


def bounds(interval: Interval) -> dict[str, float]:
    """Mean and interval as plain numbers."""
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}


def describe(found: Trend) -> str:
    """The trend in one or two sentences that say what moved, by how much, and whether at every step."""
    if not found.change.images:
        return f"No test image has a value of {plain_label(found.measure)} at both ends: nothing can be said."
    rank = f"{found.spearman:+.2f}".replace("-", MINUS) if isfinite(found.spearman) else "undefined"
    sentence = f"{found.span} {move(found.change, found.measure, first=True)}; Spearman's rank correlation "
    sentence += f"with {symbol(found.axis)} over {len(found.values)} values is {rank}."
    if found.change.units < MIN_UNITS:
        return f"{sentence} {too_few(found.change)}"
    if found.change.sign and found.verdict_on_fall == NOT_ENOUGH:
        sentence += " The ends and the values between them disagree, so no direction is claimed."
    return f"{sentence} {_step_by_step(found)}" if len(found.steps) > 1 else sentence


def too_few(interval: Interval | Joint) -> str:
    """Why an interval from so few units decides nothing."""
    images = "1 test image" if interval.units == 1 else f"{interval.units} test images"
    once = " (crops of one photograph count once)" if interval.units < interval.images else ""
    return f"With {images}{once} nothing is decided: an interval needs at least {MIN_UNITS}."


def move(change: Interval, measure: str, first: bool = False) -> str:
    """'E_R falls by 12.3 grey levels (95 % interval 11.0 to 13.5)', or that it shows no clear change."""
    if change.sign > 0:
        return f"{name(measure)} rises by {amount(change, measure, first)}"
    if change.sign < 0:
        return f"{name(measure)} falls by {amount(flipped(change), measure, first)}"
    return f"{name(measure)} shows no clear change, {amount(change, measure, first)}"


def _step_by_step(found: Trend) -> str:
    """Whether the measure moves the same way at every step, naming each step that does not."""
    steps = list(zip(pairwise(found.values), found.steps, strict=True))
    if not found.change.sign:
        clear = [_step(pair, step, found.measure) for pair, step in steps if step.sign]
        return f"Clear steps: {listing(clear)}." if clear else "No step in between is clear on its own either."
    others = [_step(pair, step, found.measure) for pair, step in steps if step.sign != found.change.sign]
    verb = "rises" if found.change.sign > 0 else "falls"
    if not others:
        return f"It {verb} clearly at every step."
    return f"It {verb} clearly at {len(steps) - len(others)} of {len(steps)} steps; not {listing(others)}."


def _step(pair: tuple[Any, Any], step: Interval, measure: str) -> str:
    unclear = "" if step.sign else ", not clear"
    return f"from {pair[0]} to {pair[1]} ({signed(step, measure)}{unclear})"
