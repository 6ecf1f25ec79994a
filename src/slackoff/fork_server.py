"""A process that has imported all that a cell needs and forks the cells: each starts in a moment.

Run as ``python -m slackoff.fork_server`` by a driver, in the environment of the cells. Orders come as JSON lines:
``{"order": 1, "folder": ..., "handover": ...}`` starts a cell, ``{"order": 1, "signal": 15}`` sends it a signal.
Answers go out as JSON lines: ``{"order": 1, "pid": ...}``, then ``{"order": 1, "code": ...}`` with the exit code, or
minus the signal that ended it. At the end of the orders the server goes; its cells go on.
"""

import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import PIL.Image

from slackoff.cell import main
from slackoff.handover import Handover
from slackoff.leave import leave
from slackoff.output import endure

LOG = "log.txt"
_MODULES = (
    "slackoff.training",
    "pyarrow.parquet",
    "wandb.sdk.wandb_init",
    "wandb.sdk.launch",
    "wandb.sdk.launch.inputs.internal",
)
_ROOMS = ("images", "evaluation", "losses", "networks", "rain", "tasks")


class Work(NamedTuple):
    """What a forked process is to do."""

    folder: Path
    handover: Handover


class ForkServer:
    """Reads orders from one file descriptor and answers on another."""

    def __init__(self, orders: int, answers: int) -> None:
        self.orders, self.answers = orders, answers
        self.unread = b""
        self.running: dict[int, int] = {}  # order by process number
        self.wake, self.waker = os.pipe()

    def serve(self) -> Work | None:
        """Obey until the orders end: None. In a forked process: its work."""
        for end in (self.wake, self.waker):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.waker)
        selector = selectors.DefaultSelector()
        for end in (self.orders, self.wake):
            selector.register(end, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if self.wake in ready:
                os.read(self.wake, 4096)
                self._reap()
            if self.orders in ready:
                chunk = os.read(self.orders, 65536)
                if not chunk:
                    return None
                *lines, self.unread = (self.unread + chunk).split(b"\n")
                for line in lines:
                    work = self._obey(json.loads(line))
                    if work is not None:
                        selector.close()
                        return work

    def _obey(self, order: dict[str, Any]) -> Work | None:
        """Do what an order says; in a process that it forks, return that one's work."""
        number = int(order["order"])
        if "signal" in order:
            for pid in (pid for pid, known in self.running.items() if known == number):
                os.killpg(pid, order["signal"]) if order["signal"] == signal.SIGKILL else os.kill(pid, order["signal"])
            return None
        with warnings.catch_warnings():
            # Python 3.12 warns of other threads; those of OpenBLAS and jemalloc know how to be forked.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            folder = Path(order["folder"])
            self._become_a_process_of_its_own(folder / LOG)
            own_media_folder()
            return Work(folder, Handover.of(order["handover"]))
        self.running[pid] = number
        self._answer(order=number, pid=pid)
        return None

    def _become_a_process_of_its_own(self, log: Path) -> None:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError:  # the record cannot be written; the cell finds that out and ends with the exit code for it
            out = os.open(os.devnull, os.O_WRONLY)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (out, 1), (out, 2)):
            os.dup2(source, target)
        for end in (self.orders, self.answers, self.wake, self.waker, out, nothing):
            os.close(end)

    def _reap(self) -> None:
        """Tell of the cells that have ended."""
        for pid, number in list(self.running.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self.running[pid]
                self._answer(order=number, code=os.waitstatus_to_exitcode(status))

    def _answer(self, **content: int) -> None:
        try:
            os.write(self.answers, json.dumps(content).encode() + b"\n")
        except BrokenPipeError:
            return  # the driver is gone; so is this server, at the end of the orders


def own_media_folder() -> None:
    """Give this process a folder for what W&B is about to upload.

    W&B makes one when it is imported and removes it when a process ends: the first forked cell to end would take it
    away from all others. It has no setting for that, so the object that names the folder is made anew.
    """
    with suppress(ImportError, AttributeError):  # another version of W&B; a cell goes on without its pictures
        media = importlib.import_module("wandb.sdk.data_types._private").MEDIA_TMP
        media._finalizer.detach()
        media.__init__("wandb-media")


def _import_what_cells_import() -> None:
    """Import all that a cell imports in its life. Nothing is computed: threads of torch would not survive a fork."""
    for name in _MODULES:
        importlib.import_module(name)
    for room in _ROOMS:
        for module in pkgutil.walk_packages(importlib.import_module(f"slackoff.{room}").__path__, f"slackoff.{room}."):
            importlib.import_module(module.name)
    PIL.Image.init()


if __name__ == "__main__":
    endure()
    _import_what_cells_import()
    server = ForkServer(os.dup(0), os.dup(1))
    os.dup2(2, 1)  # what a library prints must not get between the answers
    gc.collect()
    gc.freeze()  # what the cells share with the server is never written to
    work = server.serve()
    leave(0 if work is None else main(*work))
