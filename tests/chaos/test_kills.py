"""Kill -9 at fifty random moments, two drivers at once: nothing is lost and nothing trained twice. ``make chaos``."""

import random
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
from sweep_under_fire import CELLS, Sweep, kill_at_random

from slackoff.record.ledger import attempts

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(7200)]
KILLS = 50
ROUNDS = 20


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
