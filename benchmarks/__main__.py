"""``python -m benchmarks [planning] [--quick] [--save]``: measure everything, or one thing, and print one table."""

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
from benchmarks.gate import Stretch
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
        planning: rows of a manifest that is planned.
        planning_rounds: how many times.
    """

    races: tuple[Race, ...]
    rain: tuple[RainCase, ...]
    starts: tuple[int, ...]
    start_rounds: int
    planning: int
    planning_rounds: int


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
    planning=10_000,
    planning_rounds=5,
)
QUICK = Plan(
    races=(Race("unet_tiny", _turns(Stretch(1, 4), Stretch(1, 2)), 1, (Setting(1),)),),
    rain=(RainCase("unet_tiny", "smoke", steps=2),),
    starts=(1,),
    start_rounds=1,
    planning=300,
    planning_rounds=1,
)


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
    say(f"planning {plan.planning} rows")
    planned = measure_planning(plan.planning, plan.planning_rounds, runs / "planning")
    rates = [rate for race in plan.races for rate in run_race(race, runs / "races", say)]
    sections = [
        results.against_plain_way(rates),
        results.against_bare_loop(rates),
        results.rain_shares(shares),
        results.cell_starts(starts),
        results.planning({plan.planning: planned}),
    ]
    raw: dict[str, Any] = {
        "training": [asdict(rate) for rate in rates],
        "rain": [asdict(share) for share in shares],
        "starts": starts,
        "planning": {plan.planning: planned},
    }
    return [section for section in sections if section.rows], raw


def _console() -> Console:
    """As wide as the terminal; wide enough for the table where there is none."""
    console = Console()
    return console if console.is_terminal else Console(width=100)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("only", nargs="?", choices=["planning"], help="measure this alone; it takes seconds")
    parser.add_argument("--quick", action="store_true", help="tiny cells: shows that it works, not how fast it is")
    parser.add_argument("--save", action="store_true", help="write the table to benchmarks/results/")
    options = parser.parse_args()
    if options.only and options.save:
        parser.error("--save keeps the whole table: leave out what to measure")
    os.environ.setdefault("WANDB_MODE", "offline")
    os.environ.setdefault("WANDB_SILENT", "true")
    facts = tables.machine(os.getloadavg()[0])
    console, started = _console(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="slackoff-bench-") as folder:
        plan = QUICK if options.quick else FULL
        if options.only:
            plan = replace(plan, races=(), rain=(), starts=(), start_rounds=0)
        sections, raw = measure(plan, Path(folder), console)
    tables.show(sections, facts, console)
    console.print(f"{time.monotonic() - started:.0f} s.", "Tiny cells: no measure of speed." if options.quick else "")
    if options.save:
        console.print(f"Saved: {tables.save(sections, facts, raw, RESULTS)}", soft_wrap=True)


if __name__ == "__main__":
    main()
