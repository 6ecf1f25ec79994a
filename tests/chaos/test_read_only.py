"""A folder of records that is read-only, for root too: before a sweep, and from the middle of it on. ``make chaos``."""

from pathlib import Path

import pytest
from small_sweep import SmallSweep, read_only, wait_for

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]
CURE = "make it writable, then run the same command again; it goes on from there"


@pytest.fixture
def sweep(tmp_path: Path) -> SmallSweep:
    return SmallSweep(tmp_path / "sweep")


@pytest.mark.parametrize("prepared", [False, True], ids=["", "cells are there"])
def test_read_only_before_the_sweep(sweep: SmallSweep, prepared: bool):
    sweep.seeds = (0,)
    sweep.runs.mkdir()
    if prepared:
        driver = sweep.start()
        wait_for(sweep.checkpoints)
        sweep.kill(driver)
    before = sorted(sweep.runs.rglob("*"))
    with read_only(sweep.runs):
        assert sweep.finish() == 2
        (mistake,) = [line for line in sweep.output.splitlines() if line.startswith("error: ")]
        assert "runs" in mistake
        assert "make " in mistake
        assert "writable" in mistake
    assert sorted(sweep.runs.rglob("*")) == before


def test_read_only_from_the_middle_on(sweep: SmallSweep, undisturbed: dict[str, bytes]):
    driver = sweep.start()
    wait_for(lambda: len(sweep.checkpoints()) == 2)
    with read_only(sweep.runs):
        assert driver.wait() == 13
        for seed, cell in sweep.cells.items():
            assert sweep.line(seed, "failed: ").endswith(
                f"runs/cells/{cell.name} cannot be written (Read-only file system): {CURE} [runs/cells/{cell.name}]"
            )
            assert sweep.line(seed, "again: ").endswith(f"again: python -m slackoff retry --runs runs {cell.name}")
        assert "The study cannot be drawn in runs/studies (Read-only file system)" in sweep.output
        assert set(sweep.states()) <= {"interrupted", "pending"}
    assert sweep.finish() == 0, sweep.output
    assert sweep.results() == undisturbed
    assert [sweep.outcomes(seed).count("done") for seed in sweep.cells] == [1] * 3
    assert sweep.halves() == []
