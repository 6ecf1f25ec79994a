"""A real Ray on this machine, for the tests: a head and more nodes as processes, all files in one folder."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from sweep_folder import free_port

INSTALLED = find_spec("ray") is not None
_QUIET = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}  # else Ray leaves a token in the user's home


class RayCluster:
    """Runs while the context is entered.

    Args:
        cpus, gpus: that the head says it has; Ray believes it.
        inside: a command that is to run the head's command.
        variables: of the head's environment.
    """

    def __init__(self, cpus: int, gpus: int = 0, inside: Sequence[str] = (), **variables: str) -> None:
        self.cpus, self.gpus, self.inside, self.variables = cpus, gpus, list(inside), variables
        self.environment = {**os.environ, **_QUIET, "COLUMNS": "200"}
        self.folder = Path(tempfile.mkdtemp(prefix="ray"))  # a short path: sockets lie in it
        self.address = f"127.0.0.1:{free_port()}"
        self.nodes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "RayCluster":
        port = self.address.rpartition(":")[2]
        options = ["--head", f"--port={port}", f"--num-gpus={self.gpus}", f"--temp-dir={self.folder}"]
        self._start([*options, "--include-dashboard=false"], self.cpus, self.inside, self.variables)
        return self

    def __exit__(self, *error: object) -> None:
        for node in reversed(self.nodes):
            self.kill(node)
        shutil.rmtree(self.folder, ignore_errors=True)

    def add_node(self, cpus: int) -> subprocess.Popen[bytes]:
        """One more node, of this machine."""
        return self._start([f"--address={self.address}", "--num-gpus=0"], cpus)

    def kill(self, node: subprocess.Popen[bytes]) -> None:
        """Let a node die without a word; the system ends all of its processes with it."""
        node.kill()
        node.wait()

    def _start(
        self, options: Sequence[str], cpus: int, inside: Sequence[str] = (), variables: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        command = [*inside, sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
        environment = {**self.environment, **(variables or {})}
        log = self.folder / f"start{len(self.nodes)}.log"
        with log.open("wb") as file:
            node = subprocess.Popen(
                [*command, f"--num-cpus={cpus}", *options],
                env=environment,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self.nodes.append(node)
        deadline = time.monotonic() + 120
        while "Ray runtime started" not in log.read_text():
            if node.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(f"Ray did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.2)
        return node
