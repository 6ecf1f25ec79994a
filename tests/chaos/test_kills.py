"""A soak: everything that ends a sweep at the wrong moment, at random. Nothing is lost, nothing trained twice.

``make chaos ARGS="-k soak --kills=300"`` takes hours. A failure names the seed of its sweep, which repeats the same
choices: ``make chaos ARGS="-k soak --kills=20 --seed=7"`` (not the same microseconds).
"""

import json
import os
import random
import shutil
import signal
import subprocess
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from small_sweep import Disk, SmallSweep

from slackoff.record.files import read_lines
from slackoff.record.ledger import Attempt, attempts
from slackoff.record.status import read_status
from wait import wait_for

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(36000)]
ROUNDS = 20
SEEDS = range(6)
OVERRIDES = ("schedule.steps=120", "schedule.checkpoint_every=10", "schedule.evaluate_every=10")
TIMES = ("elapsed_s", "train/steps_per_second")
LIMIT_S = 600.0
"""A command that takes longer hangs: undisturbed, a sweep takes a minute or two on two cores."""

PHASES = ("start", "training", "checkpoint", "evaluation")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TROUBLES = {"": 5, "clock": 1, "files": 2, "disk": 1}
"""What else goes wrong while a command runs, with weights."""

Driver = subprocess.Popen[bytes]


def results(sweep: SmallSweep) -> dict[str, bytes]:
    """Every result by its place: weights, metrics of each test image, metrics over steps."""
    return sweep.results() | {f"{cell.name}/steps": _steps(cell) for cell in sweep.cells.values()}


def times_trained(sweep: SmallSweep) -> list[int]:
    """How often each cell was trained to its end, by the ledger; the status of one killed right after tells it."""
    done = {seed: sweep.outcomes(seed).count("done") for seed in sweep.seeds}
    return [count or int(_is_done(sweep.cells[seed])) for seed, count in done.items()]


def _steps(cell: Path) -> bytes:
    """The metrics over steps without their times."""
    rows = read_lines(cell / "steps.jsonl")
    return json.dumps([{key: value for key, value in row.items() if key not in TIMES} for row in rows]).encode()


