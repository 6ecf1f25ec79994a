"""Cells as tasks of Ray: each an actor, so that a cell that runs can be asked to stop."""

import os
import secrets
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
from typing import Any

import psutil
import ray
from ray.exceptions import RayError

from slackoff.cell.launch import CellExit, LaunchOptions, start_cell_process
from slackoff.config import packages
from slackoff.errors import SlackoffError, one_line
from slackoff.record.ledger import Attempt, Owner, latest
from slackoff.sweep.backend import Backend, RunningCell, Slot, read_exit_code
from slackoff.sweep.plan import Cell

_ANSWER_S = 5.0
_OWN = ("max_restarts", "max_task_retries", "max_concurrency", "name", "lifetime", "get_if_exists")


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
            return CellExit.ELSEWHERE
        with self.lock:
            if self.asked:
                return CellExit.INTERRUPTED
            self.process = process = self._start(slot_name(self.order.token, place.host, place.gpus), place.gpus)
        return process.wait()

    def stop(self) -> None:
        """Let the cell write a checkpoint and end."""
        with self.lock:
            self.asked = True
            if self.process is not None:
                self.process.terminate()

    def kill(self) -> None:
        """End it with its helpers."""
        with self.lock, suppress(ProcessLookupError):
            self.asked = True
            if self.process is not None:
                os.killpg(self.process.pid, signal.SIGKILL)

    def _is_taken(self) -> bool:
        """Whether another task got the cell while this one waited; the cell's process would find it too, but later."""
        with suppress(OSError):
            newest = latest(self.order.folder)
            return newest is not None and newest.number > self.order.after
        return False

    def _start(self, slot: str, gpus: str) -> "subprocess.Popen[bytes]":
        this = Owner.this()  # Ray ends it with the driver, and the cell then ends too
        options = LaunchOptions(self.order.after, self.order.ranks, slot, time.monotonic(), (this.pid, this.started))
        environment = dict(self.order.environment)
        if not gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ""  # whatever the node has, none of it was asked for
        return start_cell_process(self.order.folder, options, environment, self.order.directory)


