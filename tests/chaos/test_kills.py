"""Kill -9 at fifty random moments, two drivers at once: nothing is lost and nothing trained twice. ``make chaos``."""

import json
import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from small_sweep import SmallSweep

from slackoff.errors import failure_exit_code
from slackoff.record.files import read_lines
from slackoff.record.status import read_status

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(7200)]
KILLS = 50
ROUNDS = 20
SEEDS = range(12)
OVERRIDES = ("schedule.steps=120", "schedule.checkpoint_every=10", "schedule.evaluate_every=10")
TIMES = ("elapsed_s", "train/steps_per_second")


def results(sweep: SmallSweep) -> dict[str, bytes]:
    """Every result by its place: weights, metrics of each test image, metrics over steps."""
    return sweep.results() | {f"{cell.name}/steps": _steps(cell) for cell in sweep.cells.values()}


def times_trained(sweep: SmallSweep) -> list[int]:
    """How often each cell was trained to its end, by the ledger; the status of one killed right after tells it."""
    done = {seed: sweep.outcomes(seed).count("done") for seed in sweep.seeds}
    return [count or int(_is_done(sweep.cells[seed])) for seed, count in done.items()]


def kill_at_random(sweep: SmallSweep, chance: random.Random, longest_s: float) -> str:
    """Start the sweep and ``kill -9`` the driver, a cell or both some seconds later, ``longest_s`` at the most.

    Returns:
        What was killed; nothing if the sweep had ended before.
    """
    driver = sweep.start(*OVERRIDES)
    time.sleep(chance.uniform(0.0, longest_s))
    if driver.poll() is not None:
        assert driver.returncode == 0, sweep.output
        return ""
    victim = chance.choice(["driver", "cell", "both"])
    cells = [attempt.owner.pid for attempt in sweep.held() if attempt.owner]
    helpers = [child.pid for child in psutil.Process(driver.pid).children()] if victim == "both" else []
    doomed = chance.sample(cells, k=min(1, len(cells))) if victim != "driver" else []
    for pid in [*helpers, *doomed, *([] if victim == "cell" else [driver.pid])]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    # A driver that lost a cell goes on with the others and counts that one as failed.
    code = driver.wait(timeout=900)
    assert victim != "cell" or code in (0, failure_exit_code(1)), sweep.output
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
    sweep = SmallSweep(tmp_path_factory.mktemp("undisturbed") / "sweep", SEEDS)
    started = time.monotonic()
    assert sweep.finish(*OVERRIDES) == 0, sweep.output
    assert times_trained(sweep) == [1] * len(SEEDS)
    return Undisturbed(results(sweep), time.monotonic() - started)


def test_fifty_kills(undisturbed: Undisturbed, tmp_path: Path):
    chance, kills, sweeps, tried = random.Random(4), Counter[str](), 0, 0
    while kills.total() < KILLS:
        sweep = SmallSweep(tmp_path / str(sweeps), SEEDS)
        sweeps += 1
        while kills.total() < KILLS and (victim := kill_at_random(sweep, chance, undisturbed.seconds)):
            kills[victim] += 1
        assert sweep.finish(*OVERRIDES) == 0, sweep.output
        assert times_trained(sweep) == [1] * len(SEEDS)
        assert results(sweep) == undisturbed.results
        tried += sum(len(sweep.outcomes(seed)) for seed in SEEDS)
    assert tried > sweeps * len(SEEDS)  # some of them hit a cell while it trained
    print(f"kill -9 of {dict(kills)}, each in the first {undisturbed.seconds:.0f} s of the command")
    print(f"{sweeps} sweeps of {len(SEEDS)} cells, {tried} attempts, each cell trained once")


def test_two_drivers_twenty_times(undisturbed: Undisturbed, tmp_path: Path):
    for number in range(ROUNDS):
        sweep, other = (SmallSweep(tmp_path / str(number), SEEDS) for _ in range(2))
        other.said = other.folder / "said_by_the_other.txt"
        drivers = [sweep.start(*OVERRIDES), other.start(*OVERRIDES)]
        assert [driver.wait(timeout=900) for driver in drivers] == [0, 0], sweep.output + other.output
        assert [sweep.outcomes(seed) for seed in SEEDS] == [["done"]] * len(SEEDS)
        assert results(sweep) == undisturbed.results
    print(f"two drivers, {ROUNDS} times: {ROUNDS * len(SEEDS)} cells, as many attempts")
