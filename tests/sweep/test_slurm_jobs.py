"""Jobs of Slurm as a driver sees them, with a fake Slurm: silence, refusals, lost results, cancelled jobs."""

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("submitit", reason="submitit is not installed: .venv/bin/pip install -e '.[slurm]'")

from submitit.core.utils import JobPaths

from slackoff.cell.launch import CellExit
from slackoff.errors import SlackoffError
from slackoff.record.ledger import attempts, claim, end_attempt
from slackoff.sweep import slurm as slurm_module
from slackoff.sweep import slurm_jobs
from slackoff.sweep.backend import Slot
from slackoff.sweep.plan import Cell
from slackoff.sweep.slurm import SlurmJob, SlurmJobs

SLOT = Slot({}, "job 0")
SETTINGS = {"job_name": "slackoff", "time": 10}
MOMENT_S = 0.3


SBATCH = """\
env > environment
if [ -e refusal ]; then cat refusal >&2; exit 1; fi
number=$(( $(cat number) + 1 )); echo $number > number
echo "$number|PENDING|Priority|$(sed -n 's/#SBATCH --job-name=//p' "$script")" >> jobs
echo "Submitted batch job $number"
"""
SQUEUE = """\
if [ -e down ]; then echo "slurm_load_jobs error: Unable to contact slurm controller" >&2; exit 1; fi
cat jobs
"""
SCANCEL = """\
echo "$arguments" >> cancelled
case "$arguments" in --*) ;; *) sed -i "s/^$arguments|[A-Z]*|/$arguments|CANCELLED|/" jobs ;; esac
"""