class RayCells(Backend):
    """Hands cells to Ray.

    Args:
        init: what ``ray.init`` takes.
        options: what ``ray.remote`` takes for the actor of a cell: ``num_cpus``, ``num_gpus`` and more.

    Raises:
        SlackoffError: no cluster there, a setting that Ray does not know, or no node that could take a cell.
    """

    def __init__(self, init: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        for key in _OWN:
            if key in options:
                raise SlackoffError(f"hydra.launcher.ray.remote.{key} cannot be set: leave it out")
        try:
            self.task = ray.remote(**options)(CellTask)
        except (ValueError, TypeError) as error:
            raise SlackoffError(f"hydra.launcher.ray.remote: {one_line(error)}") from error
        self.wanted = {"CPU": options.get("num_cpus", 0), "GPU": options.get("num_gpus", 0)}
        self.wanted |= options.get("resources") or {}
        self.label_selector: dict[str, str] = dict(options.get("label_selector") or {})
        self.blind: set[str] = set()
        _connect(init)
        if not self._able():
            what = ", ".join(f"{count:g} {name}" for name, count in self.wanted.items() if count)
            sentence = f"No node of the Ray cluster has {what}, which hydra.launcher asks for each cell"
            if any(child.name() == "raylet" for child in psutil.Process().children()):  # no node will ever join ours
                raise SlackoffError(f"{sentence}: lower cpus_per_rank, or gpus_per_cell (0: none)")
            print(f"{sentence}: the cells wait until such a node joins", file=sys.stderr)

    def start(self, cell: Cell, slot: Slot, after: int) -> "RayCell":
        # A node has an environment of its own; these variables of this process govern a cell.
        inherited = {key: value for key, value in os.environ.items() if key.startswith("WANDB_")}
        order = Order(
            token=secrets.token_hex(4),
            folder=cell.folder.absolute(),
            directory=Path.cwd(),
            environment={**inherited, **packages.environment(), **slot.environment},
            ranks=slot.ranks,
            after=after,
        )
        options: dict[str, Any] = {"name": f"cell {cell.id} {order.token}"}
        if self.blind:
            options["label_selector"] = {**self.label_selector, "ray.io/node-id": f"!in({','.join(self.blind)})"}
        actor = self.task.options(max_concurrency=2, max_restarts=0, **options).remote(order)
        return RayCell(cell, slot, order, actor, self)

    def leave_out(self, place: Place) -> None:
        """Send no more cells to a node that does not see the folders.

        Raises:
            SlackoffError: no other node is left.
        """
        if place.node in self.blind:
            return
        self.blind.add(place.node)
        cure = f"it must see {place.unseen} at this path, on a shared file system"
        if not self._able():
            raise SlackoffError(f"No node of the Ray cluster can work on these cells; {place.host} is one: {cure}")
        print(f"{place.host} gets no more cells: {cure}", file=sys.stderr)

    def _able(self) -> bool:
        """Whether a node of the cluster could take a cell if it had nothing else to do."""
        nodes = [node for node in ray.nodes() if node["Alive"] and node["NodeID"] not in self.blind]
        return any(all(node["Resources"].get(key, 0) >= self.wanted[key] for key in self.wanted) for node in nodes)


class RayCell(RunningCell):
    """A cell in Ray's queue, or on one of its nodes."""

    def __init__(self, cell: Cell, slot: Slot, order: Order, actor: Any, cells: RayCells) -> None:
        super().__init__(cell, slot, order.after)
        self.token, self.actor, self.cells = order.token, actor, cells
        self.placement = actor.place.remote().future()
        self.result = actor.run.remote().future()
        self.started: float | None = None

    def ended(self) -> bool:
        return self.result.done()

    def seconds(self) -> float:
        if self.started is None and self._place() is not None:
            self.started = time.monotonic()
        return 0.0 if self.started is None else time.monotonic() - self.started

    def kill(self) -> None:
        self._ask("kill")

    def _send_stop(self) -> None:
        self._ask("stop")

    def _ask(self, what: str) -> None:
        """Call a method of the actor; one that is still in line is taken out of it."""
        if self._place() is None:
            ray.kill(self.actor)
        else:
            getattr(self.actor, what).remote()

    def _place(self) -> Place | None:
        """Where it is; None while it stands in line."""
        return self.placement.result() if self.placement.done() and self.placement.exception() is None else None

    def _how_ended(self) -> CellExit | str:
        error, place = self.result.exception(), self._place()
        ray.kill(self.actor)  # its CPUs and GPUs are free from now on
        if place is not None and place.unseen is not None:
            self.cells.leave_out(place)
            return CellExit.ELSEWHERE
        if error is None:
            ending = read_exit_code(self.result.result())
            return ending if isinstance(ending, CellExit) or place is None else f"{ending}, {place.host}"
        if "No module named 'slackoff" in str(error):
            raise SlackoffError(
                "The nodes of the Ray cluster lack slackoff, or have another version of it: "
                "install the one of this machine in the Python that runs Ray there"
            )
        newest = latest(self.cell.folder)
        if self.asked and (newest.number if newest else 0) == self.after:
            return CellExit.INTERRUPTED  # it was taken out of the queue
        return f"Ray{', ' + place.host if place else ''}: {_reason(error)}"

    def _owns(self, attempt: Attempt) -> bool:
        return attempt.slot.startswith(slot_name(self.token))


def _connect(init: Mapping[str, Any]) -> None:
    """Connect to the cluster, or start one; Ctrl-C and SIGTERM stay with the driver, which Ray would take.

    Raises:
        SlackoffError: no cluster there, or a setting that Ray does not know.
    """
    if ray.is_initialized():
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        _check_listening(str(init.get("address") or os.environ.get("RAY_ADDRESS") or ""))
        ray.init(**init)
    except (OSError, ValueError, TypeError, RuntimeError, RayError) as error:
        raise SlackoffError(f"hydra.launcher.ray.init: {one_line(error)}") from error
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _check_listening(address: str) -> None:
    """Look whether anybody listens at HOST:PORT: Ray itself tries for many minutes.

    Raises:
        ConnectionError: nobody does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
    except OSError as error:
        raise ConnectionError(
            f"no Ray cluster answers at address={address} ({error.strerror or error}): "
            "start one with ray start --head, or leave address out"
        ) from error


def _reason(error: BaseException) -> str:
    """What Ray says of the end of an actor, without its advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = next((line for line in lines if "actor is dead because" in line), lines[-1] if lines else repr(error))
    return said.partition(" Some common causes")[0].removesuffix(".")
