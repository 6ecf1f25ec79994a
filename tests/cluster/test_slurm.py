"""Sweeps through a real Slurm: done, warned and put in line again, cancelled, driver killed. ``make test-cluster``."""

import getpass
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from slurm_cluster import SlurmCluster, missing
from sweep_folder import SWEEP, SweepFolder

from slackoff.record.files import read_lines
from wait import wait_for

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(missing()), reason=f"Slurm is not installed: {', '.join(missing())} (make test-cluster)"),
]
LAUNCHER = [
    "schedule.steps=800",
    "hydra/launcher=slurm",
    "hydra.launcher.gpus_per_cell=0",
    "hydra.launcher.cpus_per_rank=1",
    "hydra.launcher.mem_gb=null",
    "hydra.launcher.timeout_min=10",
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    with SlurmCluster(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture
def sweep(cluster: SlurmCluster, tmp_path: Path) -> Iterator[SweepFolder]:
    """The sweep in a folder of its own; a test that failed leaves no driver and no job to the next one."""
    folder = SweepFolder(tmp_path, LAUNCHER, {**cluster.environment, "COLUMNS": "200"})
    yield folder
    for driver in folder.drivers:
        driver.kill()
    if cluster.states():
        cluster.run("scancel", f"--user={getpass.getuser()}")
        wait_for(lambda: cluster.states() == [])


def slots(sweep: SweepFolder) -> list[set[str]]:
    return [{attempt.slot for attempt in made} for made in sweep.attempts()]


def job_ids(sweep: SweepFolder) -> list[str]:
    """The number of the job of every cell that was submitted once."""
    found = (sweep.path / "runs/cells").glob("*/slurm/*/*_submitted.pkl")
    return [path.name.partition("_")[0] for path in sorted(found)]


def test_every_cell_is_a_job_and_the_report_is_drawn(cluster: SlurmCluster, sweep: SweepFolder):
    code, output = sweep.finish()
    assert code == 0, output
    assert sweep.states() == ["done", "done"]
    assert slots(sweep) == [{f"slurm {number}"} for number in job_ids(sweep)]
    assert list((sweep.path / "runs/studies").glob("*/index.html"))
    # Lightning says something about srun where it takes Slurm for its own surroundings.
    assert [(cell / "log.txt").read_text() for cell in sweep.cells] == ["", ""]


def test_a_warned_and_a_requeued_job_write_checkpoints_and_go_on(cluster: SlurmCluster, sweep: SweepFolder):
    driver = sweep.start_training()
    warned, requeued = job_ids(sweep)
    cluster.run("scancel", "--signal=USR2", warned)  # as ahead of a time limit
    cluster.run("scontrol", "requeue", requeued)  # as at a preemption
    output, _ = driver.communicate()
    assert driver.returncode == 0, output
    assert sweep.states() == ["done", "done"]
    assert sweep.outcomes() == [["interrupted", "done"]] * 2
    assert slots(sweep) == [{f"slurm {number}"} for number in (warned, requeued)]  # the same two jobs


def test_a_cancelled_job_is_a_failed_cell_and_the_other_goes_on(cluster: SlurmCluster, sweep: SweepFolder):
    driver = sweep.start_training()
    cluster.run("scancel", job_ids(sweep)[0])
    output, _ = driver.communicate()
    assert driver.returncode == 11
    assert sorted(sweep.states()) == ["done", "failed"]
    assert f"Slurm job {job_ids(sweep)[0]}: " in output


def test_a_killed_driver_finds_its_jobs_again(cluster: SlurmCluster, sweep: SweepFolder):
    driver = sweep.start_training()
    jobs = job_ids(sweep)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    code, output = sweep.finish()
    assert code == 0, output
    assert job_ids(sweep) == jobs
    assert sweep.outcomes() == [["done"]] * 2


def test_ranks_of_two_jobs_on_one_node_do_not_meet(cluster: SlurmCluster, sweep: SweepFolder):
    ranks = ["hydra.launcher.ranks_per_cell=2", "hydra.launcher.partition=shared", "schedule.steps=100"]
    driver = sweep.start_training(*ranks)
    owners = [made[0].owner for made in sweep.attempts()]
    cores = {len(psutil.Process(owner.pid).cpu_affinity()) for owner in owners}
    output, _ = driver.communicate()
    assert driver.returncode == 0, output
    assert cores == {min(2, os.cpu_count())}  # of both ranks
    assert sweep.outcomes() == [["done"], ["done"]]
    made = sorted((first for first, *_ in sweep.attempts()), key=lambda attempt: attempt.claimed_at)
    assert made[1].claimed_at < made[0].ended_at  # at the same time
    for cell in sweep.cells:
        assert json.loads((cell / "environment.json").read_text())["ranks"] == 2
        steps = [row["step"] for row in read_lines(cell / "steps.jsonl") if "train/loss" in row]
        assert len(steps) == len(set(steps)) > 0


def test_ctrl_c_ends_the_jobs_and_the_same_command_goes_on(cluster: SlurmCluster, sweep: SweepFolder):
    three = "background.patch_count=4,8,16"  # more than there are cores: the third job waits in line
    driver = sweep.start_training(three)
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert cluster.states() == []
    assert sorted(sweep.states()) == ["interrupted", "interrupted", "pending"]
    assert sorted(sweep.outcomes()) == [[], ["interrupted"], ["interrupted"]]
    before = {cell: (cell / "steps.jsonl").read_text() for cell in sweep.cells if (cell / "steps.jsonl").exists()}
    assert len(before) == 2
    code, output = sweep.finish(three)
    assert code == 0, output
    assert sorted(sweep.outcomes()) == [["done"], ["interrupted", "done"], ["interrupted", "done"]]
    for cell, text in before.items():  # on from the checkpoint
        assert text
        assert (cell / "steps.jsonl").read_text().startswith(text)


def test_at_slurms_own_time_limit_a_cell_goes_on_in_a_second_turn(cluster: SlurmCluster, sweep: SweepFolder):
    # Slurm looks at limits every 30 s: the warning comes 30 to 60 s after the start.
    limit = ["hydra.launcher.timeout_min=2", "+hydra.launcher.parameters.signal_delay_s=60"]
    driver = sweep.start(*limit, "background.patch_count=4", "schedule.steps=10000")
    wait_for(lambda: ["interrupted"] in sweep.outcomes())
    wait_for(lambda: cluster.states(*job_ids(sweep)) == ["RUNNING"] and len(sweep.outcomes()[0]) == 2)
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=60)
    assert sweep.outcomes() == [["interrupted", "interrupted"]]
    assert slots(sweep) == [{f"slurm {number}"} for number in job_ids(sweep)]
    log = next((sweep.path / "runs/cells").glob("*/slurm/*/*_log.err")).read_text()
    assert "this job is timed-out" in log


def test_two_drivers_train_every_cell_once(cluster: SlurmCluster, sweep: SweepFolder):
    three = "background.patch_count=4,8,16"
    both = [sweep.start(three, "schedule.steps=100") for _ in range(2)]
    outputs = [driver.communicate()[0] for driver in both]
    assert [driver.returncode for driver in both] == [0, 0], outputs
    assert sweep.states() == ["done"] * 3
    assert [made.count("done") for made in sweep.outcomes()] == [1, 1, 1]
    assert {outcome for made in sweep.outcomes() for outcome in made} <= {"done", "unneeded"}


def test_a_cell_goes_on_after_its_node_died(cluster: SlurmCluster, sweep: SweepFolder):
    more = ["background.patch_count=4", "schedule.steps=1500", "hydra.launcher.max_attempts=2"]
    driver = sweep.start(*more)
    wait_for(lambda: sweep.checkpoints())
    cluster.lose_power()
    wait_for(lambda: cluster.states(*job_ids(sweep)) != ["RUNNING"])
    cluster.power_on()
    output, _ = driver.communicate()
    assert driver.returncode == 0, output
    first, *between, last = sweep.outcomes()[0]
    assert first is None  # it could not say how it ended
    # Slurm repeats its order to end the first turn when the node is back, and may hit the second one with it.
    assert between in ([], ["failed"])
    assert last == "done"


def test_what_sbatch_refuses_is_said_in_one_line(cluster: SlurmCluster, sweep: SweepFolder):
    code, output = sweep.finish("hydra.launcher.partition=nowhere")
    assert code == 2
    last = output.splitlines()[-1]
    assert last.startswith("error: Slurm refused the job of cell ")
    assert "invalid partition specified: nowhere" in last
    assert "Traceback" not in output


def test_a_controller_that_restarts_ends_nothing(cluster: SlurmCluster, sweep: SweepFolder):
    driver = sweep.start_training()
    cluster.stop_controller()
    time.sleep(40)  # longer than a driver waits for the result of a job that is gone
    assert driver.poll() is None or sweep.states() == ["done", "done"]
    cluster.start_controller()
    output, _ = driver.communicate()
    assert driver.returncode == 0, output
    assert sweep.outcomes() == [["done"]] * 2


def submit_driver(cluster: SlurmCluster, folder: Path) -> str:
    """The number of the job that ``sweeps/slurm_patchcount.sh`` becomes, made small."""
    script = Path(__file__).parents[2] / "sweeps/slurm_patchcount.sh"
    own = ("-m", "+experiment", "hydra/launcher")
    given = [item for item in (*SWEEP, *LAUNCHER) if not item.startswith(own)]
    cluster.environment["PYTHON"] = sys.executable
    sbatch = ["sbatch", "--parsable", "--mem=0", f"--chdir={folder}", "--partition=shared", str(script)]
    return cluster.run(*sbatch, *given, "hydra.launcher.partition=shared").strip()


def test_a_driver_as_a_job_goes_on_in_its_next_turn(cluster: SlurmCluster, sweep: SweepFolder):
    number = submit_driver(cluster, sweep.path)
    wait_for(lambda: len(sweep.checkpoints()) == 2)
    jobs = job_ids(sweep)
    cluster.run("scancel", "--batch", "--signal=USR1", number)
    wait_for(lambda: cluster.states(number) == ["PENDING"])
    assert "RUNNING" in cluster.states(*jobs)
    wait_for(lambda: cluster.states(number) == ["COMPLETED"], 240)
    assert job_ids(sweep) == jobs
    assert sweep.outcomes() == [["done"]] * 2
    assert "Report:" in (sweep.path / f"slackoff-driver-{number}.txt").read_text()


def test_a_driver_as_a_job_that_is_cancelled_stops_the_sweep_in_order(cluster: SlurmCluster, sweep: SweepFolder):
    number = submit_driver(cluster, sweep.path)
    wait_for(lambda: len(sweep.checkpoints()) == 2)
    cluster.run("scancel", number)
    wait_for(lambda: cluster.states() == [])
    assert sweep.outcomes() == [["interrupted"]] * 2
    assert (
        "stopped; the same command again goes on from the last checkpoints"
        in (sweep.path / f"slackoff-driver-{number}.txt").read_text()
    )
