"""How numbers, measures and axes are written in sentences, tables and figures, and what is said at smoke size."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rich.console import Console

from slackoff.analysis.groups import is_number
from slackoff.analysis.statistics import MIN_UNITS, Interval, Joint
from slackoff.metrics.columns import COLUMNS, OWN

if TYPE_CHECKING:
    from matplotlib.figure import Figure


MINUS = "\N{MINUS SIGN}"
NO_NUMBER = "\N{EN DASH}"

_SYMBOLS = {"patch_count": "N"}
_LABELS = {"patch_count": "number of training patches N", "rain": "training rain range"}
_DECIMALS = {"grey levels": 1, "dB": 2, "doublings of N": 1}
_MOST_DECIMALS = 5


def symbol(axis: str) -> str:
    """Short name of an axis, for '… = 8': N for the patch count, else the axis' own name."""
    return _SYMBOLS.get(axis, axis.replace("_", " "))


def axis_label(axis: str) -> str:
    """Long name of an axis, for the axis of a figure."""
    return _LABELS.get(axis, axis.replace("_", " "))


def at(axis: str, value: Any) -> str:
    """'N = 8'; a name in place of a number of patches stands by itself."""
    return f"{symbol(axis)} = {value}" if axis not in _SYMBOLS or str(value)[:1].isdecimal() else str(value)


def short_name(axis: str, value: Any) -> str:
    """'N = 8' for a number, which needs the name of its axis; a name stands by itself."""
    return at(axis, value) if is_number(value) else str(value)


