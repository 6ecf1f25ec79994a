"""Files cut short: checkpoints, the status, an attempt. Training goes on from what is whole, and says so."""

from pathlib import Path

import pytest
import torch
from small_sweep import STEPS, SmallSweep

from slackoff.record.checkpoint import LAST, PREVIOUS
from slackoff.record.ledger import attempts
from wait import wait_for

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]


@pytest.fixture
def sweep(tmp_path: Path) -> SmallSweep:
    """One cell, killed with its driver when it had two checkpoints."""
    killed = SmallSweep(tmp_path / "sweep", seeds=(0,))
    driver = killed.start()
    wait_for(lambda: list(killed.runs.glob(f"cells/*/checkpoints/{PREVIOUS}")))
    killed.kill(driver)
    return killed


def cut(path: Path) -> None:
    """Leave the first half of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def expect_whole(sweep: SmallSweep, undisturbed: dict[str, bytes], *overrides: str) -> None:
    assert sweep.finish(*overrides) == 0, sweep.output
    assert sweep.states() == ["done"]
    assert sweep.results().items() <= undisturbed.items()
    assert sweep.outcomes(0).count("done") == 1


def test_a_truncated_newest_checkpoint(sweep: SmallSweep, undisturbed: dict[str, bytes]):
    folder = sweep.cells[0] / "checkpoints"
    step = torch.load(folder / PREVIOUS, weights_only=True)["global_step"]
    assert 0 < step < STEPS
    cut(folder / LAST)
    expect_whole(sweep, undisturbed)
    place = f"runs/cells/{folder.parent.name}/checkpoints"
    assert sweep.line(0, "note on").endswith(f"{place}/{LAST} is truncated or damaged and was not used")
    assert sweep.line(0, "training goes on from").endswith(f"{place}/{PREVIOUS}, step {step}")


def test_both_checkpoints_truncated(sweep: SmallSweep, undisturbed: dict[str, bytes]):
    for name in (LAST, PREVIOUS):
        cut(sweep.cells[0] / "checkpoints" / name)
    expect_whole(sweep, undisturbed)
    assert sweep.line(0, "no whole").endswith("no whole checkpoint is left: training starts from step 0")


def test_an_empty_status(sweep: SmallSweep, undisturbed: dict[str, bytes]):
    cell = sweep.cells[0]
    step = torch.load(cell / "checkpoints" / LAST, weights_only=True)["global_step"]
    rows = (cell / "steps.jsonl").read_text().splitlines()[: step // 10]
    (cell / "status.json").write_bytes(b"")
    expect_whole(sweep, undisturbed)
    place = f"runs/cells/{cell.name}/status.json"
    assert f"{place} was damaged and is made anew; training goes on from the last checkpoint" in sweep.output
    assert (cell / "steps.jsonl").read_text().splitlines()[: len(rows)] == rows
    assert sweep.outcomes(0) == [None, "interrupted", "done"]
    assert "status.json is damaged" in str(attempts(cell)[1].error)


def test_an_empty_attempt_is_held_by_somebody_unknown_until_it_is_stale(
    sweep: SmallSweep, undisturbed: dict[str, bytes]
):
    (sweep.cells[0] / "attempts/0001.json").write_bytes(b"")
    expect_whole(sweep, undisturbed, "hydra.launcher.stale_after_s=4")
    assert sweep.line(0, "is waited for").endswith(
        "an unknown process trains it; if that shows no sign of life for 4 s, it goes on here"
    )
    assert sweep.line(0, "is gone").endswith("an unknown process is gone; it goes on here")
    assert sweep.outcomes(0) == [None, "done"]
