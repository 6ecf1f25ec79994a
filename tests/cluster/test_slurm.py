"""Sweeps through a real Slurm: done, warned and put in line again, cancelled, driver killed. ``make test-cluster``."""

import getpass
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from slurm_cluster import SlurmCluster, missing

from slackoff.record.files import read_lines
from slackoff.record.ledger import HeartbeatMonitor, attempts
from slackoff.record.observed import observed_status

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(missing()), reason=f"Slurm is not installed: {', '.join(missing())} (make test-cluster)"),
]
STEPS = 800
STOPPED = "stopped; the same command again goes on from the last checkpoints"
SWEEP = [
    "+experiment=patchcount",
    "-m",
    "size=smoke",
    f"schedule.steps={STEPS}",
    "schedule.checkpoint_every=20",
    "schedule.evaluate_every=400",
    "logger.wandb=false",
    "hydra/launcher=slurm",
    "hydra.launcher.gpus_per_cell=0",
    "hydra.launcher.cpus_per_rank=1",
    "hydra.launcher.mem_gb=null",
    "hydra.launcher.timeout_min=10",
]

drivers: list[subprocess.Popen[str]] = []


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    with SlurmCluster(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_left_over(cluster: SlurmCluster) -> Iterator[None]:
    """A test that failed leaves no driver and no job to the next one."""
    yield
    for driver in drivers:
        driver.kill()
    drivers.clear()
    if cluster.states():
        cluster.run("scancel", f"--user={getpass.getuser()}")
        wait_for(lambda: cluster.states() == [])


def start(cluster: SlurmCluster, folder: Path, *overrides: str) -> subprocess.Popen[str]:
    driver = subprocess.Popen(
        [sys.executable, "-m", "slackoff", *SWEEP, *overrides],
        cwd=folder,
        env={**cluster.environment, "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    drivers.append(driver)
    return driver


def cells(folder: Path) -> list[Path]:
    return sorted((folder / "runs/cells").glob("*"))


def outcomes(folder: Path) -> list[list[str | None]]:
    return [[attempt.outcome for attempt in attempts(cell)] for cell in cells(folder)]


def slots(folder: Path) -> list[set[str]]:
    return [{attempt.slot for attempt in attempts(cell)} for cell in cells(folder)]


def states(folder: Path) -> list[str]:
    found = (observed_status(cell, HeartbeatMonitor()) for cell in cells(folder))
    return [status.state for status in found if status]


def wait_for(what: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def checkpoints(folder: Path) -> list[Path]:
    return list((folder / "runs/cells").glob("*/checkpoints/last.ckpt"))


def job_ids(folder: Path) -> list[str]:
    """The number of the job of every cell that was submitted once."""
    found = (folder / "runs/cells").glob("*/slurm/*/*_submitted.pkl")
    return [path.name.partition("_")[0] for path in sorted(found)]


def test_every_cell_is_a_job_and_the_report_is_drawn(cluster: SlurmCluster, tmp_path: Path):
    driver = start(cluster, tmp_path)
    output, _ = driver.communicate()
    assert driver.returncode == 0, output
    assert states(tmp_path) == ["done", "done"]
    assert slots(tmp_path) == [{f"slurm {number}"} for number in job_ids(tmp_path)]
    assert list((tmp_path / "runs/studies").glob("*/index.html"))
    # Lightning says something about srun where it takes Slurm for its own surroundings.
    assert [(cell / "log.txt").read_text() for cell in cells(tmp_path)] == ["", ""]


def test_a_warned_and_a_requeued_job_write_checkpoints_and_stand_in_line_again(cluster: SlurmCluster, tmp_path: Path):
    driver = start(cluster, tmp_path)
    wait_for(lambda: len(checkpoints(tmp_path)) == 2)
    warned, requeued = job_ids(tmp_path)
    cluster.run("scancel", "--signal=USR2", warned)  # as ahead of a time limit
    cluster.run("scontrol", "requeue", requeued)  # as at a preemption
    output, _ = driver.communicate()
    assert driver.returncode == 0, output
    assert states(tmp_path) == ["done", "done"]
    assert outcomes(tmp_path) == [["interrupted", "done"]] * 2
    assert slots(tmp_path) == [{f"slurm {number}"} for number in (warned, requeued)]  # the same two jobs


def test_a_cancelled_job_is_a_failed_cell_and_the_other_goes_on(cluster: SlurmCluster, tmp_path: Path):
    driver = start(cluster, tmp_path)
    wait_for(lambda: len(checkpoints(tmp_path)) == 2)
    cluster.run("scancel", job_ids(tmp_path)[0])
    output, _ = driver.communicate()
    assert driver.returncode == 11
    assert sorted(states(tmp_path)) == ["done", "failed"]
    assert f"Slurm job {job_ids(tmp_path)[0]}: " in output


def test_a_killed_driver_finds_its_jobs_again(cluster: SlurmCluster, tmp_path: Path):
    driver = start(cluster, tmp_path)
    wait_for(lambda: len(checkpoints(tmp_path)) == 2)
    jobs = job_ids(tmp_path)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    again = start(cluster, tmp_path)
    output, _ = again.communicate()
    assert again.returncode == 0, output
    assert job_ids(tmp_path) == jobs
    assert outcomes(tmp_path) == [["done"]] * 2


def test_ranks_of_two_jobs_on_one_node_do_not_meet(cluster: SlurmCluster, tmp_path: Path):
    ranks = ["hydra.launcher.ranks_per_cell=2", "hydra.launcher.partition=shared", "schedule.steps=100"]
    driver = start(cluster, tmp_path, *ranks)
    wait_for(lambda: len(checkpoints(tmp_path)) == 2)
    owners = [attempts(cell)[0].owner for cell in cells(tmp_path)]
    cores = {len(psutil.Process(owner.pid).cpu_affinity()) for owner in owners}
    output, _ = driver.communicate()
    assert driver.returncode == 0, output
    assert cores == {min(2, os.cpu_count())}  # of both ranks
    assert outcomes(tmp_path) == [["done"], ["done"]]
    made = sorted((attempts(cell)[0] for cell in cells(tmp_path)), key=lambda attempt: attempt.claimed_at)
    assert made[1].claimed_at < made[0].ended_at  # at the same time
    for cell in cells(tmp_path):
        assert json.loads((cell / "environment.json").read_text())["ranks"] == 2
        steps = [row["step"] for row in read_lines(cell / "steps.jsonl") if "train/loss" in row]
        assert len(steps) == len(set(steps)) > 0


def test_ctrl_c_ends_the_jobs_and_the_same_command_goes_on(cluster: SlurmCluster, tmp_path: Path):
    three = "background.patch_count=4,8,16"  # more than there are cores: the third job waits in line
    driver = start(cluster, tmp_path, three)
    wait_for(lambda: len(checkpoints(tmp_path)) == 2)
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert cluster.states() == []
    assert sorted(states(tmp_path)) == ["interrupted", "interrupted", "pending"]
    assert sorted(outcomes(tmp_path)) == [[], ["interrupted"], ["interrupted"]]
    before = {cell: (cell / "steps.jsonl").read_text() for cell in cells(tmp_path) if (cell / "steps.jsonl").exists()}
    assert len(before) == 2
    again = start(cluster, tmp_path, three)
    output, _ = again.communicate()
    assert again.returncode == 0, output
    assert sorted(outcomes(tmp_path)) == [["done"], ["interrupted", "done"], ["interrupted", "done"]]
    for cell, text in before.items():  # on from the checkpoint
        assert text
        assert (cell / "steps.jsonl").read_text().startswith(text)


def test_at_slurms_own_time_limit_a_cell_goes_on_in_a_second_turn(cluster: SlurmCluster, tmp_path: Path):
    # Slurm looks at limits every 30 s: the warning comes 30 to 60 s after the start.
    limit = ["hydra.launcher.timeout_min=2", "+hydra.launcher.parameters.signal_delay_s=60"]
    driver = start(cluster, tmp_path, *limit, "background.patch_count=4", "schedule.steps=10000")
    wait_for(lambda: ["interrupted"] in outcomes(tmp_path))
    wait_for(lambda: cluster.states(*job_ids(tmp_path)) == ["RUNNING"] and len(outcomes(tmp_path)[0]) == 2)
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=60)
    assert outcomes(tmp_path) == [["interrupted", "interrupted"]]
    assert slots(tmp_path) == [{f"slurm {number}"} for number in job_ids(tmp_path)]
    log = next((tmp_path / "runs/cells").glob("*/slurm/*/*_log.err")).read_text()
    assert "this job is timed-out" in log


def test_two_drivers_train_every_cell_once(cluster: SlurmCluster, tmp_path: Path):
    three = "background.patch_count=4,8,16"
    both = [start(cluster, tmp_path, three, "schedule.steps=100") for _ in range(2)]
    outputs = [driver.communicate()[0] for driver in both]
    assert [driver.returncode for driver in both] == [0, 0], outputs
    assert states(tmp_path) == ["done"] * 3
    assert [made.count("done") for made in outcomes(tmp_path)] == [1, 1, 1]
    assert {outcome for made in outcomes(tmp_path) for outcome in made} <= {"done", "unneeded"}


def test_a_cell_goes_on_after_its_node_died(cluster: SlurmCluster, tmp_path: Path):
    more = ["background.patch_count=4", "schedule.steps=1500", "hydra.launcher.max_attempts=2"]
    driver = start(cluster, tmp_path, *more)
    wait_for(lambda: checkpoints(tmp_path))
    cluster.lose_power()
    wait_for(lambda: cluster.states(*job_ids(tmp_path)) != ["RUNNING"])
    cluster.power_on()
    output, _ = driver.communicate()
    assert driver.returncode == 0, output
    first, *between, last = outcomes(tmp_path)[0]
    assert first is None  # it could not say how it ended
    # Slurm repeats its order to end the first turn when the node is back, and may hit the second one with it.
    assert between in ([], ["failed"])
    assert last == "done"


def test_what_sbatch_refuses_is_said_in_one_line(cluster: SlurmCluster, tmp_path: Path):
    driver = start(cluster, tmp_path, "hydra.launcher.partition=nowhere")
    output, _ = driver.communicate()
    assert driver.returncode == 2
    last = output.splitlines()[-1]
    assert last.startswith("error: Slurm refused the job of cell ")
    assert "invalid partition specified: nowhere" in last
    assert "Traceback" not in output


def test_a_controller_that_restarts_ends_nothing(cluster: SlurmCluster, tmp_path: Path):
    driver = start(cluster, tmp_path)
    wait_for(lambda: len(checkpoints(tmp_path)) == 2)
    cluster.stop_controller()
    time.sleep(40)  # longer than a driver waits for the result of a job that is gone
    assert driver.poll() is None or states(tmp_path) == ["done", "done"]
    cluster.start_controller()
    output, _ = driver.communicate()
    assert driver.returncode == 0, output
    assert outcomes(tmp_path) == [["done"]] * 2


def submit_driver(cluster: SlurmCluster, folder: Path) -> str:
    """The number of the job that ``sweeps/slurm_patchcount.sh`` becomes, made small."""
    script = Path(__file__).parents[2] / "sweeps/slurm_patchcount.sh"
    given = [item for item in SWEEP if "=" in item and not item.startswith(("+experiment", "hydra/launcher"))]
    cluster.environment["PYTHON"] = sys.executable
    sbatch = ["sbatch", "--parsable", "--mem=0", f"--chdir={folder}", "--partition=shared", str(script)]
    return cluster.run(*sbatch, *given, "hydra.launcher.partition=shared").strip()


def test_a_driver_as_a_job_goes_on_in_its_next_turn(cluster: SlurmCluster, tmp_path: Path):
    number = submit_driver(cluster, tmp_path)
    wait_for(lambda: len(checkpoints(tmp_path)) == 2)
    jobs = job_ids(tmp_path)
    cluster.run("scancel", "--batch", "--signal=USR1", number)
    wait_for(lambda: cluster.states(number) == ["PENDING"])
    assert "RUNNING" in cluster.states(*jobs)
    wait_for(lambda: cluster.states(number) == ["COMPLETED"], 240)
    assert job_ids(tmp_path) == jobs
    assert outcomes(tmp_path) == [["done"]] * 2
    assert "Report:" in (tmp_path / f"slackoff-driver-{number}.txt").read_text()


def test_a_driver_as_a_job_that_is_cancelled_stops_the_sweep_in_order(cluster: SlurmCluster, tmp_path: Path):
    number = submit_driver(cluster, tmp_path)
    wait_for(lambda: len(checkpoints(tmp_path)) == 2)
    cluster.run("scancel", number)
    wait_for(lambda: cluster.states() == [])
    assert outcomes(tmp_path) == [["interrupted"]] * 2
    assert (
        "stopped; the same command again goes on from the last checkpoints"
        in (tmp_path / f"slackoff-driver-{number}.txt").read_text()
    )
