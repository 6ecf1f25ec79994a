"""How long a large record takes to load into frames, and in how much memory: ``python -m benchmarks.frames [--save]``.

A record is written by the code that writes it while cells train, and each round loads it in a fresh process.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from rich.console import Console

from benchmarks import results, tables
from benchmarks.frames_worker import Loading
from slackoff.metrics.columns import COLUMNS
from slackoff.record.files import now, write_json, write_whole
from slackoff.record.results import RecordLogger
from slackoff.record.status import Status

GOAL_S = 2.0  # imports left out, less than
GOAL_MB = 500.0  # of the whole process, less than
ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def write_record(runs: Path, cells: int, points: int, images: int) -> Path:
    """Write a study of cells that are done, with so many logged steps and so many test images; its folder.

    Every fifth logged step has the measures of an evaluation, the last one those of the final one too.
    """
    generator = np.random.default_rng(0)
    names = [f"{number:04d}-photo" for number in range(images)]
    listed = []
    for number in range(cells):
        axes = {"patch_count": 2 ** (number % 10), "rain": ("small", "medium", "large")[number % 3], "seed": number}
        identity, steps = f"{number:012x}", 25 * points
        folder = runs / "cells" / identity
        folder.mkdir(parents=True)
        logger = RecordLogger(folder)
        for step in range(25, steps + 1, 25):
            logged = ["train/loss", "train/learning_rate", "train/steps_per_second"]
            logged += [f"test/{name}" for name in COLUMNS] if step % 125 == 0 else []
            logged += [f"final/{name}" for name in COLUMNS] if step == steps else []
            logger.log_metrics(dict(zip(logged, generator.random(len(logged)), strict=True)), step)
        logger.close()
        rows = pd.DataFrame(generator.random((images, len(COLUMNS))), columns=list(COLUMNS))
        for place, (key, value) in enumerate(
            {"test_set": "R100-like", "image": names, "height": 128, "width": 128, "photograph": names}.items()
        ):
            rows.insert(place, key, value)
        write_whole(folder / "images.parquet", rows.to_parquet)
        status = Status(identity, {"network": "unet", **axes}, steps, "done", 1, steps, now(), now(), 100.0, 8.0)
        status.write(folder)
        listed.append({"id": identity, "axes": axes})
    study = runs / "studies" / "frames"
    study.mkdir(parents=True)
    content = {"name": "frames", "axis": "patch_count", "cells": listed, "claims": [], "test_sets": [], "options": {}}
    write_json(study / "study.json", content)
    return study


def measure_loading(study: Path, rounds: int) -> list[Loading]:
    """Load a study in so many fresh processes, one after the other."""
    command = [sys.executable, "-m", "benchmarks.frames_worker", str(study)]
    found = [
        subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout for _ in range(rounds)
    ]
    return [Loading(**json.loads(text)) for text in found]


def section(found: list[Loading], setting: str) -> results.Section:
    """Seconds and megabytes, each with and without the imports."""
    seconds, memory = [each.load_s for each in found], [each.load_mb for each in found]
    with_imports = median(each.load_s + each.import_s for each in found)
    time = f"{median(each.load_cpu_s for each in found):.2f} s of CPU; {with_imports:.1f} s with imports"
    own = f"imports {median(each.import_mb for each in found):.0f} MB of them"
    rows = [
        _row(setting, time, seconds, "s", median(seconds) < GOAL_S),
        _row(setting, own, memory, "MB", median(memory) < GOAL_MB),
    ]
    return results.Section("Loading a record into frames", f"under {GOAL_S:g} s and {GOAL_MB:g} MB", rows)


def _row(setting: str, detail: str, values: list[float], unit: str, met: bool) -> results.Row:
    return results.Row(setting, detail, median(values), min(values), max(values), unit, met)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=150)
    parser.add_argument("--points", type=int, default=250, help="logged steps of a cell")
    parser.add_argument("--images", type=int, default=100, help="test images of a cell")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--save", action="store_true", help="write the table to benchmarks/results/")
    given = parser.parse_args()
    facts = tables.machine(os.getloadavg()[0])
    with tempfile.TemporaryDirectory(prefix="slackoff-frames-") as folder:
        found = measure_loading(write_record(Path(folder), given.cells, given.points, given.images), given.rounds)
    setting = f"{given.cells} cells, {given.points} steps, {given.images} images"
    sections = [section(found, setting)]
    tables.show(sections, facts, Console())
    if given.save:
        print(f"Saved: {tables.save(sections, facts, {'loads': [asdict(each) for each in found]}, RESULTS, 'frames')}")


if __name__ == "__main__":
    main()
