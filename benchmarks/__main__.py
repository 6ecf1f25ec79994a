"""``python -m benchmarks [planning|overhead|fused] [--quick] [--save]``: measure, and print one table."""

import argparse
import os
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import results, tables
from benchmarks.cell_start import measure_starts
from benchmarks.fused_cells import FusedCase, FusedPlan, measure_fused
from benchmarks.gate import Stretch
from benchmarks.overhead import SLOTS, measure_import, measure_overhead
from benchmarks.planning import measure_planning
from benchmarks.rain_share import RainCase, measure_rain_share
from benchmarks.training import Race, Setting, run_race

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Args:
        races: of the three ways to train.
        rain: shares of rendering.
        starts: how many cells are started at the same moment; one measurement for each number, in turns.
        start_rounds: how many turns.
        planning: rows of the manifests that are planned.
        planning_rounds: how many times each.
        overhead: cells of one step; 0 for none.
    """

    races: tuple[Race, ...]
    rain: tuple[RainCase, ...]
    starts: tuple[int, ...]
    start_rounds: int
    planning: tuple[int, ...]
    planning_rounds: int
    overhead: int


def _turns(ours: Stretch, plain: Stretch) -> dict[str, Stretch]:
    return {"slackoff": ours, "bare loop": ours, "plain way": plain}


FULL = Plan(
    races=(
        Race(
            "unet_small",
            _turns(Stretch(10, 80), Stretch(8, 32)),
            rounds=3,
            settings=(Setting(1), Setting(1, cells=2), Setting(2)),
        ),
        Race("resnet_small", _turns(Stretch(5, 40), Stretch(2, 12)), rounds=3),
        Race("resnet", _turns(Stretch(1, 3), Stretch(1, 2)), rounds=2),
    ),
    rain=(
        RainCase("unet_tiny", "smoke", steps=40),
        RainCase("unet_small", "laptop", steps=40),
        RainCase("resnet_small", "laptop", steps=40),
        RainCase("unet", "laptop", steps=5),
        RainCase("resnet", "laptop", steps=3),
        RainCase("unet_small", "paper", steps=5),
        RainCase("resnet_small", "paper", steps=3),
        RainCase("unet", "paper", steps=1),
        RainCase("resnet", "paper", steps=1, warm=False),
    ),
    starts=(1, 2),
    start_rounds=3,
    planning=tuple(results.GOALS_PLANNING_S),
    planning_rounds=2,
    overhead=20,
)
QUICK = Plan(
    races=(Race("unet_tiny", _turns(Stretch(1, 4), Stretch(1, 2)), 1, (Setting(1),)),),
    rain=(RainCase("unet_tiny", "smoke", steps=2),),
    starts=(1,),
    start_rounds=1,
    planning=(150,),
    planning_rounds=1,
    overhead=2,
)
FULL_FUSED = FusedPlan(
    cases=[
        FusedCase(network, size, precision)
        for precision in ("32-true", "bf16-mixed")
        for network, size in (("unet_tiny", "smoke"), ("unet_small", "laptop"), ("resnet_small", "laptop"))
    ],
    counts=(2, 4, 8),
    rounds=5,
    turn_s=0.7,
)
QUICK_FUSED = FusedPlan([FusedCase("unet_tiny", "smoke", "32-true")], counts=(2,), rounds=1, turn_s=0.0)


def measure(plan: Plan, runs: Path, console: Console) -> tuple[list[results.Section], dict[str, Any]]:
    """Take all measurements of a plan: the sections of the table, and the figures behind them."""

    def say(text: str) -> None:
        console.print(text, style="dim")

    starts: dict[int, list[float]] = {together: [] for together in plan.starts}
    for number in range(plan.start_rounds):
        say(f"start of a cell: round {number + 1} of {plan.start_rounds}")
        for together, seconds in starts.items():
            seconds += measure_starts(together, runs / f"starts-{number}-{together}")
    shares = []
    for case in plan.rain:
        say(f"share of rain: {case.network} at {case.size} size")
        shares.append(measure_rain_share(case, runs / "rain"))
    planned: dict[int, list[float]] = {}
    for rows in plan.planning:
        say(f"planning {rows} rows")
        planned[rows] = measure_planning(rows, plan.planning_rounds, runs / "planning")
    overheads, imports = [], []
    if plan.overhead:
        say(f"a sweep of {plan.overhead} cells of one step")
        imports += measure_import(SLOTS)
        overheads.append(measure_overhead(plan.overhead, runs / "overhead"))
    rates = [rate for race in plan.races for rate in run_race(race, runs / "races", say)]
    sections = [
        results.against_plain_way(rates),
        results.against_bare_loop(rates),
        results.rain_shares(shares),
        results.cell_starts(starts),
        results.planning(planned),
        results.overheads(overheads, imports),
    ]
    raw: dict[str, Any] = {
        "training": [asdict(rate) for rate in rates],
        "rain": [asdict(share) for share in shares],
        "starts": starts,
        "planning": planned,
        "overhead": [asdict(item) for item in overheads],
        "import torch": imports,
    }
    return [section for section in sections if section.rows], raw


def _plan(only: str | None, quick: bool) -> Plan:
    plan = QUICK if quick else FULL
    if only is None:
        return plan
    plan = replace(plan, races=(), rain=(), starts=(), start_rounds=0)
    return replace(plan, overhead=0) if only == "planning" else replace(plan, planning=())


def _measure_fused(plan: FusedPlan, runs: Path, console: Console) -> tuple[list[results.Section], dict[str, Any]]:
    """Fused cells are no part of the whole: slackoff has none, and these figures say why."""
    rates = measure_fused(plan, runs, lambda text: console.print(text, style="dim"))
    return [results.fused_cells(rates)], {"fused": [asdict(rate) for rate in rates]}


def _console() -> Console:
    """As wide as the terminal; wide enough for the table where there is none."""
    console = Console()
    return console if console.is_terminal else Console(width=100)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("only", nargs="?", choices=["planning", "overhead", "fused"], help="measure this alone")
    parser.add_argument("--quick", action="store_true", help="tiny cells: shows that it works, not how fast it is")
    parser.add_argument("--save", action="store_true", help="write the table to benchmarks/results/")
    options = parser.parse_args()
    if options.only in ("planning", "overhead") and options.save:
        parser.error("--save keeps the whole table: leave out what to measure")
    os.environ.setdefault("WANDB_MODE", "offline")
    os.environ.setdefault("WANDB_SILENT", "true")
    facts = tables.machine(os.getloadavg()[0])
    console, started = _console(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="slackoff-bench-") as folder:
        if options.only == "fused":
            sections, raw = _measure_fused(QUICK_FUSED if options.quick else FULL_FUSED, Path(folder), console)
        else:
            sections, raw = measure(_plan(options.only, options.quick), Path(folder), console)
    tables.show(sections, facts, console)
    console.print(f"{time.monotonic() - started:.0f} s.", "Tiny cells: no measure of speed." if options.quick else "")
    if options.save:
        console.print(f"Saved: {tables.save(sections, facts, raw, RESULTS, options.only)}", soft_wrap=True)


if __name__ == "__main__":
    main()
