"""``python -m benchmarks [--quick] [--save]``: measure everything, print one table."""

import argparse
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from benchmarks import results, tables
from benchmarks.cell_start import measure_starts
from benchmarks.gate import Stretch
from benchmarks.rain_share import RainCase, measure_rain_share
from benchmarks.training import Race, run_race

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Plan:
    """What is measured: races of the three ways, shares of rain, and rounds of cell starts (one cell, then two)."""

    races: tuple[Race, ...]
    rain: tuple[RainCase, ...]
    start_rounds: int


def _turns(ours: Stretch, plain: Stretch) -> dict[str, Stretch]:
    return {"slackoff": ours, "bare loop": ours, "plain way": plain}


FULL = Plan(
    races=(
        Race("unet_small", _turns(Stretch(10, 100), Stretch(10, 40)), rounds=5),
        Race("resnet_small", _turns(Stretch(10, 100), Stretch(10, 40)), rounds=3),
        Race("resnet", _turns(Stretch(1, 4), Stretch(1, 2)), rounds=3),
    ),
    rain=(
        RainCase("unet_tiny", "smoke", steps=40),
        RainCase("unet_small", "laptop", steps=40),
        RainCase("resnet_small", "laptop", steps=40),
        RainCase("unet", "laptop", steps=5),
        RainCase("resnet", "laptop", steps=5),
        RainCase("unet_small", "paper", steps=5),
        RainCase("resnet_small", "paper", steps=5),
        RainCase("unet", "paper", steps=1),
        RainCase("resnet", "paper", steps=1, warm=False),
    ),
    start_rounds=3,
)
QUICK = Plan(
    races=(Race("unet_tiny", _turns(Stretch(1, 4), Stretch(1, 2)), rounds=2),),
    rain=(RainCase("unet_tiny", "smoke", steps=2),),
    start_rounds=1,
)


def measure(plan: Plan, runs: Path, console: Console) -> tuple[list[results.Row], dict[str, object]]:
    """Take all measurements of a plan; table rows, and the figures behind them."""
    starts: dict[int, list[float]] = {1: [], 2: []}
    for number in range(plan.start_rounds):
        console.print(f"start of a cell: round {number + 1} of {plan.start_rounds}", style="dim")
        for together, seconds in starts.items():
            seconds += measure_starts(together, runs / f"starts-{number}-{together}")
    shares = []
    for case in plan.rain:
        console.print(f"share of rain: {case.network} at {case.size} size", style="dim")
        shares.append(measure_rain_share(case, runs / "rain"))
    rates = [
        rate
        for race in plan.races
        for rate in run_race(race, runs / "races", lambda text: console.print(text, style="dim"))
    ]
    rows = sorted((row for rate in rates for row in results.training_rows(rate)), key=lambda row: row.question)
    rows.reverse()
    rows += [results.rain_row(share) for share in shares]
    rows += [results.start_row(together, seconds) for together, seconds in starts.items()]
    raw = {"training": [asdict(rate) for rate in rates], "rain": [asdict(share) for share in shares], "starts": starts}
    return rows, raw


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny cells: shows that it works, not how fast it is")
    parser.add_argument("--save", action="store_true", help="write the table to benchmarks/results/")
    options = parser.parse_args()
    os.environ.setdefault("WANDB_MODE", "offline")
    os.environ.setdefault("WANDB_SILENT", "true")
    facts = tables.machine(os.getloadavg()[0])
    console, started = Console(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="slackoff-bench-") as folder:
        rows, raw = measure(QUICK if options.quick else FULL, Path(folder), console)
    tables.show(rows, facts, console)
    console.print(f"{time.monotonic() - started:.0f} s.", "Tiny cells: no measure of speed." if options.quick else "")
    if options.save:
        console.print(f"Saved: {tables.save(rows, facts, raw, RESULTS)}", soft_wrap=True)


if __name__ == "__main__":
    main()
