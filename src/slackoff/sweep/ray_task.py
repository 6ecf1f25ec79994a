"""What a task of Ray runs: the process of one cell. Light, for a worker of Ray imports it before anything else."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import ray

from slackoff.handover import Exit, Handover
from slackoff.record.ledger import latest
from slackoff.record.owner import Owner


@dataclass(frozen=True)
class Order:
    """What is to be run.

    Args:
        token: names the task in the ledger; no other task has it.
        folder: the cell's folder, with its whole path.
        directory: where the command was given, which relative paths in the cell's config start from.
        environment: set for the cell's process.
        ranks: processes that are to train the cell together.
        after: number of the attempt on the cell that is known to be over; 0 if there was none.
    """

    token: str
    folder: Path
    directory: Path
    environment: Mapping[str, str]
    ranks: int
    after: int


@dataclass(frozen=True)
class Place:
    """Where a task is: number and name of the node, its GPUs, and the folder that the node does not see, if any."""

    node: str
    host: str
    gpus: str
    unseen: Path | None


def slot_name(token: str, host: str = "", gpus: str = "") -> str:
    """How the ledger names the place of a task; as far as the token, what no other task's name begins with."""
    return f"ray {token} {host}" + (f" gpu {gpus}" if gpus else "")


def _is_missing(path: Path) -> bool:
    """Whether a path is not there; one that cannot be looked at for the moment may be."""
    with suppress(OSError):
        return not path.exists()
    return False


class CellTask:
    """A cell as an actor of Ray: ``run`` takes one of its two threads, what is asked of it meanwhile the other."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.process: subprocess.Popen[bytes] | None = None
        self.asked = False
        self.lock = threading.Lock()

    def place(self) -> Place:
        """Where it is; answered as soon as its turn has come."""
        needed = (self.order.folder / "status.json", self.order.directory)
        unseen = next((path for path in needed if _is_missing(path)), None)
        gpus = ",".join(str(number) for number in ray.get_gpu_ids())
        return Place(ray.get_runtime_context().get_node_id(), socket.gethostname(), gpus, unseen)

    def run(self) -> int:
        """Run the cell's process to its end; its exit code."""
        place = self.place()
        if place.unseen is not None or self._is_taken():
            return Exit.ELSEWHERE
        with self.lock:
            if self.asked:
                return Exit.INTERRUPTED
            self.process = process = self._start(slot_name(self.order.token, place.host, place.gpus), place.gpus)
        return process.wait()

    def stop(self) -> None:
        """Let the cell write a checkpoint and end."""
        with self.lock:
            self.asked = True
            if self.process is not None:
                self.process.terminate()

    def end_now(self) -> None:
        """End it with its helpers."""
        with self.lock:
            self.asked = True
            if self.process is not None:
                with suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)

    def _is_taken(self) -> bool:
        """Whether another task got the cell while this one waited; the cell's process would find it too, but later."""
        with suppress(OSError):
            newest = latest(self.order.folder)
            return newest is not None and newest.number > self.order.after
        return False

    def _start(self, slot: str, gpus: str) -> "subprocess.Popen[bytes]":
        this = Owner.this()  # Ray ends it with the driver, and the cell then ends too
        handover = Handover(self.order.after, self.order.ranks, slot, time.monotonic(), (this.pid, this.started))
        environment = {**os.environ, **self.order.environment, **handover.as_environment()}
        if not gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ""  # whatever the node has, none of it was asked for
        with (self.order.folder / "log.txt").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "slackoff.cell", str(self.order.folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.order.directory,
                env=environment,
                start_new_session=True,
            )
