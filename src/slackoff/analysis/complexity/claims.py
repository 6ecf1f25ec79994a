"""What a complexity study says of the published order, in words that never exceed the numbers."""

from itertools import groupby, pairwise

from slackoff.analysis.claims.claim import CONTRADICTED, NOT_ENOUGH, SUPPORTED, Claim, Effect, Verdict, bounds
from slackoff.analysis.complexity.orders import PUBLISHED, Match, Spectra, Window, matches, nearest
from slackoff.analysis.complexity.record import ComplexityStudy, Variant, label
from slackoff.analysis.complexity.search import certain
from slackoff.analysis.statistics import MIN_UNITS, Interval
from slackoff.analysis.text import listing

ANSWER = "complexity_order"
"""Id of the claim that answers the question of the study."""

NOT_CLEAR = "\N{ALMOST EQUAL TO}"
PUBLISHED_ORDER = " > ".join(map(label, PUBLISHED))

_TOLERANCE = 1e-6
_FAMILY = "complexity"


def check(study: ComplexityStudy, found: list[Spectra]) -> list[Claim]:
    """The answer over all variants, one claim a variant, and the check of the sum against the variance."""
    scope = _scope(found)
    claims = [_published(found, ANSWER, "", scope)]
    claims += [_published([one], f"{ANSWER}_of_variant", one.variant.name, scope) for one in found]
    return [*claims, _half_variance(study)] if study.has_every_scale else claims


def order_text(spectra: Spectra, window: Window) -> str:
    """'CelebA > DIV2K ≈ Manga109': falling means, '≈' where a difference is not clear, '=' where there is none."""
    order = spectra.order(window)
    text = label(order[0])
    for first, second in pairwise(order):
        step = spectra.difference(first, second, window)
        mark = "=" if step.mean == step.low == step.high == 0 else ">" if step.sign > 0 else NOT_CLEAR
        text += f" {mark} {label(second)}"
    return text


def orders_text(spectra: Spectra) -> str:
    """'k0 = 0: A > B; k0 = 1 to 6: B > A.' for the windows to the full depth."""
    named = [(order_text(spectra, window), window.k0) for window in spectra.full_windows]
    parts = []
    for order, group in groupby(named, key=lambda pair: pair[0]):
        values = [k0 for _, k0 in group]
        parts.append(f"k0 = {_span(values)}: {order}")
    return "; ".join(parts) + "."


def _published(found: list[Spectra], identity: str, group: str, scope: str) -> Claim:
    """The claim over the given variants; with `group` it is about one of them and tells its orders too."""
    statement = f"At some scales the structural complexity falls in the published order, {PUBLISHED_ORDER}."
    judged = matches(found)
    verdict, words = _judge(judged, found) if judged else (NOT_ENOUGH, _lacking(found))
    told = orders_text(found[0]) if group else f"Over all scales ({found[0].variant.name}): {_first_order(found)}."
    effect = _smallest_step(nearest(judged)) if judged else None
    sentence = f"{words} {told}"
    return Claim(identity, statement, verdict, _numbers(judged), sentence, group, scope, _FAMILY, effect=effect)


def _judge(judged: list[Match], found: list[Spectra]) -> tuple[Verdict, str]:
    fewest = min(sample.photographs for one in found for sample in one.samples.values())
    if fewest < MIN_UNITS:
        return NOT_ENOUGH, f"It takes {MIN_UNITS} photographs in each category to decide anything; one has {fewest}."
    clear = [match for match in judged if match.clear]
    means = [match for match in judged if match.by_means and not match.clear]
    variants = f" in {len(found)} variants" if len(found) > 1 else ""
    tried = f"{len(judged)} windows of scales (k0, K){variants}"
    also = f" By means alone {_named(means, found)}." if means else ""
    if clear and (sure := certain(found)):
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


def _lacking(found: list[Spectra]) -> str:
    lacking = [label(name) for name in PUBLISHED if name not in found[0].samples]
    return f"The published order cannot be checked without measuring {listing(lacking)}."


def _first_order(found: list[Spectra]) -> str:
    return order_text(found[0], found[0].full_windows[0])


def _named(found: list[Match], spectra: list[Spectra]) -> str:
    """'at k0 = 5 to 6 (RGB, normalised)' for the windows to the full depth; others are counted."""
    full = {one.variant: one.scales for one in spectra}
    parts = []
    for variant in dict.fromkeys(match.variant for match in found):
        parts += _named_in(variant, [match.window for match in found if match.variant == variant], full[variant])
    return f"at {listing(parts)}"


def _named_in(variant: Variant, windows: list[Window], scales: int) -> list[str]:
    starts = sorted(window.k0 for window in windows if window.depth == scales)
    others = sorted(window for window in windows if window.depth < scales)
    text = [f"k0 = {_span(starts)}"] if starts else []
    if others and len(others) <= 3:
        text += [f"k0 = {window.k0} with K = {window.depth}" for window in others]
    elif others:
        text.append(f"{len(others)} windows of smaller depth")
    return [f"{listing(text)} ({variant.name})"]


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
    return Effect.of(f"smallest step at {window} ({match.variant.name})", thousandths, "thousandths")


def _numbers(judged: list[Match]) -> dict[str, object]:
    """All windows that show the order, with the differences behind it; a search over many is told by its count."""
    shown = [match for match in judged if match.by_means]
    return {
        "windows": len(judged),
        "clear": sum(match.clear for match in judged),
        "by_means": len(shown),
        "refuted": sum(match.refuted for match in judged),
        "found": [
            {
                "colour": match.variant.colour,
                "normalised": match.variant.normalised,
                "k0": match.window.k0,
                "K": match.window.depth,
                "clear": match.clear,
                "differences": {" - ".join(pair): bounds(value) for pair, value in match.pairs.items()},
            }
            for match in shown
        ],
    }


def _half_variance(study: ComplexityStudy) -> Claim:
    """The identity that makes k0 = 0 meaningless, checked on every measured patch."""
    statement = "Over all scales (k0 = 0, full depth) C is half the variance of the pixels."
    rows = study.rows.dropna(subset=study.scale_columns)
    total, half = rows[study.scale_columns].sum(axis=1), rows["half_variance"]
    deviation = float(((total - half).abs() / half.where(half > 0, 1.0)).max()) if len(rows) else float("nan")
    verdict: Verdict = SUPPORTED if deviation <= _TOLERANCE else CONTRADICTED if len(rows) else NOT_ENOUGH
    sentence = f"The largest relative deviation over {len(rows):,} measured rows is {deviation:.0e}."
    numbers = {"largest_deviation": deviation, "rows": len(rows)}
    return Claim("complexity_is_half_the_variance", statement, verdict, numbers, sentence, family=_FAMILY)


def _scope(found: list[Spectra]) -> str:
    samples = list(found[0].samples.values())
    photographs = sorted({sample.photographs for sample in samples})
    span = f"{photographs[0]}" if len(photographs) == 1 else f"{photographs[0]} to {photographs[-1]}"
    skipped = max(sum(sample.skipped for sample in one.samples.values()) for one in found)
    flat = f" {skipped} patches without contrast are left out where patches are normalised." if skipped else ""
    return (
        f"95 % bootstrap intervals over the photographs of each category ({span}; all patches of one together), "
        f"{samples[0].patches} patches each. They hold nothing about other images of the same kind from elsewhere, or "
        f"other sizes of the same images.{flat}"
    )
