"""In which order the image categories stand at which scales, how sure that is, and what it says of the published order.

A window holds the scales k0 ... K - 1; its C is the sum of their C_k. C_k is averaged over the patches of a category;
photographs are resampled with all their patches, each category on its own, and every window is judged on the same
resamples. So the interval of a difference knows that the C of two windows share scales.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, groupby, pairwise

import numpy as np
import pandas as pd

from slackoff.analysis.claims.claim import CONTRADICTED, NOT_ENOUGH, SUPPORTED, Claim, Effect, Verdict, bounds
from slackoff.analysis.statistics import LEVEL, MIN_UNITS, RESAMPLES, Array, Interval, Joint
from slackoff.analysis.text import listing
from slackoff.record.measurement import MeasurementRecord

PUBLISHED = ("celeba", "div2k", "manga109", "urban100")
"""Figure 6(b) of "Networks are Slacking Off", most complex first."""

ANSWER = "complexity_order"
"""Id of the claim that answers the question of the study."""

NOT_CLEAR = "\N{ALMOST EQUAL TO}"

_DECIMALS = 9
"""Differences beyond are rounding of sums: normalised patches all have C = 1/2 over all scales."""

_TOLERANCE = 1e-6
_FAMILY = "complexity"
_LABELS = {"celeba": "CelebA", "div2k": "DIV2K", "manga109": "Manga109", "urban100": "Urban100"}
_COLOURS = {"rgb": "RGB", "grey": "grey"}


def label(category: str) -> str:
    """How a category is written: 'CelebA' for celeba, else as it is named."""
    return _LABELS.get(category, category)


@dataclass(frozen=True, order=True)
class Window:
    """The scales k0 ... depth - 1."""

    k0: int
    depth: int

    def total(self, scales: Array) -> Array:
        """C of (..., K) C_k, rounded: (...)."""
        return np.round(scales[..., self.k0 : self.depth].sum(-1), _DECIMALS)


@dataclass(frozen=True, eq=False)
class Spectra:
    """C_k of all categories in one variant, which is how patches were prepared before measuring.

    ``samples``: name of a category -> mean C_k over its patches, as measured and in each resample. Its ``images`` are
    patches, its ``units`` photographs.
    """

    colour: str
    normalised: bool
    samples: dict[str, Joint]
    scales: int

    @property
    def variant(self) -> str:
        """'RGB, as they are' or 'grey, normalised'."""
        return f"{_COLOURS[self.colour]}, {'normalised' if self.normalised else 'as they are'}"

    @property
    def windows(self) -> list[Window]:
        """All windows; those that reach to the full depth first."""
        return [Window(k0, depth) for depth in range(self.scales, 0, -1) for k0 in range(depth)]

    @property
    def full_windows(self) -> list[Window]:
        """The windows that reach to the full depth, one for each k0."""
        return self.windows[: self.scales]

    def mean(self, category: str, window: Window) -> float:
        """Mean C of a category in a window."""
        return float(window.total(self.samples[category].means))

    def level(self, category: str, window: Window) -> Interval:
        """`mean` with its interval."""
        return self.samples[category].interval(window.total)

    def gap(self, first: str, second: str, window: Window) -> tuple[Array, Array]:
        """Mean C of one category minus that of another, (), and the same in each resample, (RESAMPLES,)."""
        one, other = self.samples[first], self.samples[second]
        return window.total(one.means) - window.total(other.means), window.total(one.draws) - window.total(other.draws)

    def difference(self, first: str, second: str, window: Window) -> Interval:
        """`gap` with its interval."""
        both = self.samples[first].beside(self.samples[second])
        return both.interval(lambda c: window.total(c[..., : self.scales]) - window.total(c[..., self.scales :]))

    def order(self, window: Window) -> list[str]:
        """The categories by falling mean C."""
        return sorted(self.samples, key=lambda name: -self.mean(name, window))

    def rank(self, category: str, window: Window) -> int:
        """1 for the largest mean C; categories with equal means share the better rank."""
        own = self.mean(category, window)
        return 1 + sum(self.mean(name, window) > own for name in self.samples)

    @cached_property
    def matches(self) -> dict[Window, "Match"]:
        """How each window stands to the published order; empty unless all its four categories were measured."""
        if not set(PUBLISHED) <= set(self.samples):
            return {}
        pairs = list(combinations(PUBLISHED, 2))
        return {w: Match(self, w, {pair: self.difference(*pair, w) for pair in pairs}) for w in self.windows}


@dataclass(frozen=True, eq=False)
class Match:
    """A window against the published order: for each two categories the first's C minus the second's, by name."""

    found: Spectra
    window: Window
    pairs: dict[tuple[str, str], Interval]

    @cached_property
    def neighbours(self) -> list[Interval]:
        """The three differences of neighbours, which decide the order."""
        return [self.pairs[pair] for pair in pairwise(PUBLISHED)]

    @property
    def by_means(self) -> bool:
        """Whether the means stand in the published order."""
        return all(step.mean > 0 for step in self.neighbours)

    @property
    def clear(self) -> bool:
        """Whether each interval of a difference of neighbours lies above 0 as well."""
        return all(step.sign > 0 for step in self.neighbours)

    @property
    def refuted(self) -> bool:
        """Whether two categories stand clearly the other way round, or are equal whatever the images."""
        return any(pair.sign < 0 or pair.mean == pair.low == pair.high == 0 for pair in self.pairs.values())

    @cached_property
    def steps(self) -> list[tuple[Array, Array]]:
        """`Spectra.gap` of neighbours."""
        return [self.found.gap(*pair, self.window) for pair in pairwise(PUBLISHED)]

    @property
    def closeness(self) -> tuple[int, ...]:
        """To be sorted by: the whole order first, then pairs by means, clear steps, the widest window."""
        right = sum(pair.mean > 0 for pair in self.pairs.values())
        clear = sum(step.sign > 0 for step in self.neighbours)
        return (self.clear, self.by_means, right, clear, self.window.depth, -self.window.k0)

    def clear_by(self, factor: float) -> bool:
        """Whether each step of the order lies above 0 by so many standard deviations of its resamples."""
        return all(bool(point - factor * resampled.std() > 0) for point, resampled in self.steps)


def scale_columns(rows: pd.DataFrame) -> list[str]:
    """c_0 ... c_{K-1}."""
    return [f"c_{k}" for k in range(sum(str(column).startswith("c_") for column in rows))]


def spectra(rows: pd.DataFrame) -> list[Spectra]:
    """The spectra of every variant among the rows of ``ComplexityMeasurement.measure``, in the order of the rows."""
    found, columns = [], scale_columns(rows)
    for (colour, normalised), own in rows.groupby(["colour", "normalised"], sort=False):
        categories = own.groupby("category", sort=False)
        samples = {str(name): _sample(part, columns, stream) for stream, (name, part) in enumerate(categories)}
        found.append(Spectra(str(colour), bool(normalised), samples, len(columns)))
    return found


def has_every_scale(study: MeasurementRecord) -> bool:
    """Whether the last scale is the whole patch, so that all C_k add up to half its variance."""
    filter_size, side = (int(study.settings[key]) for key in ("filter_size", "patch_size_px"))
    return bool(filter_size ** len(scale_columns(study.rows)) == side)


def matches(found: list[Spectra]) -> list[Match]:
    """Every window of every variant against the published order; empty unless its categories were measured."""
    return [match for one in found for match in one.matches.values()]


def nearest(judged: list[Match]) -> Match:
    """The window that comes nearest to the published order; of equally near ones the deepest, then the smallest k0."""
    return max(judged, key=lambda match: match.closeness)


def worth_showing(found: list[Spectra]) -> list[tuple[Spectra, Window]]:
    """All scales of the first variant, then per normalisation the window to the full depth nearest to the published
    order, where its categories were measured."""
    shown = [(found[0], found[0].full_windows[0])]
    whole = [match for match in matches(found) if match.window.depth == match.found.scales]
    for normalised in (False, True):
        if judged := [match for match in whole if match.found.normalised == normalised]:
            best = nearest(judged)
            shown += [(best.found, best.window)] if (best.found, best.window) not in shown else []
    return shown


def search_factor(judged: list[Match]) -> float:
    """How many standard deviations a step must lie above 0, for all steps of all windows at once: max-t.

    With d a step of the published order (mean C of a category less that of the next) in one window, d* the same in a
    resample and s the standard deviation of d*, it is the 95 % point of the largest (d* - d) / s of all windows and
    variants. One step alone would need 1.64.
    """
    largest = np.full(RESAMPLES, -np.inf)
    for match in judged:
        for point, resampled in match.steps:
            if spread := resampled.std():  # over all scales, normalised patches are equal whatever is drawn
                largest = np.maximum(largest, (resampled - point) / spread)
    return float(np.quantile(largest, LEVEL)) if np.isfinite(largest).all() else float("inf")


def order_text(found: Spectra, window: Window) -> str:
    """'CelebA > DIV2K ≈ Manga109': falling means, '≈' where a difference is not clear, '=' where there is none."""
    order = found.order(window)
    text = label(order[0])
    for first, second in pairwise(order):
        step = found.difference(first, second, window)
        mark = "=" if step.mean == step.low == step.high == 0 else ">" if step.sign > 0 else NOT_CLEAR
        text += f" {mark} {label(second)}"
    return text


def check(study: MeasurementRecord, found: list[Spectra]) -> list[Claim]:
    """The answer over all variants, one claim a variant, and the check of the sum against the variance."""
    scope = _scope(found)
    claims = [_published(found, ANSWER, "", scope)]
    claims += [_published([one], f"{ANSWER}_of_variant", one.variant, scope) for one in found]
    return [*claims, _half_variance(study)] if has_every_scale(study) else claims


def _published(found: list[Spectra], identity: str, group: str, scope: str) -> Claim:
    """The claim over the given variants; with `group` it is about one of them and tells its orders too."""
    statement = "At some scales the structural complexity falls in the published order, "
    statement += f"{' > '.join(map(label, PUBLISHED))}."
    judged = matches(found)
    if judged:
        verdict, words = _judge(judged, found)
    else:
        lacking = listing([label(name) for name in PUBLISHED if name not in found[0].samples])
        verdict, words = NOT_ENOUGH, f"The published order cannot be checked without measuring {lacking}."
    first = order_text(found[0], found[0].full_windows[0])
    told = _orders_text(found[0]) if group else f"Over all scales ({found[0].variant}): {first}."
    effect = _smallest_step(nearest(judged)) if judged else None
    sentence = f"{words} {told}"
    return Claim(identity, statement, verdict, _numbers(judged), sentence, group, scope, _FAMILY, effect=effect)


def _judge(judged: list[Match], found: list[Spectra]) -> tuple[Verdict, str]:
    fewest = min(sample.units for one in found for sample in one.samples.values())
    if fewest < MIN_UNITS:
        return NOT_ENOUGH, f"It takes {MIN_UNITS} photographs in each category to decide anything; one has {fewest}."
    clear = [match for match in judged if match.clear]
    means = [match for match in judged if match.by_means and not match.clear]
    variants = f" in {len(found)} variants" if len(found) > 1 else ""
    tried = f"{len(judged)} windows of scales (k0, K){variants}"
    also = f" By means alone {_named(means, found)}." if means else ""
    factor = search_factor(judged) if clear else math.inf
    if sure := [match for match in clear if match.clear_by(factor)]:
        words = f"clearly even when the search among {tried} is allowed for"
        rest = [match for match in clear if match not in sure]
        also = (f" Without that allowance {_named(rest, found)}." if rest else "") + also
        return SUPPORTED, f"C falls in the published order {_named(sure, found)}, {words}.{also}"
    if clear:
        words = f"each step clear on its own, but not once the search among {tried} is allowed for"
        return NOT_ENOUGH, f"C falls in the published order {_named(clear, found)}: {words}.{also}"
    if means:
        words = f"but not every step is clear there. Searched were {tried}"
        return NOT_ENOUGH, f"The means of C fall in the published order {_named(means, found)}, {words}."
    if all(match.refuted for match in judged):
        words = "two categories stand clearly the other way round, or are equal, in each"
        return CONTRADICTED, f"None of {tried} has the published order: {words}."
    return NOT_ENOUGH, f"None of {tried} has the published order, but not each of them is clearly against it."


def _orders_text(found: Spectra) -> str:
    """'k0 = 0: A > B; k0 = 1 to 6: B > A.' for the windows to the full depth."""
    named = [(order_text(found, window), window.k0) for window in found.full_windows]
    runs = groupby(named, key=lambda pair: pair[0])
    return "; ".join(f"k0 = {_span([k0 for _, k0 in run])}: {order}" for order, run in runs) + "."


def _named(some: list[Match], found: list[Spectra]) -> str:
    """'at k0 = 5 to 6 (RGB, normalised)' for the windows to the full depth; many others are only counted."""
    parts = []
    for one in found:
        windows = sorted(match.window for match in some if match.found is one)
        starts = [window.k0 for window in windows if window.depth == one.scales]
        others = [window for window in windows if window.depth < one.scales]
        text = [f"k0 = {_span(starts)}"] if starts else []
        if len(others) <= 3:
            text += [f"k0 = {window.k0} with K = {window.depth}" for window in others]
        else:
            text.append(f"{len(others)} windows of smaller depth")
        parts += [f"{listing(text)} ({one.variant})"] if text else []
    return f"at {listing(parts)}"


def _span(values: list[int]) -> str:
    """'0', '4 to 6', '0, 2' for rising numbers."""
    if len(values) > 1 and values[-1] - values[0] == len(values) - 1:
        return f"{values[0]} to {values[-1]}"
    return ", ".join(map(str, values))


def _smallest_step(match: Match) -> Effect:
    """The least difference of neighbours in the window nearest to the published order: what the verdict hangs on."""
    least = min(match.neighbours, key=lambda step: step.mean)
    thousandths = Interval(1000 * least.mean, 1000 * least.low, 1000 * least.high)
    window = f"k0 = {match.window.k0}, K = {match.window.depth}"
    return Effect.of(f"smallest step at {window} ({match.found.variant})", thousandths, "thousandths")


def _numbers(judged: list[Match]) -> dict[str, object]:
    """All windows that show the order, with the differences behind it; a search over many is told by its count."""
    shown = [match for match in judged if match.by_means]
    found = [
        {
            "colour": match.found.colour,
            "normalised": match.found.normalised,
            "k0": match.window.k0,
            "K": match.window.depth,
            "clear": match.clear,
            "differences": {" - ".join(pair): bounds(value) for pair, value in match.pairs.items()},
        }
        for match in shown
    ]
    counts = {"windows": len(judged), "clear": sum(match.clear for match in judged), "by_means": len(shown)}
    return {**counts, "refuted": sum(match.refuted for match in judged), "found": found}


def _half_variance(study: MeasurementRecord) -> Claim:
    """The identity that makes k0 = 0 meaningless, checked on every measured patch."""
    statement = "Over all scales (k0 = 0, full depth) C is half the variance of the pixels."
    columns = scale_columns(study.rows)
    rows = study.rows.dropna(subset=columns)
    total, half = rows[columns].sum(axis=1), rows["half_variance"]
    deviation = float(((total - half).abs() / half.where(half > 0, 1.0)).max()) if len(rows) else float("nan")
    verdict: Verdict = SUPPORTED if deviation <= _TOLERANCE else CONTRADICTED if len(rows) else NOT_ENOUGH
    sentence = f"The largest relative deviation over {len(rows):,} measured rows is {deviation:.0e}."
    numbers = {"largest_deviation": deviation, "rows": len(rows)}
    return Claim("complexity_is_half_the_variance", statement, verdict, numbers, sentence, family=_FAMILY)


def _scope(found: list[Spectra]) -> str:
    samples = list(found[0].samples.values())
    photographs = sorted({sample.units for sample in samples})
    span = f"{photographs[0]}" if len(photographs) == 1 else f"{photographs[0]} to {photographs[-1]}"
    skipped = max(sum(sample.skipped for sample in one.samples.values()) for one in found)
    flat = f" {skipped} patches without contrast are left out where patches are normalised." if skipped else ""
    return (
        f"95 % bootstrap intervals over the photographs of each category ({span}; all patches of one together), "
        f"{samples[0].images} patches each. They hold nothing about other images of the same kind from elsewhere, or "
        f"other sizes of the same images.{flat}"
    )


def _sample(rows: pd.DataFrame, columns: list[str], stream: int) -> Joint:
    """Average and resample one category; a patch without a value (flat, normalised) is left out."""
    used = rows.dropna(subset=columns)
    photographs = used.groupby("photograph", sort=True)[columns]
    sums, sizes = photographs.sum().to_numpy(np.float64), photographs.size().to_numpy(np.float64)
    units, skipped = len(sizes), len(rows) - len(used)
    if units == 0:
        nothing = np.full((RESAMPLES, len(columns)), np.nan)
        return Joint(nothing[0], nothing, 0, skipped, 0, 1)
    weights = np.random.default_rng([units, stream]).multinomial(units, np.full(units, 1 / units), size=RESAMPLES)
    return Joint(sums.sum(0) / sizes.sum(), (weights @ sums) / (weights @ sizes)[:, None], len(used), skipped, units, 1)
