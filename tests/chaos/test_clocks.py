"""Machines whose clocks differ by a day, a clock that is set back, a host that died. ``make chaos``."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from small_sweep import SmallSweep

from slackoff.record.files import read_lines
from slackoff.record.ledger import HEARTBEAT_S, attempts
from wait import wait_for

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]
OTHER_MACHINE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
"""In another PID namespace nobody can look for our processes: only their heartbeat tells whether they live."""


def clock(days: int) -> dict[str, str]:
    """The environment of a process whose clock is wrong by some days."""
    folders = [str(Path(__file__).parent / "troubles"), os.environ.get("PYTHONPATH", "")]
    return {"WRONG_BY_S": str(days * 86400), "PYTHONPATH": os.pathsep.join(filter(None, folders))}


@pytest.fixture
def sweep(tmp_path: Path) -> SmallSweep:
    return SmallSweep(tmp_path / "sweep", seeds=(0,))


def elsewhere(sweep: SmallSweep) -> SmallSweep:
    """The same sweep as a second machine sees it."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here")
    other = SmallSweep(sweep.folder, sweep.seeds)
    other.said = sweep.folder / "said_elsewhere.txt"
    return other


@pytest.mark.parametrize("days", [-1, 1], ids=["behind", "ahead"])
def test_a_living_cell_is_left_to_a_machine_whose_clock_differs_by_a_day(sweep: SmallSweep, days: int):
    stale_after_s = HEARTBEAT_S + 10
    long = ("schedule.steps=6000", "schedule.evaluate_every=6000")  # a minute where a core does 100 steps/s
    driver = sweep.start(*long)
    wait_for(sweep.checkpoints)
    other = elsewhere(sweep)
    started = time.monotonic()
    second = other.start(
        *long,
        f"hydra.launcher.stale_after_s={stale_after_s}",
        prefix=OTHER_MACHINE,
        **clock(days),
    )
    assert driver.wait() == 0, sweep.output
    kept_waiting_s = time.monotonic() - started
    assert second.wait() == 0, other.output
    assert kept_waiting_s > stale_after_s  # long enough to have been tempted
    assert sweep.outcomes(0) == ["done"]
    assert "is waited for: process " in other.line(0, "is waited for")
    assert "done by process " in other.line(0, "done by")


@pytest.mark.parametrize("days", [-1, 1], ids=["behind", "ahead"])
def test_a_dead_cell_is_taken_over_by_a_machine_whose_clock_differs_by_a_day(
    sweep: SmallSweep, days: int, undisturbed: dict[str, bytes]
):
    driver = sweep.start()
    wait_for(sweep.checkpoints)
    sweep.kill(driver)
    other = elsewhere(sweep)
    second = other.start("hydra.launcher.stale_after_s=6", prefix=OTHER_MACHINE, **clock(days))
    wait_for(lambda: "is waited for" in other.said.read_text())
    seen = time.monotonic()
    wait_for(lambda: "it goes on here" in other.said.read_text().partition("is waited for")[2].partition("\n")[2])
    assert 4 < time.monotonic() - seen < 60
    assert second.wait() == 0, other.output
    assert other.results().items() <= undisturbed.items()
    assert other.outcomes(0) == [None, "done"]


def test_a_clock_that_was_set_back_between_attempts(sweep: SmallSweep, undisturbed: dict[str, bytes]):
    driver = sweep.start()
    wait_for(sweep.checkpoints)
    sweep.kill(driver)
    assert sweep.finish(**clock(-1)) == 0, sweep.output
    assert sweep.results().items() <= undisturbed.items()
    status = sweep.status(0)
    assert status.started_at is not None
    assert status.finished_at is not None
    assert status.finished_at < status.started_at  # the moments are what the clock said
    assert status.train_seconds > 0
    assert status.evaluate_seconds > 0
    assert 0 < (status.seconds_to_first_step or 0) < 120
    clocks = [row["elapsed_s"] for row in read_lines(sweep.cells[0] / "steps.jsonl")]
    assert clocks == sorted(clocks)
    assert clocks[0] > 0
    page = next(sweep.runs.glob("studies/*/index.html")).read_text()
    assert "hours from the first start" not in page


def test_a_cell_of_a_dead_host_is_taken_over_once_it_is_stale(sweep: SmallSweep, undisturbed: dict[str, bytes]):
    driver = sweep.start()
    wait_for(sweep.checkpoints)
    sweep.kill(driver)
    path = sweep.cells[0] / "attempts/0001.json"
    content = json.loads(path.read_text())
    content["owner"] |= {"host": "node7", "place": "another boot", "pid": 4711}
    path.write_text(json.dumps(content))
    second = sweep.start("hydra.launcher.stale_after_s=5")
    wait_for(lambda: "is waited for" in sweep.said.read_text())
    seen = time.monotonic()
    while time.monotonic() < seen + 3.5:
        assert len(attempts(sweep.cells[0])) == 1
        time.sleep(0.1)
    assert second.wait() == 0, sweep.output
    assert sweep.line(0, "is waited for").endswith(
        "process 4711 on node7 trains it; if that shows no sign of life for 5 s, it goes on here"
    )
    assert sweep.line(0, "is gone").endswith("process 4711 on node7 is gone; it goes on here")
    assert sweep.results().items() <= undisturbed.items()
    assert sweep.outcomes(0) == [None, "done"]
