"""Sweeps through a real Ray: done, killed, stopped, shared by two drivers, by script. ``make test-cluster``."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from ray_cluster import INSTALLED, RayCluster
from sweep_folder import SWEEP, SweepFolder, free_port

from slackoff.record.ledger import Attempt
from slackoff.record.status import read_status
from wait import wait_for

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not INSTALLED, reason="Ray is not installed: .venv/bin/pip install -e '.[ray]'"),
]
LAUNCHER = [
    "schedule.steps=400",
    "hydra/launcher=ray",
    "hydra.launcher.gpus_per_cell=0",
    "hydra.launcher.cpus_per_rank=1",
]
ONE_CELL = ["background.patch_count=4"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with RayCluster(cpus=2, gpus=2) as running:
        yield running


def sweep_on(cluster: RayCluster, folder: Path) -> SweepFolder:
    address = f"hydra.launcher.ray.init.address={cluster.address}"
    return SweepFolder(folder, [*LAUNCHER, address], cluster.environment)


@pytest.fixture
def sweep(tmp_path: Path) -> Callable[[RayCluster], SweepFolder]:
    """The sweep on a cluster, in a folder of its own."""
    return lambda cluster: sweep_on(cluster, tmp_path)


@pytest.fixture(scope="module")
def undisturbed(cluster: RayCluster, tmp_path_factory: pytest.TempPathFactory) -> SweepFolder:
    """A sweep that nobody hurts."""
    folder = sweep_on(cluster, tmp_path_factory.mktemp("undisturbed"))
    code, output = folder.finish()
    assert code == 0, output
    return folder


def same_networks(one: SweepFolder, other: SweepFolder) -> bool:
    """Whether two sweeps trained the same weights, to the bit."""
    networks = [[(cell / "network.safetensors").read_bytes() for cell in sweep.cells] for sweep in (one, other)]
    return networks[0] == networks[1]


def steps(sweep: SweepFolder) -> list[int]:
    """The step of each cell, as its status has it."""
    return [status.step for status in map(read_status, sweep.cells) if status]


def least_step(sweep: SweepFolder, driver: subprocess.Popen[str]) -> int:
    """The smallest step at which a cell was seen while a driver ran."""
    seen = []
    while driver.poll() is None:
        statuses = [read_status(cell) for cell in sweep.cells]
        seen += [status.step for status in statuses if status and status.state == "running"]
    return min(seen)


def test_every_cell_is_a_task_and_the_report_is_drawn(undisturbed: SweepFolder):
    assert undisturbed.states() == ["done", "done"]
    assert undisturbed.outcomes() == [["done"], ["done"]]
    slots = [made[0].slot for made in undisturbed.attempts()]
    assert len(set(slots)) == 2
    assert all(slot.startswith("ray ") and slot.endswith(f" {os.uname().nodename}") for slot in slots)
    assert list((undisturbed.path / "runs/studies").glob("*/index.html"))


def test_cells_of_two_ranks_take_both_cpus_and_wait_for_each_other(cluster, sweep):
    folder = sweep(cluster)
    code, output = folder.finish("hydra.launcher.ranks_per_cell=2", "schedule.steps=20")
    assert code == 0, output
    assert "0 done, 0 running, 2 left" in output
    assert [json.loads((cell / "environment.json").read_text())["ranks"] for cell in folder.cells] == [2, 2]
    first, second = sorted((made[0] for made in folder.attempts()), key=lambda attempt: attempt.claimed_at)
    assert str(first.ended_at) <= second.claimed_at


@pytest.mark.parametrize(("wanted", "seen"), [(1, ["0", "1"]), (0, ["", ""])])
def test_each_cell_has_gpus_of_its_own_and_sees_none_unless_it_asked(cluster, sweep, wanted, seen):
    folder = sweep(cluster)
    driver = folder.start(f"hydra.launcher.gpus_per_cell={wanted}", "trainer.accelerator=cpu")
    wait_for(lambda: len(folder.living()) == 2)
    assert sorted(psutil.Process(pid).environ()["CUDA_VISIBLE_DEVICES"] for pid in folder.living()) == seen
    assert sorted(made[0].slot.partition(" gpu ")[2] for made in folder.attempts()) == seen
    driver.kill()
    driver.communicate()


@pytest.mark.parametrize("victim", ["the cell's process", "Ray's worker"])
def test_a_killed_cell_is_a_failure_with_its_line_and_the_other_goes_on(cluster, sweep, victim):
    folder = sweep(cluster)
    driver = folder.start_training()
    cell = psutil.Process(folder.living()[0])
    killed = cell if victim == "the cell's process" else cell.parent()
    killed.kill()
    output, _ = driver.communicate()
    assert driver.returncode == 11
    assert sorted(folder.states()) == ["done", "failed"]
    assert sorted(str(made[0].outcome) for made in folder.attempts()) == ["done", "failed"]
    assert not cell.is_running()
    words = "signal 9, " if victim == "the cell's process" else "worker process has died"
    (line,) = [line for line in output.splitlines() if "failed: the process died" in line]
    assert words in line


def test_cells_of_a_node_that_dies_are_tried_again_on_another(sweep):
    with RayCluster(cpus=1) as cluster:
        node = cluster.add_node(cpus=1)
        folder = sweep(cluster)
        driver = folder.start_training("hydra.launcher.max_attempts=2")
        cluster.kill(node)
        output, _ = driver.communicate()
        assert driver.returncode == 0, output
    assert sorted(folder.outcomes()) == [["done"], ["failed", "done"]]
    (failed,) = [made[0] for made in folder.attempts() if made[0].outcome == "failed"]
    assert "Ray, " in str(failed.error)


def test_a_killed_driver_takes_its_cells_along_and_the_next_goes_on(cluster, sweep, undisturbed):
    folder = sweep(cluster)
    driver = folder.start()
    wait_for(lambda: len(folder.checkpoints()) == 2 and min(steps(folder)) >= 20)  # the status comes twice a second
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    wait_for(lambda: not folder.living(), seconds=30)
    again = folder.start()
    assert least_step(folder, again) >= 20
    assert again.returncode == 0, again.communicate()[0]
    assert folder.outcomes() == [[None, "done"], [None, "done"]]
    assert same_networks(folder, undisturbed)


def test_after_ctrl_c_the_same_command_goes_on_from_the_checkpoints(cluster, sweep, undisturbed):
    folder = sweep(cluster)
    driver = folder.start_training()
    os.kill(driver.pid, signal.SIGINT)
    output, _ = driver.communicate()
    assert driver.returncode == 130, output
    assert "the running cells write a checkpoint" in output
    assert folder.outcomes() == [["interrupted"], ["interrupted"]]
    stopped = steps(folder)
    again = folder.start()
    assert least_step(folder, again) >= min(stopped)
    assert again.returncode == 0, again.communicate()[0]
    assert folder.outcomes() == [["interrupted", "done"]] * 2
    assert same_networks(folder, undisturbed)


def test_ctrl_c_takes_waiting_cells_out_of_the_queue(cluster, sweep):
    folder = sweep(cluster)
    driver = folder.start("hydra.launcher.cpus_per_rank=2")
    wait_for(folder.checkpoints)
    os.kill(driver.pid, signal.SIGINT)
    driver.communicate()
    assert sorted(folder.states()) == ["interrupted", "pending"]
    assert sorted(folder.outcomes()) == [[], ["interrupted"]]


def test_ctrl_c_twice_ends_the_cells_at_once(cluster, sweep):
    folder = sweep(cluster)
    driver = folder.start("schedule.steps=100000")
    wait_for(lambda: len(folder.living()) == 2)
    for pid in folder.living():
        os.kill(pid, signal.SIGSTOP)  # they hear nothing
    os.kill(driver.pid, signal.SIGINT)
    time.sleep(2)
    os.kill(driver.pid, signal.SIGINT)
    driver.communicate()
    assert driver.returncode == 130
    assert folder.outcomes() == [["interrupted"], ["interrupted"]]


def test_a_terminals_ctrl_c_leaves_a_cluster_of_the_sweeps_own_time_for_checkpoints(cluster, tmp_path):
    own = ["hydra.launcher.ray.init.address=local", "hydra.launcher.ray.init.num_cpus=2"]
    folder = SweepFolder(tmp_path, [*LAUNCHER, *own], cluster.environment)
    driver = folder.start_training()
    os.killpg(driver.pid, signal.SIGINT)  # Ray's processes get it too
    output, _ = driver.communicate()
    assert driver.returncode == 130, output
    assert folder.outcomes() == [["interrupted"], ["interrupted"]]


def test_two_drivers_share_cluster_and_folder(cluster, sweep):
    folder = sweep(cluster)
    drivers = [folder.start("seed=0,1", "schedule.steps=60") for _ in range(2)]
    outputs = [driver.communicate()[0] for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0], outputs
    assert folder.outcomes() == [["done"]] * 4


def overlapping(made: list[Attempt]) -> int:
    """How many attempts went on at the same moment, at the most."""
    return max(sum(one.claimed_at <= other.claimed_at < str(one.ended_at) for one in made) for other in made)


def test_more_cells_than_cpus_wait_for_their_turn(cluster, sweep):
    folder = sweep(cluster)
    code, output = folder.finish("seed=0,1,2", "schedule.steps=20")
    assert code == 0, output
    made = [attempt for attempts in folder.attempts() for attempt in attempts]
    assert len(made) == 6
    assert overlapping(made) <= 2


def test_a_node_that_does_not_see_the_folder_gets_no_more_cells(sweep, tmp_path):
    hide = ["unshare", "--map-root-user", "--mount", "sh", "-c", f'mount -t tmpfs none "{tmp_path}" && exec "$@"', "sh"]
    if subprocess.run([*hide, "true"], check=False, capture_output=True).returncode:
        pytest.skip("mount namespaces are not allowed here")
    with RayCluster(cpus=1, inside=hide) as cluster:
        folder = sweep(cluster)
        code, output = folder.finish(*ONE_CELL)
        assert code == 2
        assert "No node of the Ray cluster can work on these cells" in output
        assert f"it must see {folder.cells[0]}/status.json at this path, on a shared file system" in output
        cluster.add_node(cpus=1)
        code, output = folder.finish("schedule.steps=20")
        assert code == 0, output


def test_nodes_without_slackoff_are_named(sweep, tmp_path):
    (tmp_path / "other/slackoff").mkdir(parents=True)
    (tmp_path / "other/slackoff/__init__.py").touch()
    with RayCluster(cpus=1, PYTHONPATH=f"{tmp_path}/other") as cluster:
        code, output = sweep(cluster).finish(*ONE_CELL)
    assert code == 2
    assert "The nodes of the Ray cluster lack slackoff" in output


def listens(port: int) -> bool:
    with socket.socket() as knock:
        return knock.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("hosts", ["", "elsewhere"])
def test_the_example_script_runs_a_sweep_and_ends_its_cluster(tmp_path, hosts):
    bin = tmp_path / "bin"
    bin.mkdir()
    (bin / "ssh").write_text('#!/bin/sh\necho "$2" >> ssh.txt\nexec sh -c "$3"\n')  # every host is this machine
    (bin / "ssh").chmod(0o755)
    script = Path(__file__).parents[2] / "sweeps/ray_cluster.sh"
    path = f"{bin}:{os.environ['PATH']}"
    port = free_port()
    own = {"PYTHON": sys.executable, "PORT": str(port), "HEAD": "127.0.0.1", "HOSTS": hosts, "PATH": path}
    command = [str(script), *SWEEP, "hydra.launcher.gpus_per_cell=0", "hydra.launcher.cpus_per_rank=2"]
    run = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, **own},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    assert SweepFolder(tmp_path, [], {}).outcomes() == [["done"], ["done"]]
    assert not list(tmp_path.glob(".ray_token*"))
    if hosts:
        assert (tmp_path / "ssh.txt").read_text() == "elsewhere\n"
        assert "Ray runtime started" in (tmp_path / "ray_elsewhere.log").read_text()
    wait_for(lambda: not listens(port), seconds=30)
