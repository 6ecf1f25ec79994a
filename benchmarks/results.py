"""From measurements to rows: what was asked, what was found, and whether the goal was met."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.fused_cells import FusedRates
from benchmarks.fused_worker import APART
from benchmarks.overhead import Overhead
from benchmarks.rain_share import RainShare
from benchmarks.training import Rates

GOAL_PLAIN = 2.0  # times the plain way, at least
GOAL_BARE = 0.9  # of the bare loop, at least
GOAL_RAIN = 5.0  # percent of a training step, at most
GOAL_START_S = 8.0  # seconds, less than
GOALS_PLANNING_S = {150: 10.0, 2_000: 90.0}  # cells to seconds, less than
GOAL_OVERHEAD_S = 1.0  # seconds a cell beyond importing torch, less than
GOAL_DRIVER_MB = 200.0  # less than
GOAL_FUSED = 1.3  # times the steps of all cells apart in slots, at least


@dataclass(frozen=True)
class Row:
    """One line of the table: median, minimum and maximum in ``unit``, and what they were made from."""

    setting: str
    detail: str
    value: float
    low: float
    high: float
    unit: str
    met: bool


@dataclass(frozen=True)
class Section:
    """One question of the table, with its goal in words."""

    question: str
    goal: str
    rows: list[Row]


def against_plain_way(rates: Sequence[Rates]) -> Section:
    """Steps/s as multiples of the plain way's."""
    rows = [_ratio_row(rate, "plain way", GOAL_PLAIN) for rate in rates]
    return Section("Steps/s against the plain way", f"at least {GOAL_PLAIN:g} x", rows)


def against_bare_loop(rates: Sequence[Rates]) -> Section:
    """Steps/s as a share of the bare loop's."""
    rows = [_ratio_row(rate, "bare loop", GOAL_BARE) for rate in rates]
    return Section("Steps/s against the bare loop", f"at least {GOAL_BARE:g} x", rows)


def rain_shares(shares: Sequence[RainShare]) -> Section:
    """Rendering as a share of a step, for the ranges small, medium, large; the dearest to render decides."""
    question = "Rendering rain, share of a step"
    return Section(question, f"at most {GOAL_RAIN:g} %", [_rain_row(share) for share in shares])


def cell_starts(starts: dict[int, list[float]]) -> Section:
    """Starts of cells, so many at the same moment."""
    rows = [
        _row(
            "one cell" if together == 1 else f"{together} cells at once",
            f"{len(seconds)} starts",
            seconds,
            "s",
            median(seconds) < GOAL_START_S,
        )
        for together, seconds in starts.items()
    ]
    return Section("Start of a cell to its first step", f"under {GOAL_START_S:g} s", rows)


def planning(seconds: dict[int, list[float]]) -> Section:
    """From the rows of a manifest to cells, for each number of rows that has a goal."""
    rows = [
        _row(f"{count:,} rows", f"{len(found)} times", found, "s", median(found) < GOALS_PLANNING_S[count])
        for count, found in seconds.items()
    ]
    goal = ", ".join(f"{limit:g} s for {count:,} cells" for count, limit in GOALS_PLANNING_S.items())
    return Section("Planning a manifest, beyond Hydra's start", f"under {goal}", rows)


def overheads(found: Sequence[Overhead], imports: Sequence[float]) -> Section:
    """Cells of one step: what a slot spends on each, beyond importing torch."""
    torch = median(imports) if imports else 0.0
    rows = [
        _row(
            f"{item.cells} cells",
            f"{item.slot_seconds:.2f} s of a slot, importing torch {torch:.2f} s of them",
            [item.slot_seconds - torch],
            "s",
            item.slot_seconds - torch < GOAL_OVERHEAD_S,
        )
        for item in found
    ]
    rows += [
        _row("memory of the driver", f"{item.cells} cells", [item.driver_mb], "MB", item.driver_mb < GOAL_DRIVER_MB)
        for item in found
    ]
    return Section(
        "A sweep of cells of one step", f"under {GOAL_OVERHEAD_S:g} s a cell, {GOAL_DRIVER_MB:g} MB of memory", rows
    )


def fused_cells(rates: Sequence[FusedRates]) -> Section:
    """Cells fused in one process as multiples of cells apart in slots; the best way in its best place decides."""
    rows = [_fused_row(rate) for rate in rates]
    return Section("Fused cells, steps/s of all cells against slots", f"at least {GOAL_FUSED:g} x", rows)


def amount(row: Row, value: float) -> str:
    """A value in as many digits as it deserves, without its unit."""
    digits = {"x": 2, "s": 1 if value >= 2 else 2, "%": 2 if value < 1 else 1, "MB": 0}
    return f"{value:.{digits[row.unit]}f}"


def _ratio_row(rates: Rates, reference: str, goal: float) -> Row:
    ours, theirs = (_rate(median(rates.by_way[way])) for way in ("slackoff", reference))
    ratios = rates.ratios("slackoff", reference)
    detail = f"{ours} against {theirs} steps/s"
    return _row(f"{rates.network}, {rates.setting}", detail, ratios, "x", median(ratios) >= goal)


def _fused_row(rates: FusedRates) -> Row:
    bests = {kind: rates.best(kind) for kind in ("one after another", "grouped", "vmap", APART)}
    detail = ", ".join(f"{kind} {median(ratios):.2f}" for kind, ratios in bests.items() if ratios)
    decides = max((ratios for kind, ratios in bests.items() if kind != APART), key=median)
    setting = f"{rates.cells} x {rates.case.network}, {rates.case.precision}, {rates.batch}"
    return _row(setting, detail, decides, "x", median(decides) >= GOAL_FUSED)


def _rain_row(share: RainShare) -> Row:
    percent = [100.0 * value for value in share.shares().values()]
    worst = max(percent)
    row = Row(f"{share.case.network}, {share.batch}", "", worst, min(percent), worst, "%", worst <= GOAL_RAIN)
    detail = f"{' / '.join(amount(row, value) for value in percent)} % of {share.step_s * 1000:.0f} ms"
    return Row(**{**vars(row), "detail": detail})


def _row(setting: str, detail: str, values: Sequence[float], unit: str, met: bool) -> Row:
    return Row(setting, detail, median(values), min(values), max(values), unit, met)


def _rate(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