def listing(items: list[str]) -> str:
    """'a, b and c'."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def first_of(items: list[str], most: int = 3) -> str:
    """'a, b, c and 5 others'."""
    rest = len(items) - most
    return listing([*items[:most], f"{rest} others"] if rest > 1 else items)


def shortened(name: str, most: int = 32) -> str:
    """A name of at most so many characters; of a longer one its beginning and its end, where names mostly differ."""
    half = most // 2
    return name if len(name) <= most else f"{name[: most - half]}\N{HORIZONTAL ELLIPSIS}{name[1 - half :]}"


def plain_label(measure: str) -> str:
    """Label of a measure without its threshold: 'E_R', 'removal share', 'PSNR' on RGB and 'PSNR (Y)'."""
    label = COLUMNS[measure].label
    label = label if label.endswith("(Y)") else label.split(" (")[0]
    return label if label[:2].isupper() or "_" in label else label.lower()


def name(measure: str) -> str:
    """The measure as the subject of a sentence: 'E_R', 'the removal share'."""
    label = plain_label(measure)
    return f"the {label}" if label.islower() else label


def decimals(measure: str) -> int:
    """Decimals in a table of a measure: 1 of grey levels, 2 of dB and shares, 3 of SSIM and what has no unit."""
    if measure.startswith("ssim") or (measure in OWN and not OWN[measure].unit):
        return 3
    return _DECIMALS.get(COLUMNS[measure].unit, 2)


def number(value: float, places: int) -> str:
    """A number with a true minus sign; a dash where there is none."""
    if not math.isfinite(value):
        return NO_NUMBER
    text = f"{value:.{places}f}"
    return text.replace("-", MINUS) if float(text) else text.lstrip("-")


def percent(share: float, places: int = 1) -> str:
    """'12.0 %'; what is not quite 0 or 100 does not read so; empty where there is no number."""
    if not math.isfinite(share):
        return ""
    least = 10**-places
    if 0 < 100 * share < least / 2:
        return f"<{least:g} %"
    return f">{100 - least:g} %" if 100 - least / 2 <= 100 * share < 100 else f"{number(100 * share, places)} %"


def significant(value: float) -> str:
    """A number with three significant digits, never in powers of ten: '0.0251', '104', '1,310'."""
    if not math.isfinite(value) or value <= 0:
        return NO_NUMBER if value else "0"
    places = max(0, 2 - math.floor(math.log10(value)))
    return f"{value:,.{places}f}"


BELOW = "{mean}\n{low} to {high}"
BESIDE = "{mean} [{low}, {high}]"
"""Forms of `entry`: the interval on a second line, or beside its mean."""


def entry(mean: float, low: float, high: float, places: int, form: str = BELOW, oracle: float | None = None) -> str:
    """What a table says of a mean: '48.9 (40.0)' with the `oracle` in brackets, and its interval as `form` has it.

    Without the interval where there is none, or where it has no width.
    """
    text = number(mean, places) + ("" if oracle is None else f" ({number(oracle, places)})")
    if math.isnan(low) or low == high:
        return text
    return form.format(mean=text, low=number(low, places), high=number(high, places))


def amount(interval: Interval, measure: str, first: bool = False) -> str:
    """'12.3 (11.0 to 13.5)', or with `first` '12.3 grey levels (95 % interval 11.0 to 13.5)'.

    Shows more decimals than a table where a bound would otherwise read as 0 and hide on which side of 0 it
    lies.
    """
    unit = COLUMNS[measure].unit if first else ""
    return quantity(interval.mean, interval.low, interval.high, unit, decimals(measure), "95 % interval " * first)


def quantity(mean: float, low: float, high: float, unit: str = "", places: int | None = None, words: str = "") -> str:
    """'12.3 grey levels (11.0 to 13.5)': a number of a unit and the bounds of its interval, as `amount` writes them.

    `places`: the decimals, by default those usual for the unit; `words` stand before the bounds.
    """
    places = _DECIMALS.get(unit, 2) if places is None else places
    bounds = [bound for bound in (low, high) if math.isfinite(bound)]
    clear = low * high > 0
    while clear and places < _MOST_DECIMALS and not all(round(bound, places) for bound in bounds):
        places += 1
    if not bounds:
        return f"{number(mean, places)} (no interval)"
    text = f"{number(mean, places)} {unit}".rstrip()
    return f"{text} ({words}{number(low, places)} to {number(high, places)})"


def between(low: float, high: float, unit: str = "") -> str:
    """'5.0 to 14.0 grey levels', with the decimals usual for the unit; one number where both read the same."""
    ends = [number(end, _DECIMALS.get(unit, 2)) for end in (low, high)]
    return f"{' to '.join(dict.fromkeys(ends))} {unit}".rstrip()


def signed(interval: Interval, measure: str) -> str:
    """'+0.6, 0.1 to 1.1', for use inside brackets."""
    plus = "+" if interval.mean > 0 else ""
    return plus + amount(interval, measure).replace(" (", ", ").rstrip(")")


def move(change: Interval, measure: str, first: bool = False) -> str:
    """'E_R falls by 12.3 grey levels (95 % interval 11.0 to 13.5)', or that it shows no clear change."""
    verb = {1: "rises by", 0: "shows no clear change,", -1: "falls by"}[change.sign]
    return f"{name(measure)} {verb} {amount(flipped(change) if change.sign < 0 else change, measure, first)}"


def too_few(interval: Interval | Joint) -> str:
    """Why an interval from so few units decides nothing."""
    images = "1 test image" if interval.units == 1 else f"{interval.units} test images"
    once = " (crops of one photograph count once)" if interval.units < interval.images else ""
    return f"With {images}{once} nothing is decided: an interval needs at least {MIN_UNITS}."


def flipped(interval: Interval) -> Interval:
    """The interval of the opposite: a change of -2 (-3 to -1) as a fall of 2 (1 to 3)."""
    return replace(interval, mean=-interval.mean, low=-interval.high, high=-interval.low)


WARNING = "Smoke size: this shows that everything runs. Its numbers mean nothing; size=laptop gives a result."


def is_smoke(size: str) -> bool:
    """Whether a study of this size is none to learn anything from."""
    return size == "smoke"


def warn(size: str, console: Console) -> None:
    """Print the warning for a study of smoke size; nothing for another."""
    if is_smoke(size):
        console.print(WARNING, style="bold black on yellow", highlight=False, soft_wrap=True)


def mark(figure: "Figure") -> None:
    """Write across a figure that it shows no result, so that it cannot be taken for one elsewhere."""
    figure.text(
        0.5, 0.5, "smoke size: no result", ha="center", va="center", rotation=20, fontsize=40, color="0.5", alpha=0.35
    )
