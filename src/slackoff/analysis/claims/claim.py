"""What a claim is, how resampled means decide it, what its intervals are over, and which cells compare.

Every statement comes down to numbers that are positive where it holds: its criteria. They are functions of the means at
points of a study, which are resampled together, so that each has an interval.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import wraps
from typing import Any, Final, Literal, TypeVar

import numpy as np
import pandas as pd

from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import Group, describe, groups, is_number, together
from slackoff.analysis.statistics import LEVEL, MIN_UNITS, Array, Interval, Joint
from slackoff.analysis.text import at, listing, name, plain_label, quantity, symbol, too_few

Verdict = Literal["supported", "contradicted", "not enough data"]

SUPPORTED: Final = "supported"
CONTRADICTED: Final = "contradicted"
NOT_ENOUGH: Final = "not enough data"

TWINS = ("e_r", "removal_share")
"""Every statement on E_R is also made about the removal share, which does not rise when a picture is damaged."""

PATCHES = "patch_count"

Statistic = Callable[[Array], Array]
"""From (..., V) means of V points to (...) numbers, or to (..., k)."""


@dataclass(frozen=True)
class Effect:
    """The size of what a claim is about, with its 95 % interval, in its own unit.

    `what` names it: 'fall from N = 8 to N = 1024'. `unit` is empty for a plain number.
    """

    what: str
    mean: float
    low: float
    high: float
    unit: str = ""

    @classmethod
    def of(cls, what: str, interval: Interval, unit: str = "") -> "Effect":
        """The effect that an interval holds."""
        return cls(what, interval.mean, interval.low, interval.high, unit)

    @property
    def text(self) -> str:
        """'12.3 grey levels (11.0 to 13.5)'."""
        return quantity(self.mean, self.low, self.high, self.unit)


@dataclass(frozen=True)
class Claim:
    """A checkable statement with the numbers that support or contradict it.

    `numbers` are plain Python values (NaN where there is none), `sentence` says them in words. `group` names
    the cells that it is about where a study has several groups. `scope` says what the intervals cover and
    what they do not; it belongs to every sentence.

    `family` names the statements that belong together, `topic` the statement and `measure` what it is about,
    where that is one measure. Two claims of one family, group and topic about E_R and about the removal share are
    twins; `disagreement` says where twins come out differently.
    """

    id: str
    statement: str
    verdict: Verdict
    numbers: dict[str, Any]
    sentence: str
    group: str = ""
    scope: str = ""
    family: str = ""
    topic: str = ""
    measure: str = ""
    effect: Effect | None = None
    disagreement: str = ""

    def as_json(self) -> dict[str, Any]:
        """The claim as JSON can hold it: NaN becomes None."""
        plain = _without_nan(asdict(self))
        assert isinstance(plain, dict)
        return plain


@dataclass(frozen=True)
class Statement:
    """What is claimed of one measure, before the numbers: `topic` and `measure` name the claim, `text` says it."""

    topic: str
    measure: str
    text: str

    def decide(
        self, found: Joint, criteria: Statistic, *, effect: Effect, words: str, numbers: dict[str, Any]
    ) -> Claim:
        """The claim that the criteria decide.

        Args:
            found: the means that the criteria are of.
            criteria: one number or several, each positive where the statement holds (see `verdict`).
            effect: its size.
            words: the effect in a sentence or several.
            numbers: what lies behind it, as plain values.
        """
        if not found.images:
            return self.open(f"No test image has a value of {plain_label(self.measure)} everywhere.")
        counts = {"share_of_resamples": share_of_resamples(found, criteria)}
        counts |= {"images": found.images, "images_skipped": found.skipped}
        words = f"{words} {too_few(found)}" if found.units < MIN_UNITS else words
        return self.with_verdict(verdict(found, criteria), numbers | counts, words, effect)

    def with_verdict(self, verdict: Verdict, numbers: dict[str, Any], words: str, effect: Effect | None) -> Claim:
        """The claim with a verdict that is known."""
        about: dict[str, Any] = {"topic": self.topic, "measure": self.measure, "effect": effect}
        return Claim(f"{self.measure}_{self.topic}".strip("_"), self.text, verdict, numbers, words, **about)

    def open(self, reason: str) -> Claim:
        """The claim for which there are no numbers, and why."""
        return self.with_verdict(NOT_ENOUGH, {}, reason, None)


class Undecided(Exception):
    """Why a statement cannot be decided, in a sentence: there is nothing to decide it by."""


About = TypeVar("About")
"""What a statement is about: a group, or a comparison of groups."""


def stated(topic: str, text: str) -> Callable[[Callable[[Statement, About], Claim]], Callable[[About, str], Claim]]:
    """Makes the claims on a measure of a function that decides a statement or raises `Undecided`.

    Args:
        topic: names the statement.
        text: says it; {name} is the measure as the subject of a sentence, {label} the measure.
    """

    def decorate(decide: Callable[[Statement, About], Claim]) -> Callable[[About, str], Claim]:
        @wraps(decide)
        def claim(about: About, measure: str) -> Claim:
            words = {"name": name(measure), "label": plain_label(measure)} if measure else {}
            statement = Statement(topic, measure, first_upper(text.format(**words)))
            try:
                return decide(statement, about)
            except Undecided as reason:
                return statement.open(str(reason))

        return claim

    return decorate


def first_upper(text: str) -> str:
    """The text with a capital first letter."""
    return text[0].upper() + text[1:]


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


def share_of_resamples(found: Joint, criteria: Statistic) -> float:
    """The share of the resamples in which all criteria are positive; NaN without resamples."""
    return float((_parts(found, criteria)[1] > 0).all(axis=1).mean()) if found.units >= 2 else float("nan")


def within(difference: Array, margin: Array | float) -> Array:
    """(..., 2): the criteria of equivalence: the difference is below the margin, and above its opposite (two tests)."""
    return np.stack([margin - difference, margin + difference], axis=-1)


def difference(first: int, second: int) -> Statistic:
    """The statistic that takes the mean at one point from that at another: `first` less `second`, by their places."""
    return lambda means: means[..., first] - means[..., second]


def differences(pairs: Sequence[tuple[int, int]]) -> Statistic:
    """The statistic that is the k differences over pairs of places, `first` less `second`."""
    first, second = (list(places) for places in zip(*pairs, strict=True))
    return lambda means: means[..., first] - means[..., second]


def bounds(interval: Interval) -> dict[str, float]:
    """Mean and interval as plain numbers."""
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}


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


def with_scope(claims: Iterable[Claim], label: str, members: Sequence[Group]) -> list[Claim]:
    """The claims with the name of what they are about, their scope, and the cells that are missing from them."""
    over = " ".join(dict.fromkeys(scope(group) for group in members if len(group.images)))
    missing = []  # 'rain = small, N = 16 (failed)'
    for group in members:
        prefix = f"{group.name}, " if len(members) > 1 and group.name else ""
        for value in (value for value in group.values if value not in group.done):
            states = sorted(set(group.cells[group.cells[group.axis] == value]["state"]))
            missing.append(f"{prefix}{at(group.axis, value)} ({listing(states)})")
    gaps = f" No result for {listing(missing)}." if missing else ""
    return [
        replace(claim, sentence=claim.sentence + gaps, group=label, scope=over or "There are no results yet.")
        for claim in claims
    ]


@dataclass(frozen=True)
class Comparison:
    """Groups along the patch count that agree in everything but `by`, on one test set.

    `groups` holds them by their value of `by`; `labels` names what they have in common where a study has
    several such comparisons.
    """

    by: str
    labels: dict[str, Any]
    groups: dict[str, Group]

    @property
    def name(self) -> str:
        """'network = unet'; empty where the study has one comparison only."""
        return describe(self.labels)

    def lacks(self, names: Sequence[str]) -> list[str]:
        """Those of `names` that have no results at all."""
        return [name for name in names if name not in self.groups or not self.groups[name].done]

    def common(self, names: Sequence[str]) -> list[int]:
        """The patch counts at which all of `names` have results, smallest first."""
        first, *rest = (self.groups[name].done for name in names)
        return [count for count in first if all(count in done for done in rest)]


def comparisons(frames: Frames, by: str) -> list[Comparison]:
    """The comparisons between values of `by`, at least one; without groups where no cell says what its value is."""
    wide = along_patch_count(frames)
    if by not in wide.cells or wide.cells.empty:
        return compared([], by, str)
    return compared(groups(wide), by, lambda group: str(group.cells[by].iloc[0]))


def compared(found: Iterable[Group], by: str, value: Callable[[Group], str]) -> list[Comparison]:
    """The comparisons of groups that agree in everything but `by`, in which each has its own value; at least one."""
    alike = together(found, lambda group: group.without(by))
    return [Comparison(by, labels, {value(group): group for group in same}) for labels, same in alike] or [
        Comparison(by, {}, {})
    ]


def along_patch_count(frames: Frames) -> Frames:
    """The frames with the patch count as main axis and what every cell states about itself among their axes.

    A label that all cells with a status share is taken to hold for those without one too. Cells whose patch count is
    not known, or that were only measured, are left out.
    """
    cells = frames.cells.copy()
    if PATCHES not in cells:
        cells[PATCHES] = pd.NA
    known = [label for label in ("network", "background", "rain", PATCHES) if label in cells]
    for label in known:
        stated = cells[label].dropna().unique()
        if len(stated) == 1:
            cells[label] = stated[0]
    cells = cells[[is_number(count) and count == count for count in cells[PATCHES]]]
    cells[PATCHES] = cells[PATCHES].astype("Int64")
    axes = list(dict.fromkeys([*frames.study.axes, *known]))
    rows = zip(cells["id"], cells[axes].to_dict("records"), strict=True)
    study = replace(frames.study, axis=PATCHES, cells=tuple((str(identity), dict(row)) for identity, row in rows))
    images = frames.images[frames.images["cell"].isin(cells["id"])]
    stated = cells.set_index("id")[axes].reindex(images["cell"]).reset_index(drop=True)
    rest = images.drop(columns=[axis for axis in axes if axis in images]).reset_index(drop=True)
    return replace(frames, study=study, cells=cells, images=pd.concat([rest, stated], axis=1))


def _parts(found: Joint, criteria: Statistic) -> tuple[Array, Array]:
    """(k,) criteria as measured and (RESAMPLES, k) in each resample."""
    return np.ravel(criteria(found.means)), criteria(found.draws).reshape(len(found.draws), -1)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
