"""Files of the record, whole or not at all: written beside the target, flushed to disk, renamed."""

import errno
import json
import os
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

_OPENED_AT_MOST = 3


def read_text(path: Path) -> str:
    """Read a UTF-8 text file that others replace meanwhile.

    Over a network a file that was just replaced can answer once that its handle is stale: opened anew, it is there.

    Raises:
        OSError: it cannot be read.
    """
    for _ in range(_OPENED_AT_MOST - 1):
        try:
            return path.read_text(encoding="utf-8")
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
    return path.read_text(encoding="utf-8")


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then put it in place; a crash leaves the old file.

    Raises:
        OSError: from ``write`` or the disk; the temporary file is removed then.
    """
    partial = _partial(path)
    try:
        write(partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with suppress(OSError):  # on a read-only file system not even a file that is not there can be removed
            partial.unlink()
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole."""
    write_whole(path, lambda partial: partial.write_bytes(content))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file whole, indented, with a line break at its end."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole."""
    write_bytes(path, text.encode())


def remove_partials(folder: Path, kept: Collection[str] = ()) -> None:
    """Remove what killed processes left half written in a folder, but for files that others may be writing now.

    Args:
        folder: where to look; not in folders below it.
        kept: names of files whose halves are left alone.
    """
    for partial in folder.glob(".*.partial"):
        if partial.name[1:].rsplit(".", 2)[0] not in kept:
            partial.unlink(missing_ok=True)


def _partial(path: Path) -> Path:
    """A name beside a file that nobody else uses: processes of two machines can have the same number."""
    return path.with_name(f".{path.name}.{uuid4().hex}.partial")


def create_text(path: Path, text: str) -> None:
    """Make a UTF-8 text file whole, or fail because it is there; of many processes one succeeds, on a network too.

    Raises:
        FileExistsError: somebody else made it.
        OSError: it cannot be written.
    """
    partial = _partial(path)
    try:
        partial.write_bytes(text.encode())
        _link(partial, path)
    finally:
        with suppress(OSError):
            partial.unlink()


def _link(partial: Path, path: Path) -> None:
    """Give a file its name unless the name is taken."""
    try:
        os.link(partial, path)
    except FileExistsError:
        if not partial.samefile(path):  # over a network the answer to a link that was made can get lost
            raise
    except OSError:  # a file system without hard links: the file is there at once, its text a moment later
        with path.open("x", encoding="utf-8") as file:
            try:
                file.write(partial.read_text(encoding="utf-8"))
                file.flush()
            except OSError:  # an empty file would keep the name for nobody
                path.unlink(missing_ok=True)
                raise


def now() -> str:
    """The present moment, ISO 8601, UTC, to the second."""
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON-lines file; a line that a kill cut short is passed over."""
    rows = []
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError):
                rows.append(json.loads(line))
    return [row for row in rows if isinstance(row, dict) and "step" in row]
