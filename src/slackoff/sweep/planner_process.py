"""What needs torch before training starts is done in a second process, so that the driver stays small all night."""

import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, ParamSpec, TypeVar

from slackoff.errors import SlackoffError

PRELOADED = "slackoff.config.checks"
"""What the second process imports at once: torch and what else takes long."""

P = ParamSpec("P")
T = TypeVar("T")


class PlannerProcess:
    """Calls functions in a second process, which keeps what it imported and cached until ``close``.

    A process that has imported torch already calls them itself: it would gain nothing. Use as a context manager.
    """

    def __init__(self) -> None:
        # No ProcessPoolExecutor: its process outlives a driver that is killed, and cannot be ended while it works.
        self._spawn = get_context("spawn")
        self._process: SpawnProcess | None = None
        self._connection: Connection

    def __call__(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """The function's value; function, arguments and value must be picklable.

        Raises:
            SlackoffError: the second process died.
            Exception: whatever the function raises.
        """
        self.start()
        if self._process is None:
            return function(*arguments, **named)
        try:
            self._connection.send((function, arguments, named))
            value, error = self._connection.recv()
        except (EOFError, OSError) as death:
            raise SlackoffError(
                "The process that checks the configs died, probably for want of memory: free some and try again"
            ) from death
        if error is not None:
            raise error
        return value  # type: ignore[no-any-return]

    def __enter__(self) -> "PlannerProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Let the second process begin to import, which takes seconds, while this one goes on."""
        if self._process is None and "torch" not in sys.modules:
            self._connection, theirs = self._spawn.Pipe()
            self._process = self._spawn.Process(target=_serve, args=(theirs, PRELOADED), daemon=True)
            self._process.start()
            theirs.close()

    def close(self) -> None:
        """Let the second process go, and its memory with it, whatever it is doing; the next call starts another one."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None


def _serve(connection: Connection, preloaded: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver, which ends this process
    import_module(preloaded)
    with suppress(EOFError, ConnectionError):  # the driver has gone
        while True:
            answer: tuple[Any, Exception | None]
            function, arguments, named = connection.recv()
            try:
                answer = (function(*arguments, **named), None)
            except Exception as error:
                error.add_note(traceback.format_exc())
                answer = (None, error)
            connection.send(answer)
