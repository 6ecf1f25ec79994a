"""A real Slurm of one node on this machine, for the tests: munged, slurmctld and slurmd, all files in one folder."""

import os
import pwd
import shutil
import socket
import subprocess
import time
from pathlib import Path

import psutil
from sweep_folder import free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue")
CONFIG = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort={port}
SlurmdPort={node_port}
ProctrackType=proctrack/pgid
TaskPlugin=task/affinity
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,requeue_delay=0
ReturnToService=2
JobRequeue=1
KillWait=30
SlurmdTimeout=10
OverTimeLimit=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} Boards=1 SocketsPerBoard=1 CoresPerSocket={cores} ThreadsPerCore=1
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=shared Nodes=ALL OverSubscribe=FORCE:2 MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """The programs of Slurm that this machine lacks."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


class SlurmCluster:
    """Runs while the context is entered; ``environment`` is what its commands need."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        self.environment["PATH"] += ":/usr/sbin:/sbin"
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "SlurmCluster":
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True)
        self._start_munge()
        user = pwd.getpwuid(os.getuid()).pw_name
        values = {"host": socket.gethostname().split(".")[0], "user": user, "folder": self.folder}
        ports = {"port": free_port(), "node_port": free_port(), "cores": os.cpu_count()}
        (self.folder / "slurm.conf").write_text(CONFIG.format(**values, **ports))
        self._start("slurmctld", "-D", "-c")
        self._start("slurmd", "-D")
        self._wait_until("idle", lambda: "idle" in self.run("sinfo", "-h", "-o", "%T"))
        return self

    def __exit__(self, *error: object) -> None:
        for name in ("slurmd", "slurmctld", "munged"):
            self._end(name)

    def states(self, *numbers: str) -> list[str]:
        """State of each of these jobs; of all that are in line or running without any number."""
        given = ["-t", "all", "-j", ",".join(numbers)] if numbers else []
        return self.run("squeue", "-h", *given, "-o", "%T").split()

    def run(self, *command: str) -> str:
        """What one of Slurm's commands prints.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True).stdout

    def lose_power(self) -> None:
        """Let the node die with all that runs on it, without a word to the controller."""
        slurmd = self.daemons.pop("slurmd")
        tasks = [process for process in psutil.process_iter() if self._is_of_a_job(process)]
        parents = {parent for process in tasks if (parent := process.parent()) and parent.name() == "slurmstepd"}
        dying = [psutil.Process(slurmd.pid), *parents, *tasks]
        for process in dying:
            process.suspend()  # none may see another one die, and report it
        for process in dying:
            process.kill()
        slurmd.wait()

    def power_on(self) -> None:
        """Let the node come up again."""
        self._start("slurmd", "-D")

    def stop_controller(self) -> None:
        """Let nobody answer squeue and sbatch; jobs run on."""
        self._end("slurmctld")

    def start_controller(self) -> None:
        """Let the controller go on with the jobs that it knew."""
        self._start("slurmctld", "-D")

    def _is_of_a_job(self, process: psutil.Process) -> bool:
        try:
            environment = process.environ()
        except psutil.Error:
            return False
        return "SLURM_JOB_ID" in environment and environment.get("SLURM_CONF") == self.environment["SLURM_CONF"]

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        self.folder.chmod(0o755)
        files = {"key-file": key} | {f"{name}-file": self.folder / f"munge.{name}" for name in ("pid", "log", "seed")}
        options = [f"--{name}={path}" for name, path in files.items()]
        socket_path = self.folder / "munge.socket"
        self._start("munged", "--foreground", "--force", f"--socket={socket_path}", *options)
        self._wait_until("a socket", socket_path.exists)

    def _start(self, program: str, *options: str) -> None:
        with (self.folder / f"{program}.out").open("ab") as log:
            command = [shutil.which(program, path=self.environment["PATH"]) or program, *options]
            self.daemons[program] = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)

    def _end(self, program: str) -> None:
        daemon = self.daemons.pop(program, None)
        if daemon is not None:
            daemon.terminate()
            daemon.wait(timeout=60)

    def _wait_until(self, what: str, happened, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not happened():
            if time.monotonic() > deadline:
                logs = "\n".join(f"{path}:\n{path.read_text()[-1500:]}" for path in self.folder.glob("*.[lo][ou][gt]"))
                raise TimeoutError(f"Slurm did not come up ({what}):\n{logs}")
            time.sleep(0.2)
