"""Cells as tasks of Ray: each an actor, so that a cell that runs can be asked to stop."""

import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.exceptions import RayError

from slackoff.errors import SlackoffError
from slackoff.handover import Exit
from slackoff.record.ledger import Attempt
from slackoff.sweep.plan import Cell
from slackoff.sweep.ray_task import CellTask, Order, Place, slot_name
from slackoff.sweep.running import Running, newest_number, read_code
from slackoff.sweep.slots import Slot
from slackoff.sweep.starter import Starter

_ANSWER_S = 5.0
_PASSED_ON = "WANDB_"
_OWN = ("max_restarts", "max_task_retries", "max_concurrency", "name", "lifetime", "get_if_exists")


class RayCells(Starter):
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
            raise SlackoffError(f"hydra.launcher.ray.remote: {_words(error)}") from error
        self.wanted = {"CPU": options.get("num_cpus", 0), "GPU": options.get("num_gpus", 0)}
        self.wanted |= options.get("resources") or {}
        self.label_selector: dict[str, str] = dict(options.get("label_selector") or {})
        self.blind: set[str] = set()
        _connect(init)
        if not self._able():
            what = ", ".join(f"{count:g} {name}" for name, count in self.wanted.items() if count)
            sentence = f"No node of the Ray cluster has {what}, which hydra.launcher asks for each cell"
            if _is_own():
                raise SlackoffError(f"{sentence}: lower cpus_per_rank, or gpus_per_cell (0: none)")
            print(f"{sentence}: the cells wait until such a node joins", file=sys.stderr)

    def start(self, cell: Cell, slot: Slot, after: int | None = None) -> "RayCell":
        """Put a cell in Ray's queue; ``after`` as in ``Starter``."""
        order = Order(
            token=secrets.token_hex(4),
            folder=cell.folder.absolute(),
            directory=Path.cwd(),
            environment={**_passed_on(), **slot.environment},
            ranks=slot.ranks,
            after=newest_number(cell) if after is None else after,
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


class RayCell(Running):
    """A cell in Ray's queue, or on one of its nodes."""

    def __init__(self, cell: Cell, slot: Slot, order: Order, actor: Any, cells: RayCells) -> None:
        super().__init__(cell, slot, order.after)
        self.token, self.actor, self.cells = order.token, actor, cells
        self.placed = actor.place.remote().future()
        self.result = actor.run.remote().future()
        self.started: float | None = None

    def ended(self) -> bool:
        return self.result.done()

    def seconds(self) -> float:
        if self.started is None and self._place() is not None:
            self.started = time.monotonic()
        return 0.0 if self.started is None else time.monotonic() - self.started

    def end_now(self) -> None:
        self._ask("end_now")

    def _stop(self) -> None:
        self._ask("stop")

    def _ask(self, what: str) -> None:
        """Call a method of the actor; one that is still in line is taken out of it."""
        if self._place() is None:
            ray.kill(self.actor)
        else:
            getattr(self.actor, what).remote()

    def _place(self) -> Place | None:
        """Where it is; None while it stands in line."""
        return self.placed.result() if self.placed.done() and self.placed.exception() is None else None

    def _ending(self) -> Exit | str:
        error, place = self.result.exception(), self._place()
        ray.kill(self.actor)  # its CPUs and GPUs are free from now on
        if place is not None and place.unseen is not None:
            self.cells.leave_out(place)
            return Exit.ELSEWHERE
        if error is None:
            ending = read_code(self.result.result())
            return ending if isinstance(ending, Exit) or place is None else f"{ending}, {place.host}"
        if "No module named 'slackoff" in str(error):
            raise SlackoffError(
                "The nodes of the Ray cluster lack slackoff, or have another version of it: "
                "install the one of this machine in the Python that runs Ray there"
            )
        if self.asked and newest_number(self.cell) == self.after:
            return Exit.INTERRUPTED  # it was taken out of the queue
        return f"Ray{', ' + place.host if place else ''}: {_reason(error)}"

    def _made(self, attempt: Attempt) -> bool:
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
        _knock(str(init.get("address") or os.environ.get("RAY_ADDRESS") or ""))
        ray.init(**init)
    except (OSError, ValueError, TypeError, RuntimeError, RayError) as error:
        raise SlackoffError(f"hydra.launcher.ray.init: {_words(error)}") from error
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _is_own() -> bool:
    """Whether the cluster was made by this process, so that no node will ever join it."""
    return any(child.name() == "raylet" for child in psutil.Process().children())


def _knock(address: str) -> None:
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


def _passed_on() -> dict[str, str]:
    """Variables of this process that govern a cell; a node has an environment of its own."""
    return {key: value for key, value in os.environ.items() if key.startswith(_PASSED_ON)}


def _words(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _reason(error: BaseException) -> str:
    """What Ray says of the end of an actor, without its advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = next((line for line in lines if "actor is dead because" in line), lines[-1] if lines else repr(error))
    return said.partition(" Some common causes")[0].removesuffix(".")
