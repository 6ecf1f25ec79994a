"""Cells that raise, run out of memory, are killed or hang: the others finish, each failure has its line and command."""

import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from small_sweep import SmallSweep

from slackoff.record.ledger import attempts

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1200)]
STARVED, SWOLLEN, KILLED, RAISING, HANGING, FINE, FINE_TOO = range(7)
FAILED = (STARVED, SWOLLEN, KILLED, RAISING, HANGING)
LIMIT_H = 0.03


def hurt(sweep: SmallSweep, driver: subprocess.Popen[bytes]) -> None:
    """Hurt each cell in its own way when its time has come, until the sweep is over."""
    left = {STARVED, SWOLLEN, KILLED, HANGING}
    while driver.poll() is None:
        cells = sweep.cells
        pids = {attempt.path.parents[1]: attempt.owner.pid for attempt in sweep.held() if attempt.owner}
        for seed in [seed for seed in left if cells.get(seed) in pids]:
            if seed == STARVED or (cells[seed] / "checkpoints/last.ckpt").exists():
                hurt_one(seed, pids[cells[seed]])
                left.remove(seed)
        time.sleep(0.02)
    assert not left


def hurt_one(seed: int, pid: int) -> None:
    if seed in (STARVED, SWOLLEN):
        used = psutil.Process(pid).memory_info().vms
        resource.prlimit(pid, resource.RLIMIT_AS, (used, used))  # not a page more, as under ulimit -v
    else:
        os.kill(pid, signal.SIGKILL if seed == KILLED else signal.SIGSTOP)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> SmallSweep:
    """Seven cells, five of which failed each in its own way."""
    made = SmallSweep(
        tmp_path_factory.mktemp("failing") / "sweep",
        seeds=range(7),
        special={RAISING: {"task.learning_rate": 1e30, "trainer.precision": "32-true"}},
    )
    driver = made.start(f"hydra.launcher.time_limit_h={LIMIT_H}", "hydra.launcher.grace_s=2")
    hurt(made, driver)
    assert driver.returncode == 10 + len(FAILED), made.output
    return made


def test_the_others_finish(sweep: SmallSweep):
    assert sweep.states() == ["failed"] * 5 + ["done"] * 2
    assert [sweep.outcomes(seed) for seed in sweep.seeds] == [["failed"]] * 5 + [["done"]] * 2
    assert "5 of 7 cells failed. The same command again trains only these." in sweep.output
    assert list(sweep.runs.glob("studies/*/index.html"))


@pytest.mark.parametrize(
    ("seed", "words"),
    [
        (STARVED, ["emory", "run fewer cells at once (hydra.launcher.slots=N) or lower schedule.batch_size"]),
        (SWOLLEN, ["emory", "run fewer cells at once (hydra.launcher.slots=N) or lower schedule.batch_size"]),
        (KILLED, ["the process died (signal 9)", "when memory runs out: run fewer cells at once"]),
        (RAISING, ["The loss became NaN or infinite at step", "lower task.learning_rate"]),
        (HANGING, [f"over its time limit of {LIMIT_H} h", "raise hydra.launcher.time_limit_h"]),
    ],
    ids=["out of memory at its start", "out of memory", "killed", "raises", "hangs"],
)
def test_each_failure_has_its_line_and_its_command(sweep: SmallSweep, seed: int, words: list[str]):
    said, again = sweep.line(seed, "failed: "), sweep.line(seed, "again: ")
    cell = sweep.cells[seed]
    for part in words:
        assert part in said
        assert part in again
    assert f"seed {seed}" in again
    command = f"python -m slackoff retry --runs runs {cell.name}"
    assert again.endswith(f" | log: runs/cells/{cell.name}/log.txt | again: {command}")
    (attempt,) = attempts(cell)
    assert str(attempt.error) in said
    assert sweep.status(seed).last_error == attempt.error
    assert str(attempt.error).splitlines() == [attempt.error]


def test_the_commands_train_these_cells_again(sweep: SmallSweep, undisturbed: dict[str, bytes]):
    for seed in (STARVED, SWOLLEN, KILLED):
        command = shlex.split(sweep.line(seed, "again: ").partition("again: ")[2])
        assert command[0] == "python"
        done = subprocess.run([sys.executable, *command[1:]], cwd=sweep.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert sweep.outcomes(seed) == ["failed", "done"]
    for name, content in undisturbed.items():
        assert (sweep.runs / "cells" / name).read_bytes() == content


def test_a_named_cell_can_be_tried_again_from_another_folder(sweep: SmallSweep, tmp_path: Path):
    command = [sys.executable, "-m", "slackoff", "retry", "--runs", str(sweep.runs)]
    cells = [sweep.cells[seed].name for seed in (RAISING, HANGING)]
    done = subprocess.run([*command, *cells], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 11, done.stdout + done.stderr
    assert sweep.states()[RAISING] == "failed"
    assert sweep.states()[HANGING] == "done"
    assert f"again: python -m slackoff retry --runs {sweep.runs} {cells[0]}" in done.stdout
    assert list(tmp_path.iterdir()) == []
