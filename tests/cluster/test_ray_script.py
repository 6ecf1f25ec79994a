"""The example ``sweeps/ray_cluster.sh``, on this machine and as if on another. ``make test-cluster``."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ray_cluster import INSTALLED, free_port
from sweep_folder import SWEEP, SweepFolder, wait_for

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not INSTALLED, reason="Ray is not installed: .venv/bin/pip install -e '.[ray]'"),
]


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
