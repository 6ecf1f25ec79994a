"""What a program prints must not end it: its output may go to the disk that is full."""

import sys
from contextlib import suppress
from typing import Any, TextIO


class EnduringOutput:
    """A text stream that loses what cannot be written, instead of raising."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def endure() -> None:
    """Let this process go on when its standard output or error cannot be written."""
    sys.stdout, sys.stderr = EnduringOutput(sys.stdout), EnduringOutput(sys.stderr)  # type: ignore[assignment]
