"""What needs torch before training starts is done aside, so that the driver of a sweep stays small all night.

``python -m slackoff.sweep.aside`` is the process in which it is done.
"""

import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import BinaryIO, ParamSpec, TypeVar

from slackoff.errors import SlackoffError

P = ParamSpec("P")
T = TypeVar("T")


class Aside:
    """Calls functions in a second process, which keeps what it imported and cached until ``close``.

    A process that has imported torch already calls them itself: it would gain nothing. Use as a context manager.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """The function's value; function, arguments and value must be picklable.

        Raises:
            SlackoffError: as the function raises it, or the second process died.
            RuntimeError: the function raised anything else; with its traceback.
        """
        if self._process is None and "torch" in sys.modules:
            return function(*arguments, **named)
        process = self._process = self._process or _start()
        assert process.stdin
        assert process.stdout
        try:
            pickle.dump((function, arguments, named), process.stdin)
            process.stdin.flush()
            value, error = pickle.load(process.stdout)
        except (EOFError, OSError) as failure:
            raise SlackoffError(
                "The process that checks the configs died, probably for want of memory: free some and try again"
            ) from failure
        if error is not None:
            raise error
        return value  # type: ignore[no-any-return]

    def __enter__(self) -> "Aside":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the second process go, and its memory with it; the next call starts another one."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _serve(calls: BinaryIO, answers: BinaryIO) -> None:
    while True:
        try:
            function, arguments, named = pickle.load(calls)
        except EOFError:
            return
        value: object = None
        error: Exception | None = None
        try:
            value = function(*arguments, **named)
        except SlackoffError as refusal:
            error = refusal
        except Exception:
            error = RuntimeError(traceback.format_exc())
        pickle.dump((value, error), answers)
        answers.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver, which ends this process
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not get between the answers
    _serve(sys.stdin.buffer, answers)