def _is_done(cell: Path) -> bool:
    status = read_status(cell)
    return status is not None and status.state == "done"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a sweep gives that nothing happens to."""
    sweep = SmallSweep(tmp_path_factory.mktemp("undisturbed") / "sweep", SEEDS)
    assert sweep.finish(*OVERRIDES) == 0, sweep.output
    assert times_trained(sweep) == [1] * len(SEEDS)
    return results(sweep)


class Soak:
    """One sweep that is disturbed until it is done.

    Args:
        folder: of the sweep.
        seed: decides on everything that is done to it.
        kills: no more than these.
    """

    def __init__(self, folder: Path, seed: int, kills: int) -> None:
        self.chance, self.kills = random.Random(seed), kills
        self.sweep = SmallSweep(folder / "sweep", SEEDS)
        self.phases = folder / "phases"
        self.phases.mkdir()
        self.disk: Disk | None = None
        self.hits, self.fell, self.troubles = Counter[str](), Counter[str](), Counter[str]()
        self.started = 0
        self.said: list[Path] = []

    def run(self) -> None:
        """Disturb it until it is done, or enough was killed; then let it end."""
        with ExitStack() as stack:
            with suppress(pytest.skip.Exception):  # nothing can be mounted here: without full disks then
                self.disk = stack.enter_context(Disk(self.sweep.runs, size_mb=80))
            code = -1
            while code != 0 and self.hits.total() < self.kills:
                code = self._round()
            for _ in range(5):  # files fail no more, so that a second one has nothing left to do
                if (code := self._ended([self._start()])[0]) == 0:
                    break
            assert code == 0, self.sweep.output
            self._nothing_is_lost()
            self.files = results(self.sweep)

    def _nothing_is_lost(self) -> None:
        assert times_trained(self.sweep) == [1] * len(SEEDS)
        kept = {f".{zlib.crc32(name.encode()):08x}." for name in ("config.yaml", "status.json")}  # an hour, for others
        assert [half for half in self.sweep.halves() if half.name[:10] not in kept] == []
        assert not self.sweep.held()
        for said in self.said:
            assert "Traceback" not in said.read_text(), said.read_text()

    def _start(self, **environment: str) -> Driver:
        self.started += 1
        self.sweep.said = self.sweep.folder / f"said{self.started}.txt"
        self.said.append(self.sweep.said)
        folders = [str(Path(__file__).parent / "troubles"), os.environ.get("PYTHONPATH", "")]
        environment |= {"PHASES": str(self.phases), "PYTHONPATH": os.pathsep.join(filter(None, folders))}
        return self.sweep.start(*OVERRIDES, **environment)

    def _round(self) -> int:
        """One, two or three commands at once, until none runs; the best exit code."""
        (trouble,) = self.chance.choices(list(TROUBLES), TROUBLES.values())
        self.troubles[trouble] += bool(trouble)
        environment = {
            "clock": {"WRONG_BY_S": str(self.chance.choice([-1, 1]) * 86400)},
            "files": {"FILES_FAIL": "0.002"},
        }.get(trouble, {})
        drivers = [self._start(**environment) for _ in range(self.chance.choice([1, 1, 2, 3]))]
        ended = time.monotonic() + LIMIT_S
        with self._full_at_times(trouble == "disk"):
            while any(driver.poll() is None for driver in drivers) and self.hits.total() < self.kills:
                assert time.monotonic() < ended, f"hangs: {self.sweep.said.read_text()}"
                self._hit([driver for driver in drivers if driver.poll() is None])
        return min(self._ended(drivers), key=abs)

    def _ended(self, drivers: list[Driver]) -> list[int]:
        return [driver.wait(timeout=LIMIT_S) for driver in drivers]

    @contextmanager
    def _full_at_times(self, wanted: bool) -> Iterator[None]:
        """Let the disk be full for a moment in the middle."""
        if not wanted or self.disk is None:
            yield
            return
        with suppress(AssertionError):
            wait_for(self.sweep.checkpoints, seconds=30)
        self.disk.fill(leave_kb=self.chance.choice([0, 8, 64]))
        time.sleep(self.chance.uniform(0.2, 2))
        self.disk.free()
        yield

    def _hit(self, drivers: list[Driver]) -> None:
        """Kill something while a cell is in a phase that is drawn; what hit no live claim does not count."""
        wanted, victim = (
            self.chance.choice(PHASES),
            self.chance.choice(["driver", "cell", "both", "starter", "signals"]),
        )
        pause_s, gap_s = self.chance.uniform(0, 0.2), self.chance.uniform(0, 1)
        pair = self.chance.choices(SIGNALS, k=2)
        patience = time.monotonic() + 20
        while not (found := [attempt for attempt in self.sweep.held() if self._phase(attempt) == wanted]):
            if time.monotonic() > patience or all(driver.poll() is not None for driver in drivers):
                break
            time.sleep(0.002)
        if wanted in ("start", "training"):  # the others are over soon
            time.sleep(pause_s)
        found = found or self.sweep.held()
        if not found:
            return
        target, phase = found[0], self._phase(found[0])
        driver = self.chance.choice(drivers)
        assert target.owner
        if victim == "signals":
            driver.send_signal(pair[0])
            time.sleep(gap_s)
            driver.send_signal(pair[1])
        else:
            claimed = {attempt.owner.pid for attempt in self.sweep.held() if attempt.owner}
            children = psutil.Process(driver.pid).children() if driver.poll() is None else []
            doomed = {
                "driver": [driver.pid],
                "cell": [target.owner.pid],
                "both": [driver.pid, target.owner.pid],
                "starter": [child.pid for child in children if child.pid not in claimed] or [driver.pid],
            }[victim]
            for pid in doomed:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if victim in ("cell", "both"):
            wait_for(lambda: not target.owner or not target.owner.is_alive(), seconds=30)
        (now,) = [attempt for attempt in attempts(target.path.parents[1]) if attempt.number == target.number]
        if now.outcome is None or victim == "signals":  # else it had ended by itself just before
            self.hits[victim] += 1
            self.fell[phase] += 1

    def _phase(self, attempt: Attempt) -> str:
        assert attempt.owner
        try:
            return (self.phases / str(attempt.owner.pid)).read_text() or "training"
        except FileNotFoundError:
            return "start"


def test_soak(undisturbed: dict[str, bytes], tmp_path: Path, pytestconfig: pytest.Config):
    kills, seed = pytestconfig.getoption("--kills", default=50), pytestconfig.getoption("--seed", default=0)
    hits, fell, troubles, sweeps, commands = Counter[str](), Counter[str](), Counter[str](), 0, 0
    while hits.total() < kills:
        folder = tmp_path / str(seed + sweeps)
        folder.mkdir()
        soak = Soak(folder, seed + sweeps, kills - hits.total())
        try:
            soak.run()
            assert soak.files == undisturbed
        except BaseException as error:
            error.add_note(f'repeat it: make chaos ARGS="-k soak --kills={soak.kills} --seed={seed + sweeps}"')
            raise
        hits, fell, troubles = hits + soak.hits, fell + soak.fell, troubles + soak.troubles
        sweeps, commands = sweeps + 1, commands + soak.started
        shutil.rmtree(folder)
        print(f"sweep {sweeps}: {soak.hits.total()} hits, {hits.total()} of {kills}", flush=True)
    assert set(fell) <= set(PHASES)
    print(f"{hits.total()} hits of a live claim: {dict(hits)}; they fell into {dict(fell)}; troubles: {dict(troubles)}")
    print(
        f"{sweeps} sweeps of {len(SEEDS)} cells, {commands} commands: 0 cells lost, 0 trained twice, 0 bytes different"
    )


def test_two_drivers_twenty_times(undisturbed: dict[str, bytes], tmp_path: Path):
    for number in range(ROUNDS):
        sweep, other = (SmallSweep(tmp_path / str(number), SEEDS) for _ in range(2))
        other.said = other.folder / "said_by_the_other.txt"
        drivers = [sweep.start(*OVERRIDES), other.start(*OVERRIDES)]
        assert [driver.wait(timeout=LIMIT_S) for driver in drivers] == [0, 0], sweep.output + other.output
        assert [sweep.outcomes(seed) for seed in SEEDS] == [["done"]] * len(SEEDS)
        assert results(sweep) == undisturbed
    print(f"two drivers, {ROUNDS} times: {ROUNDS * len(SEEDS)} cells, as many attempts")


def signal_each(sweep: SmallSweep, other: SmallSweep, chance: random.Random) -> None:
    """Two commands on one folder; each is sent a signal, and ends with its cells."""
    drivers = [sweep.start(*OVERRIDES), other.start(*OVERRIDES)]
    wait_for(lambda: sweep.held() or any(driver.poll() is not None for driver in drivers))
    for driver in drivers:
        time.sleep(chance.uniform(0, 2))
        driver.send_signal(chance.choice((signal.SIGINT, signal.SIGTERM)))
    for driver in drivers:
        driver.wait(timeout=LIMIT_S)
    assert "Traceback" not in sweep.output + other.output
    wait_for(lambda: not sweep.held())


def test_two_commands_on_one_folder_a_signal_each(
    undisturbed: dict[str, bytes], tmp_path: Path, pytestconfig: pytest.Config
):
    chance, rounds = random.Random(5), pytestconfig.getoption("--rounds", default=5)
    sweep = SmallSweep(tmp_path / "0", SEEDS)
    for number in range(1, rounds + 1):
        other = SmallSweep(sweep.folder, SEEDS)
        other.said = other.folder / "said_by_the_other.txt"
        signal_each(sweep, other, chance)
        if number == rounds or set(sweep.states()) == {"done"}:
            assert sweep.finish(*OVERRIDES) == 0, sweep.output
            assert times_trained(sweep) == [1] * len(SEEDS)
            assert results(sweep) == undisturbed
            sweep = SmallSweep(tmp_path / str(number), SEEDS)
    print(f"two commands on one folder, a signal each, {rounds} times: all ended")
