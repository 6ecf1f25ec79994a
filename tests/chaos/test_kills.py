"""Kill -9 at fifty random moments, two drivers at once: nothing is lost and nothing trained twice. ``make chaos``."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from slackoff.errors import failure_exit_code
from slackoff.record.files import read_lines
from slackoff.record.ledger import HeartbeatMonitor, attempts
from slackoff.record.status import read_status

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(7200)]
KILLS = 50
ROUNDS = 20
CELLS = 12
SWEEP = [
    "+experiment=patchcount",
    "-m",
    "size=smoke",
    "background.patch_count=4,16",
    "seed=0,1,2,3,4,5",
    "schedule.steps=120",
    "schedule.checkpoint_every=10",
    "logger.wandb=false",
]
TIMES = ("elapsed_s", "train/steps_per_second")
RESULTS = ("network.safetensors", "images.parquet")


@dataclass
class Sweep:
    """The sweep in a folder of its own."""

    folder: Path

    def start(self, *overrides: str) -> subprocess.Popen[bytes]:
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "driver.txt").open("ab") as log:
            command = [sys.executable, "-m", "slackoff", *SWEEP, *overrides]
            return subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True)

    def finish(self, *overrides: str) -> int:
        """Run it until the command ends by itself; its exit code."""
        return self.start(*overrides).wait(timeout=900)

    @property
    def cells(self) -> list[Path]:
        return sorted((self.folder / "runs/cells").glob("*"))

    def living(self) -> list[int]:
        """Process numbers of the cells that are being trained."""
        watch = HeartbeatMonitor()
        held = (watch.holder(cell) for cell in self.cells)
        return [attempt.owner.pid for attempt in held if attempt and attempt.owner]

    def said(self) -> str:
        """The last words of its drivers."""
        return (self.folder / "driver.txt").read_text()[-3000:]

    def results(self) -> dict[str, bytes]:
        """Every result by its place: weights, metrics of each test image, metrics over steps."""
        files = {f"{cell.name}/{name}": (cell / name).read_bytes() for cell in self.cells for name in RESULTS}
        return files | {f"{cell.name}/steps": _steps(cell) for cell in self.cells}

    def times_trained(self) -> list[int]:
        """How often each cell was trained to its end, by the ledger; the status of one killed right after tells it."""
        made = {cell: [attempt.outcome for attempt in attempts(cell)] for cell in self.cells}
        return [outcomes.count("done") or int(_is_done(cell)) for cell, outcomes in made.items()]


def kill_at_random(sweep: Sweep, chance: random.Random, longest_s: float) -> str:
    """Start the sweep and ``kill -9`` the driver, a cell or both some seconds later, ``longest_s`` at the most.

    Returns:
        What was killed; nothing if the sweep had ended before.
    """
    driver = sweep.start()
    time.sleep(chance.uniform(0.0, longest_s))
    if driver.poll() is not None:
        assert driver.returncode == 0, sweep.said()
        return ""
    victim = chance.choice(["driver", "cell", "both"])
    cells = sweep.living()
    helpers = [child.pid for child in psutil.Process(driver.pid).children()] if victim == "both" else []
    doomed = chance.sample(cells, k=min(1, len(cells))) if victim != "driver" else []
    for pid in [*helpers, *doomed, *([] if victim == "cell" else [driver.pid])]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    # A driver that lost a cell goes on with the others and counts that one as failed.
    code = driver.wait(timeout=900)
    assert victim != "cell" or code in (0, failure_exit_code(1)), sweep.said()
    return victim


def _steps(cell: Path) -> bytes:
    """The metrics over steps without their times."""
    rows = read_lines(cell / "steps.jsonl")
    return json.dumps([{key: value for key, value in row.items() if key not in TIMES} for row in rows]).encode()


def _is_done(cell: Path) -> bool:
    status = read_status(cell)
    return status is not None and status.state == "done"


class Undisturbed(NamedTuple):
    """What a sweep gives that nothing happens to, and how long it takes."""

    results: dict[str, bytes]
    seconds: float


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    sweep = Sweep(tmp_path_factory.mktemp("undisturbed") / "sweep")
    started = time.monotonic()
    assert sweep.finish() == 0, sweep.said()
    assert sweep.times_trained() == [1] * CELLS
    return Undisturbed(sweep.results(), time.monotonic() - started)


def test_fifty_kills(undisturbed: Undisturbed, tmp_path: Path):
    chance, kills, sweeps, tried = random.Random(4), Counter[str](), 0, 0
    while kills.total() < KILLS:
        sweep = Sweep(tmp_path / str(sweeps))
        sweeps += 1
        while kills.total() < KILLS and (victim := kill_at_random(sweep, chance, undisturbed.seconds)):
            kills[victim] += 1
        assert sweep.finish() == 0, sweep.said()
        assert sweep.times_trained() == [1] * CELLS
        assert sweep.results() == undisturbed.results
        tried += sum(len(attempts(cell)) for cell in sweep.cells)
    assert tried > sweeps * CELLS  # some of them hit a cell while it trained
    print(f"kill -9 of {dict(kills)}, each in the first {undisturbed.seconds:.0f} s of the command")
    print(f"{sweeps} sweeps of {CELLS} cells, {tried} attempts, each cell trained once")


def test_two_drivers_twenty_times(undisturbed: Undisturbed, tmp_path: Path):
    for number in range(ROUNDS):
        sweep = Sweep(tmp_path / str(number))
        drivers = [sweep.start(), sweep.start()]
        assert [driver.wait(timeout=900) for driver in drivers] == [0, 0]
        assert sweep.times_trained() == [1] * CELLS
        assert all(len(attempts(cell)) == 1 for cell in sweep.cells)
        assert sweep.results() == undisturbed.results
    print(f"two drivers, {ROUNDS} times: {ROUNDS * CELLS} cells, as many attempts")
