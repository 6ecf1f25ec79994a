"""Files of the record, whole or not at all: written beside the target, flushed to disk, renamed."""

import errno
import json
import os
import time
import zlib
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar
from uuid import uuid4

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from slackoff.errors import SlackoffError, is_temporary

Natural = Annotated[int, Field(ge=0, lt=2**63)]
"""A whole number in a file, from 0 up, that every library can hold."""
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""A duration in a file."""


def _checked_moment(text: str) -> str:
    datetime.fromisoformat(text)
    return text


Moment = Annotated[str, AfterValidator(_checked_moment)]
"""A time in a file, as ``now`` writes it."""

Kind = TypeVar("Kind")
Answer = TypeVar("Answer")

_OPENED_AT_MOST = 3
_AGAIN_S = 0.5
_ABANDONED_S = 3600.0
_LONGEST_NAME = 200  # bytes; file systems take 255


class DamagedFileError(SlackoffError):
    """A file of the record that is not what it should be; the sentence names it and its key, and has no cure yet."""


def read_json(path: Path, kind: type[Kind]) -> Kind:
    """Read a JSON file of the record whose keys have the names and types of ``kind``; keys beyond these are left out.

    Args:
        path: the file, which others may replace meanwhile.
        kind: a dataclass or another type that pydantic can check.

    Raises:
        DamagedFileError: it is no JSON, or a key is missing or of another type.
        OSError: it cannot be read.
    """
    return parse_json(read_bytes(path), kind, path)


def parse_json(content: bytes, kind: type[Kind], place: Path | str) -> Kind:
    """As ``read_json``, for what was read from a place that sentences name.

    Raises:
        DamagedFileError: as there.
    """
    try:
        found: Kind = _adapter(kind).validate_json(content, strict=True)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        key = ".".join(map(str, first["loc"]))
        why = f"{key}: {first['msg']}" if key else first["msg"]
        raise DamagedFileError(f"{place} is damaged ({why})") from error
    return found


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def read_bytes(path: Path) -> bytes:
    """Read a file that others replace meanwhile.

    Over a network a file that was just replaced can answer once that its handle is stale: opened anew, it is there.

    Raises:
        OSError: it cannot be read.
    """
    for _ in range(_OPENED_AT_MOST - 1):
        try:
            return path.read_bytes()
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
    return path.read_bytes()


class Patience:
    """Asks a file system again for what it does not give at once, as network file systems do that fail for a moment.

    Args:
        seconds: of waiting in all, however much is asked for: a folder that is nobody's to read does not stop a command
            for each of its files.
    """

    def __init__(self, seconds: float = 10.0) -> None:
        self.seconds = seconds

    def __call__(self, question: Callable[[], Answer]) -> Answer:
        """What the question gives.

        Raises:
            OSError: it still cannot be told, or what is asked for is not there.
        """
        while True:
            try:
                return question()
            except OSError as error:
                lasts = isinstance(error, FileNotFoundError | NotADirectoryError) or error.errno is None
                if lasts or not is_temporary(error) or self.seconds <= 0:
                    raise
            time.sleep(_AGAIN_S)
            self.seconds -= _AGAIN_S


def folder_name(*parts: object, digest: str) -> str:
    """The name of a study's folder: what it is in words, each once, then a digest of what it is made of."""
    words = "-".join(dict.fromkeys(map(str, parts))).replace("/", "-").replace("\0", "-")
    return f"{words.encode()[:_LONGEST_NAME].decode(errors='ignore')}-{digest}"


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
    except BaseException as error:
        if isinstance(error, OSError) and error.filename in (partial, str(partial)):
            error.filename = str(path)  # what a person knows
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


def refuse_links_out(folder: Path) -> None:
    """Nothing where all that is written into a folder stays in it.

    Raises:
        SlackoffError: a link in it leads elsewhere: in a record of somebody else it could lead to any file of ours.
    """
    whole = folder.resolve()
    for place, folders, files in os.walk(folder):
        for path in (Path(place, name) for name in (*folders, *files)):
            if path.is_symlink() and not path.resolve().is_relative_to(whole):
                raise SlackoffError(f"{path} is a link that leads out of {folder}: remove it, then run this again")


def remove_partials(folder: Path, kept: Collection[str] = ()) -> None:
    """Remove what killed processes left half written in a folder, but for files that others may be writing now.

    Args:
        folder: where to look; not in folders below it.
        kept: names of files whose halves are left alone until they are an hour old.
    """
    marks = {_mark(name) for name in kept}
    for partial in folder.glob(".*.partial"):
        with suppress(FileNotFoundError):
            if partial.name[1:].partition(".")[0] not in marks or time.time() - partial.stat().st_mtime > _ABANDONED_S:
                partial.unlink()


def _partial(path: Path) -> Path:
    """A name beside a file that nobody else uses: processes of two machines can have the same number.

    The file's own name may be as long as a name can be, so it is not part of this one.
    """
    return path.with_name(f".{_mark(path.name)}.{uuid4().hex}.partial")


def _mark(name: str) -> str:
    return f"{zlib.crc32(os.fsencode(name)):08x}"


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
            with suppress(ValueError, RecursionError):
                rows.append(json.loads(line))
    return [row for row in rows if isinstance(row, dict) and "step" in row]
