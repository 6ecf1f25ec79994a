"""From measurements to rows: what was asked, what was found, and whether the goal was met."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.rain_share import RainShare
from benchmarks.training import Rates

GOAL_PLAIN = 2.0  # times the plain way, at least
GOAL_BARE = 0.9  # of the bare loop, at least
GOAL_RAIN = 0.05  # of a training step, at most
GOAL_START_S = 8.0  # seconds, less than


@dataclass(frozen=True)
class Row:
    """One line of the table; ``value``, ``low`` and ``high`` are median, minimum and maximum, in ``unit``."""

    question: str
    setting: str
    detail: str
    value: float
    low: float
    high: float
    unit: str
    goal: str
    met: bool


def training_rows(rates: Rates) -> list[Row]:
    """Slackoff against the plain way and against the bare loop, round by round."""
    threads = "1 thread" if rates.threads == 1 else f"{rates.threads} threads"
    ours = median(rates.by_way["slackoff"])
    rows = []
    for reference, goal in (("plain way", GOAL_PLAIN), ("bare loop", GOAL_BARE)):
        ratios = rates.ratios("slackoff", reference)
        value = median(ratios)
        rows.append(
            Row(
                f"training, against the {reference}",
                f"{rates.network}, {threads}",
                f"{_rate(ours)} against {_rate(median(rates.by_way[reference]))} steps/s",
                value,
                min(ratios),
                max(ratios),
                "x",
                f"at least {goal:g} x",
                value >= goal,
            )
        )
    return rows


def rain_row(share: RainShare) -> Row:
    """The range that is dearest to render decides."""
    shares = {name: 100.0 * value for name, value in share.shares().items()}
    parts = ", ".join(f"{name} {_percent(value)}" for name, value in shares.items())
    worst = max(shares.values())
    return Row(
        "rendering rain, share of a step",
        f"{share.case.network}, {share.schedule}",
        f"{parts} % of {share.step_s * 1000:.0f} ms",
        worst,
        min(shares.values()),
        worst,
        "%",
        f"at most {100 * GOAL_RAIN:g} %",
        worst <= 100 * GOAL_RAIN,
    )


def start_row(together: int, seconds: Sequence[float]) -> Row:
    """Starts of cells, so many at the same moment."""
    value = median(seconds)
    return Row(
        "start of a cell to its first step",
        "alone" if together == 1 else f"{together} at once",
        f"{len(seconds)} starts",
        value,
        min(seconds),
        max(seconds),
        "s",
        f"under {GOAL_START_S:g} s",
        value < GOAL_START_S,
    )


def amount(row: Row, value: float) -> str:
    """A value with its unit, in as many digits as it deserves."""
    return f"{_percent(value) if row.unit == '%' else format(value, '.2f' if row.unit == 'x' else '.1f')} {row.unit}"


def _percent(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _rate(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
