"""What a job of Slurm runs: warned, stopped, in its second turn, in turns that are too short. No Slurm here."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("submitit", reason="submitit is not installed: .venv/bin/pip install -e '.[slurm]'")

from slackoff.cell.launch import CellExit
from slackoff.record.ledger import attempts, claim, end_attempt
from slackoff.sweep import slurm_jobs
from slackoff.sweep.plan import Cell
from slackoff.sweep.slurm_jobs import CellJob, slot_name
from wait import wait_for

LISTENS = """
import signal, sys, time
from pathlib import Path
from slackoff.cell.launch import CellExit, LaunchOptions
folder = Path(sys.argv[1])
def end(*_):
    with (folder / "stopped").open("a") as file:
        file.write("x")
    if (folder / "checkpoints").exists():
        (folder / "checkpoints/last.ckpt").write_text("x")
    time.sleep(0.5)
    sys.exit(CellExit.INTERRUPTED)
signal.signal(signal.SIGTERM, end)
(folder / "after").write_text(str(LaunchOptions.read().after))
time.sleep(60)
"""
DEAF = """
import sys, time
from pathlib import Path
from slackoff.cell.launch import LaunchOptions
from slackoff.record.ledger import claim
folder, handover = Path(sys.argv[1]), LaunchOptions.read()
claim(folder, handover.slot, handover.after)
(folder / "after").write_text(str(handover.after))
time.sleep(60)
"""
TELLS = "import sys; from slackoff.cell.launch import LaunchOptions; sys.exit(10 + LaunchOptions.read().after)"
FIRST_TURN = """
import sys, time
from pathlib import Path
from slackoff.record.ledger import claim
claim(Path(sys.argv[1]), "slurm 7", 0)
print(flush=True)
time.sleep(4)
"""


class Requeued(Exception):
    """Stands for the exit that submitit makes after it has put a job in line again."""


@pytest.fixture
def cell(prepared: Callable[..., Cell], monkeypatch: pytest.MonkeyPatch) -> Cell:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr(slurm_jobs, "_LOOK_S", 0.05)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR2)}
    yield prepared()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let the cell's process be a small program."""
    real = subprocess.Popen

    def use(code: str) -> None:
        def popen(command: list[str], **options: object) -> subprocess.Popen[bytes]:
            program = [sys.executable, "-c", code, command[-1]] if "slackoff.cell.process" in command else command
            return real(program, **options)  # type: ignore[call-overload]

        monkeypatch.setattr(slurm_jobs.subprocess, "Popen", popen)

    return use


def when_it_runs(folder: Path, *numbers: int) -> threading.Thread:
    """Send signals to this process once the cell's process listens."""

    def send() -> None:
        wait_for((folder / "after").exists)
        for number in numbers:
            os.kill(os.getpid(), number)
            time.sleep(0.1)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def warned(job: CellJob) -> CellJob:
    """Run a job, warn it as Slurm does through submitit; what is to run in its next turn."""
    found: list[CellJob] = []

    def warn(*_: object) -> None:
        found.append(job.checkpoint().function)
        raise Requeued

    signal.signal(signal.SIGUSR2, warn)
    (job.folder / "after").unlink(missing_ok=True)
    thread = when_it_runs(job.folder, signal.SIGUSR2)
    with pytest.raises(Requeued):
        job()
    thread.join()
    return found[0]


@pytest.mark.timeout(60)
def test_a_warned_job_waits_for_the_checkpoint_without_standing_still(cell, runs):
    runs(LISTENS)
    job = CellJob(cell.folder, 1, 0)
    following = warned(job)
    assert job.process.wait(timeout=0.1) == CellExit.INTERRUPTED  # it had ended before the job stood in line again
    assert (following.folder, following.ranks, following.after) == (cell.folder, 1, 0)


def test_a_job_passes_the_signal_on_once(cell, runs):
    runs(LISTENS)
    thread = when_it_runs(cell.folder, signal.SIGTERM, signal.SIGTERM)
    assert CellJob(cell.folder, 1, 0)() == CellExit.INTERRUPTED
    thread.join()
    assert (cell.folder / "stopped").read_text() == "x"


def test_a_cell_stopped_before_it_listens_is_interrupted(cell, runs):
    runs(DEAF)
    thread = when_it_runs(cell.folder, signal.SIGTERM)
    assert CellJob(cell.folder, 1, 0)() == CellExit.INTERRUPTED
    thread.join()
    warned(CellJob(cell.folder, 1, 1))
    assert [attempt.outcome for attempt in attempts(cell.folder)] == ["interrupted", "interrupted"]


def test_a_second_turn_follows_the_attempt_of_the_first_once_its_process_is_gone(cell, runs):
    runs(TELLS)
    assert CellJob(cell.folder, 1, 0)() == 10
    owner = subprocess.Popen([sys.executable, "-c", FIRST_TURN, str(cell.folder)], stdout=subprocess.PIPE)
    owner.stdout.readline()
    assert CellJob(cell.folder, 1, 0)() == 11
    assert owner.poll() == 0  # not while it lives


def test_the_attempt_of_another_process_is_none_of_its_own(cell, runs):
    runs(TELLS)
    claim(cell.folder, slot_name("8"), 0)
    assert CellJob(cell.folder, 1, 0)() == 10  # the cell's process will find the cell taken


def test_turns_without_a_checkpoint_end_in_a_failure_that_says_what_to_raise(cell, runs, monkeypatch):
    monkeypatch.setattr(slurm_jobs, "_MOST_IDLE_TURNS", 2)
    runs(LISTENS)
    job = CellJob(cell.folder, 1, 0)
    following = warned(warned(job))
    assert following.idle == 2
    assert following() == CellExit.FAILED
    assert "2 turns in Slurm were too short" in str(cell.status().last_error)
    assert "hydra.launcher.timeout_min" in str(cell.status().last_error)
    assert [attempt.outcome for attempt in attempts(cell.folder)] == ["failed"]
    (cell.folder / "checkpoints").mkdir()  # one that is written starts the count anew
    assert warned(CellJob(cell.folder, 1, 1, idle=1)).idle == 0


def test_a_turn_too_many_of_a_cell_that_another_process_trains_is_no_failure(cell):
    attempt = claim(cell.folder, "cpu 0", 0)
    assert CellJob(cell.folder, 1, 0, idle=slurm_jobs._MOST_IDLE_TURNS)() == CellExit.ELSEWHERE
    end_attempt(attempt, "done")
    assert [attempt.outcome for attempt in attempts(cell.folder)] == ["done"]