class FakeSlurm:
    """Its files lie in ``folder``; its commands are first on the PATH."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "jobs").touch()
        (folder / "number").write_text("10\n")
        for name, script in (("sbatch", SBATCH), ("squeue", SQUEUE), ("scancel", SCANCEL), ("srun", "")):
            path = folder / name
            path.write_text(f'#!/bin/sh\nscript=$(realpath "$1" 2> /dev/null); arguments="$*"; cd {folder}\n{script}')
            path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def set(self, number: str, state: str, reason: str = "None") -> None:
        """Let the queue show a job in a state."""
        rows = [line.split("|") for line in (self.folder / "jobs").read_text().splitlines()]
        rows = [[row[0], state, reason, row[3]] if row[0] == number else row for row in rows]
        (self.folder / "jobs").write_text("".join("|".join(row) + "\n" for row in rows))

    def add(self, number: str, state: str, name: str) -> None:
        """Let the queue show one more job."""
        with (self.folder / "jobs").open("a") as file:
            file.write(f"{number}|{state}|None|{name}\n")

    def refuse(self, reason: str) -> None:
        """Let sbatch refuse all jobs."""
        (self.folder / "refusal").write_text(reason)

    def recover(self) -> None:
        """Let sbatch take jobs and squeue reach the controller again."""
        for name in ("refusal", "down"):
            (self.folder / name).unlink(missing_ok=True)

    def go_silent(self) -> None:
        """Let squeue not reach the controller."""
        (self.folder / "down").touch()

    @property
    def cancelled(self) -> list[str]:
        """The arguments of every scancel so far."""
        path = self.folder / "cancelled"
        return path.read_text().splitlines() if path.exists() else []


def write_result(paths: JobPaths, outcome: str, value: object) -> None:
    """What submitit writes at the end of a job."""
    paths.result_pickle.write_bytes(pickle.dumps((outcome, value)))


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    for name in ("_ASK_EVERY_S", "_REPEAT_S"):
        monkeypatch.setattr(slurm_module, name, 0.0)
    for module, name in ((slurm_module, "_RESULT_WITHIN_S"), (slurm_module, "_LEAVE_S"), (slurm_jobs, "AGAIN_S")):
        monkeypatch.setattr(module, name, MOMENT_S)
    return FakeSlurm(tmp_path / "slurm", monkeypatch)


@pytest.fixture
def cells(prepared: Callable[..., Cell]) -> list[Cell]:
    return [prepared(f"seed={seed}") for seed in range(2)]


def start(jobs: SlurmJobs, cell: Cell) -> SlurmJob:
    """Submit a cell all of whose attempts are over."""
    return jobs.start(cell, SLOT, len(attempts(cell.folder)))


def started(cell: Cell, slurm: FakeSlurm, state: str = "RUNNING") -> SlurmJob:
    job = start(SlurmJobs(SETTINGS), cell)
    assert job.submission is not None
    slurm.set(job.submission.number, state)
    assert not job.ended()
    return job


def ends(job: SlurmJob, within_s: float = 10.0) -> bool:
    deadline = time.monotonic() + within_s
    while not job.ended() and time.monotonic() < deadline:
        time.sleep(0.02)
    return job.ended()


MISSING = "Traceback ...\nModuleNotFoundError: No module named 'slackoff'\n"


@pytest.mark.parametrize(
    ("attempt", "result", "state", "words"),
    [
        (None, None, "COMPLETED", ["Slurm job 11: COMPLETED", "11_0_log.err"]),
        (None, None, "FORGOTTEN", ["Slurm job 11: Slurm does not know it any more"]),
        (None, MISSING, "RUNNING", ["Slurm job 11: ModuleNotFoundError: No module named 'slackoff'"]),
        # Not the cell's fault: it is tried again.
        ("held", None, "NODE_FAIL", []),
        ("held", None, "PREEMPTED", []),
        ("held", None, "BOOT_FAIL", []),
        # Its checkpoint is written, and only standing in line again has failed.
        ("interrupted", "CalledProcessError: scontrol requeue", "RUNNING", []),
    ],
)
def test_a_job_without_an_exit_code_is_a_failure_that_says_why_or_is_tried_again(
    cells, slurm, attempt, result, state, words
):
    job, folder = started(cells[0], slurm), cells[0].folder
    if attempt:
        made = claim(folder, "slurm 11", 0)
    if attempt == "interrupted":
        end_attempt(made, "interrupted")
    if state == "FORGOTTEN":
        (slurm.folder / "jobs").write_text("")
    else:
        slurm.set("11", state)
    if result:
        write_result(job.submission.paths, "error", result)
        assert job.ended()
    else:
        assert not job.ended()  # a result may show late
        assert ends(job)
    assert job.finish().exit == (CellExit.FAILED if words else CellExit.INTERRUPTED)
    error = cells[0].status().last_error
    assert all(part in str(error) for part in words)
    if words:
        assert [attempt.outcome for attempt in attempts(folder)] == ["failed"]
    else:
        assert error is None


def test_a_result_that_shows_late_counts(cells, slurm):
    job = started(cells[0], slurm)
    slurm.set("11", "COMPLETED")
    assert not job.ended()
    write_result(job.submission.paths, "success", 0)
    assert job.ended()
    assert job.finish().exit == CellExit.DONE


def test_a_slurm_that_does_not_answer_ends_no_job_and_results_still_count(cells, slurm):
    jobs = SlurmJobs(SETTINGS)
    slurm.go_silent()
    first, second = (start(jobs, cell) for cell in cells)  # not even known to have come into the queue
    assert not ends(first, 4 * MOMENT_S)
    write_result(first.submission.paths, "success", 0)
    assert first.ended()
    slurm.recover()
    assert not ends(second, 4 * MOMENT_S)
    slurm.set("12", "FAILED")
    assert ends(second)


def test_the_first_refusal_ends_the_sweep_with_slurms_reason(cells, slurm):
    slurm.refuse("sbatch: error: invalid partition specified: x\nsbatch: error: Batch job submission failed: bad\n")
    with pytest.raises(SlackoffError) as found:
        start(SlurmJobs(SETTINGS), cells[0])
    assert str(found.value) == (
        f"Slurm refused the job of cell {cells[0].id}: invalid partition specified: x; Batch job submission failed: bad"
    )
    assert not list(cells[0].folder.glob("slurm/*"))


def test_a_later_refusal_is_waited_out_and_said_once(cells, slurm):
    jobs = SlurmJobs(SETTINGS)
    start(jobs, cells[0])
    slurm.refuse("sbatch: error: QOSMaxSubmitJobPerUserLimit\n")
    job = start(jobs, cells[1])
    assert not ends(job, 4 * MOMENT_S)
    assert len(job.news) == 1
    assert "(QOSMaxSubmitJobPerUserLimit)" in job.news[0]
    slurm.recover()
    assert not ends(job, 4 * MOMENT_S)
    assert job.submission is not None
    assert job.submission.number == "12"


def test_a_cell_that_slurm_never_takes_is_a_failure_in_the_end(cells, slurm, monkeypatch):
    monkeypatch.setattr(slurm_module, "_PATIENCE_S", 2 * MOMENT_S)
    jobs = SlurmJobs(SETTINGS)
    start(jobs, cells[0])
    slurm.refuse("sbatch: error: your account has expired\n")
    job = start(jobs, cells[1])
    assert ends(job)
    assert job.finish().exit == CellExit.FAILED
    assert "your account has expired" in str(cells[1].status().last_error)


def test_a_job_that_a_person_cancels_is_a_failure_and_not_tried_again(cells, slurm):
    job = started(cells[0], slurm)
    end_attempt(claim(cells[0].folder, "slurm 11", 0), "interrupted")
    write_result(job.submission.paths, "success", int(CellExit.INTERRUPTED))
    slurm.set("11", "COMPLETING")
    assert not job.ended()
    slurm.set("11", "CANCELLED")
    assert job.ended()
    assert job.finish().exit == CellExit.FAILED
    assert "Slurm job 11: CANCELLED" in str(cells[0].status().last_error)


def test_an_interrupted_job_that_stands_in_line_again_has_not_ended(cells, slurm):
    job = started(cells[0], slurm)
    write_result(job.submission.paths, "success", int(CellExit.INTERRUPTED))
    slurm.set("11", "PENDING")
    assert not ends(job, 3 * MOMENT_S)
    write_result(job.submission.paths, "success", 0)
    assert job.ended()
    assert job.finish().exit == CellExit.DONE


def test_a_job_in_line_is_cancelled_and_leaves_no_attempt(cells, slurm):
    job = started(cells[0], slurm, "PENDING")
    other = SlurmJobs(SETTINGS).adopt(cells[0], SLOT)
    job.stop()
    assert slurm.cancelled == ["11"]
    assert job.ended()
    assert job.finish().exit == CellExit.INTERRUPTED
    assert attempts(cells[0].folder) == []
    assert ends(other)  # a second driver, which was not asked to stop, takes the cell up again
    assert other.finish().exit == CellExit.ELSEWHERE


def test_a_job_asked_to_stop_is_told_until_it_hears_and_cancelled_if_it_stands_in_line_again(cells, slurm):
    job = started(cells[0], slurm)
    job.stop()
    assert not job.ended()
    assert slurm.cancelled == ["--signal=TERM 11"] * 2
    slurm.set("11", "PENDING")
    assert not job.ended()
    assert slurm.cancelled[2:] == ["11"]
    assert ends(job)


def test_asked_twice_a_job_is_cancelled_and_soon_left_whatever_slurm_says(cells, slurm):
    job = started(cells[0], slurm)
    slurm.go_silent()
    job.stop()
    job.kill()
    assert slurm.cancelled == ["11"]
    assert ends(job)
    assert job.finish().exit == CellExit.INTERRUPTED


def test_waiting_in_line_is_no_time_of_a_turn(cells, slurm):
    job = started(cells[0], slurm)
    time.sleep(1)
    assert job.seconds() >= 1
    slurm.set("11", "PENDING")
    assert not job.ended()
    assert job.seconds() == 0
    slurm.set("11", "RUNNING")
    assert not job.ended()
    assert 0 < job.seconds() < 1


def test_a_job_that_will_never_have_its_turn_is_named_once(cells, slurm):
    job = started(cells[0], slurm, "PENDING")
    slurm.set("11", "PENDING", "PartitionTimeLimit")
    assert not job.ended()
    assert not job.ended()
    assert len(job.news) == 1
    assert "Slurm job 11" in job.news[0]
    assert "(PartitionTimeLimit)" in job.news[0]


def test_a_later_driver_finds_a_job_but_not_another_one_of_the_same_number(cells, slurm):
    job = started(cells[0], slurm)
    claim(cells[0].folder, "slurm 11", 0)
    found = start(SlurmJobs(SETTINGS), cells[0])
    assert (found.submission.number, found.submission.paths.folder) == ("11", job.submission.paths.folder)
    assert found.after == 0
    slurm.set("11", "COMPLETED")
    write_result(job.submission.paths, "success", 1)
    slurm.add("11", "RUNNING", "something-else")
    (slurm.folder / "number").write_text("10\n")  # Slurm counts from the start again
    again = start(SlurmJobs(SETTINGS), cells[0])
    assert again.submission.number == "11"
    assert again.after == 1
    assert not again.ended()  # the result of the old job 11 is not its own


def test_a_driver_that_is_a_job_itself_hands_on_nothing_of_it(cells, slurm, monkeypatch):
    given = {"SLURM_JOB_ID": "3", "SLURM_MEM_PER_NODE": "4096", "SLURM_CONF": "x", "SBATCH_ACCOUNT": "me"}
    for key, value in given.items():
        monkeypatch.setenv(key, value)
    start(SlurmJobs(SETTINGS), cells[0])
    handed = dict(line.split("=", 1) for line in (slurm.folder / "environment").read_text().splitlines() if "=" in line)
    assert {key: handed.get(key) for key in given} == {**given, "SLURM_JOB_ID": None, "SLURM_MEM_PER_NODE": None}
    assert os.environ["SLURM_MEM_PER_NODE"] == "4096"


def test_a_driver_killed_while_it_submits_leaves_no_job_that_can_train(cells, slurm):
    (slurm.folder / "sbatch").write_text("#!/bin/sh\nkill -KILL $PPID\n")
    code = f"""
from pathlib import Path
from types import SimpleNamespace
from slackoff.sweep.slurm_jobs import Submitter
cell = SimpleNamespace(id="x", folder=Path({str(cells[0].folder)!r}))
Submitter({SETTINGS}).submit(cell, 1, 0)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert result.returncode == -9, result.stderr
    assert len(list(cells[0].folder.glob("slurm/*/*.pkl"))) == 1  # what it was to be, under a name no job looks for
    assert SlurmJobs(SETTINGS).submitter.earlier(cells[0]) == []
