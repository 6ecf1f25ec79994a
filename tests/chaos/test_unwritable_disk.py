"""A disk that fills up or is read-only: no result is lost, the cure is said, and it goes on. ``make chaos``."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from small_sweep import STEPS, Disk, SmallSweep, read_only

from slackoff.record.files import read_lines
from wait import wait_for

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]
CURE = "make it writable, then run the same command again; it goes on from there"


@pytest.fixture
def sweep(tmp_path: Path) -> SmallSweep:
    return SmallSweep(tmp_path / "sweep")


@pytest.fixture
def disk(sweep: SmallSweep) -> Iterator[Disk]:
    with Disk(sweep.runs) as mounted:
        yield mounted


def expect_no_space(sweep: SmallSweep) -> None:
    """Each cell has its line with folder and cure, and at the end the command that trains it again."""
    for seed, cell in sweep.cells.items():
        place = f"runs/cells/{cell.name}"
        cure = f"{place}: free some, then run the same command again; it goes on from there"
        assert sweep.line(seed, "failed: No space is left for ").endswith(f"{cure} [{place}]")
        again = f"log: {place}/log.txt | again: python -m slackoff retry --runs runs {cell.name}"
        assert sweep.line(seed, "again: ").endswith(f"{cure} | {again}")
    assert sweep.halves() == []


def expect_cured(sweep: SmallSweep, disk: Disk, undisturbed: dict[str, bytes]) -> None:
    """With room the same command ends with what an undisturbed one gives."""
    disk.enlarge()
    assert sweep.finish() == 0, sweep.output
    assert set(sweep.states()) == {"done"}
    assert [sweep.outcomes(seed).count("done") for seed in sweep.cells] == [1] * len(sweep.cells)
    assert sweep.results().items() <= undisturbed.items()
    assert sweep.halves() == []
    assert "is truncated or damaged" not in sweep.output


def test_full_when_a_checkpoint_is_written(sweep: SmallSweep, disk: Disk, undisturbed: dict[str, bytes]):
    driver = sweep.start()
    wait_for(lambda: len(sweep.checkpoints()) == 2)
    with sweep.paused():
        first = sweep.checkpoints()[0].parents[1]
        reached = trained(first / "checkpoints/last.ckpt")
        rows = [row for row in read_lines(first / "steps.jsonl") if row["step"] <= reached]
        disk.fill(leave_kb=24)
    assert driver.wait() == 13
    expect_no_space(sweep)
    assert "done" not in sweep.states()  # "failed" where that could be written
    assert "3 of 3 cells failed. The same command again trains only these." in sweep.output
    assert 0 < reached < STEPS
    expect_cured(sweep, disk, undisturbed)
    assert read_lines(first / "steps.jsonl")[: len(rows)] == rows  # with their clock: these steps were not taken again


def test_full_when_results_are_written(sweep: SmallSweep, disk: Disk, undisturbed: dict[str, bytes]):
    sweep.seeds = (0, 1)
    driver = sweep.start("hydra.launcher.slots=1")
    wait_for(lambda: sweep.checkpoints() and trained(sweep.checkpoints()[0]) == STEPS)
    with sweep.paused():
        first = sweep.checkpoints()[0].parents[1]
        assert not (first / "images.parquet").exists()
        disk.fill(leave_kb=12)
    assert driver.wait() == 12
    expect_no_space(sweep)
    assert not (first / "images.parquet").exists()
    expect_cured(sweep, disk, undisturbed)


@pytest.mark.parametrize("log_there", [False, True], ids=["", "and the command's output is on it too"])
def test_full_so_that_nothing_at_all_can_be_written(
    sweep: SmallSweep, disk: Disk, undisturbed: dict[str, bytes], log_there: bool
):
    if log_there:
        sweep.said = sweep.runs / "said.txt"
    driver = sweep.start()
    wait_for(lambda: len(sweep.checkpoints()) == 2)
    with sweep.paused():
        disk.fill()
        if log_there:  # up to the end of its last page
            with sweep.said.open("ab") as file:
                file.write(b"\n" * (-sweep.said.stat().st_size % 4096))
    assert driver.wait() == 13
    assert set(sweep.states()) <= {"interrupted", "pending"}  # what the record can still tell
    if log_there:
        assert "Traceback" not in sweep.output
    else:
        expect_no_space(sweep)
        assert "The study cannot be drawn in runs/studies (No space left on device)" in sweep.output
    expect_cured(sweep, disk, undisturbed)


def test_full_when_the_study_is_drawn(sweep: SmallSweep, disk: Disk):
    sweep.seeds = (0,)
    assert sweep.finish() == 0
    (study,) = sweep.runs.glob("studies/*")
    shutil.rmtree(study)
    disk.fill()
    assert sweep.finish() == 2
    assert sweep.output.splitlines()[1:] == [
        "error: The study cannot be drawn in runs/studies (No space left on device): make it writable or free space, "
        "then run the same command again; cells that are done are not trained again"
    ]
    disk.enlarge()
    assert sweep.finish() == 0
    assert (study / "index.html").exists()
    assert sweep.outcomes(0) == ["done"]


def test_full_before_the_sweep(sweep: SmallSweep, disk: Disk, undisturbed: dict[str, bytes]):
    sweep.seeds = (0,)
    disk.fill()
    assert sweep.finish() == 2
    assert "error: " in sweep.output.splitlines()[-1]
    assert "No space left in runs/banks for a patch bank of " in sweep.output.splitlines()[-1]
    disk.enlarge()
    assert sweep.finish() == 0
    assert sweep.results().items() <= undisturbed.items()


def trained(checkpoint: Path) -> int:
    """The step of a checkpoint."""
    return int(torch.load(checkpoint, weights_only=True)["global_step"])


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
