"""Records as one file: a zip whose manifest has a digest of each file of the record, and how one from anybody is read.

Members have the names that files have under a folder of records, ``cells/ID/...`` and ``studies/NAME/...``; files of
the same bytes (the pictures of a test image that all cells share) are stored once. A few more hold what was drawn from
the rows: ``studies/NAME/tables/*.csv``, ``claims.json`` and ``numbers.tex``; ``rows.json`` has a digest for each row.
"""

import hashlib
import io
import json
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Annotated, Any, Literal

import pyarrow as pa
from pydantic import Field

from slackoff import __version__
from slackoff.errors import SlackoffError, one_line
from slackoff.record.files import DamagedFileError, Natural, parse_json, write_whole

FORMAT: Literal["slackoff record"] = "slackoff record"
VERSION = 1
"""Of the file. It rises when a reader of the version before would misread it."""

MANIFEST, ROWS = "manifest.json", "rows.json"
FURTHER = ("teacher", "ema", "best")
"""What a cell may leave beside its network: the moving average that taught it, a moving average of its weights, its
best checkpoint on the validation pairs. Each has NAME.safetensors, images_NAME.parquet, measures final/NAME/..."""
WEIGHTS = ("network.safetensors", *(f"{name}.safetensors" for name in FURTHER))
CHECKPOINT = "checkpoints/last.ckpt"
OF_ROWS = ("images.parquet", *(f"images_{name}.parquet" for name in FURTHER))
OF_DONE = ("steps.parquet", *OF_ROWS)
OF_ANY = ("config.yaml", "identity.json", "environment.json")
DRAWN = (".csv", "claims.json", "numbers.tex")
"""Ends of names of what is drawn from the rows of a study: it travels to be checked, not to be used."""
MEASURED = ("complexity.parquet", "runtime.parquet")

_CELL_FILES = (*OF_ANY, "status.json", "steps.jsonl", *OF_DONE, *WEIGHTS, CHECKPOINT)
_NAME = r"[^\W_][^/\\\x00-\x1f]{0,199}"
_PICTURES = f"rainy|background|output(_({'|'.join(FURTHER)}))?"
_STUDY_FILES = rf"study\.json|(network_costs/)?({'|'.join(MEASURED)})|network_costs/study\.json"
_PATHS = re.compile(
    rf"{re.escape(ROWS)}"
    rf"|cells/\w[\w-]{{0,99}}/({'|'.join(map(re.escape, _CELL_FILES))})"
    rf"|cells/\w[\w-]{{0,99}}/pictures(/[a-z0-9-][a-z0-9 _.-]{{0,99}}){{2}}/({_PICTURES})\.png"
    rf"|studies/{_NAME}/({_STUDY_FILES}|tables/[a-z_]+\.csv|claims\.json|numbers\.tex)"
)
"""All names that a member can have: none of them leads out of a folder, is hidden, or is run by anything."""

_MOST_SHRUNK = 100
_HARMLESS_BYTES = 64 * 1024**2
_CHUNK = 1 << 20
_DATE = (1980, 1, 1, 0, 0, 0)

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Source = Path | bytes
"""What a member is written from."""


@dataclass(frozen=True)
class Member:
    """A file of the record: its digest, its size, and the member that has its bytes where that is not its own."""

    sha256: Sha256
    bytes: Natural
    same_as: str | None = None


@dataclass(frozen=True)
class Manifest:
    """The file manifest.json. ``slackoff`` is the version that wrote it."""

    format: Literal["slackoff record"]
    version: Natural
    slackoff: str
    studies: list[str]
    files: dict[str, Member]


@dataclass(frozen=True)
class _Version:
    format: Literal["slackoff record"]
    version: Natural


def write_archive(path: Path, files: Mapping[str, Source], studies: list[str]) -> None:
    """Write a record as one file, whole or not at all; the same files give the same bytes.

    Args:
        path: the file to write.
        files: by their names in it, which are those that ``Archive`` reads.
        studies: names of the studies.

    Raises:
        SlackoffError: a name that no member can have.
        OSError: a file cannot be read, or this one not be written.
    """
    if strange := next((name for name in files if not _PATHS.fullmatch(name)), None):
        raise SlackoffError(f"{strange} cannot be packed: rename the study so that its name begins with a letter")

    def write(partial: Path) -> None:
        members: dict[str, Member] = {}
        first: dict[str, str] = {}
        with zipfile.ZipFile(partial, "w") as archive:
            for name in sorted(files):
                with _opened(files[name]) as source:
                    digest, size = _digest_of(source)
                    members[name] = Member(digest, size, first.get(digest))
                    if first.setdefault(digest, name) == name:
                        source.seek(0)
                        _add(archive, name, source, size)
            content = asdict(Manifest(FORMAT, VERSION, __version__, studies, members))
            text = (json.dumps(content, indent=1) + "\n").encode()
            with _opened(text) as source:
                _add(archive, MANIFEST, source, len(text))

    write_whole(path, write)


@contextmanager
def _opened(source: Source) -> Iterator[IO[bytes]]:
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        yield file


def _digest_of(file: IO[bytes]) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest(), size


def _add(archive: zipfile.ZipFile, name: str, source: IO[bytes], size: int) -> None:
    """Add a member, which has no date and no owner; of a file that grows meanwhile as much as was looked at."""
    info = zipfile.ZipInfo(name, _DATE)
    info.create_system, info.external_attr, info.file_size = 3, (stat.S_IFREG | 0o644) << 16, size
    info.compress_type = zipfile.ZIP_STORED if name.endswith(".png") else zipfile.ZIP_DEFLATED
    with archive.open(info, "w") as member:
        left = size
        while left and (chunk := source.read(min(_CHUNK, left))):
            member.write(chunk)
            left -= len(chunk)


class Archive:
    """A record in one file that may come from anybody; use as a context manager.

    Nothing is read of a member before all of them are known to have names that a record has, to be files, and to take
    no more room than they look like.

    Args:
        path: the file.

    Raises:
        SlackoffError: it is none that slackoff wrote, or is damaged, or a newer slackoff wrote it.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise SlackoffError(f"There is no file {path}: give one that slackoff pack wrote")
        self._size = path.stat().st_size
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
            raise SlackoffError(
                f"{path} is no record that slackoff pack wrote, or it is damaged ({one_line(error, 120)}): get it again"
            ) from error
        try:
            self._infos = self._checked_members()
            self.manifest = self._checked_manifest()
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    @property
    def cells(self) -> list[str]:
        """Ids of the cells."""
        return sorted({name.split("/")[1] for name in self.manifest.files if name.startswith("cells/")})

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest, which has a digest of everything else: what names this very record."""
        return hashlib.sha256(self._bytes(MANIFEST)).hexdigest()

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return name in self.manifest.files

    def read(self, name: str) -> bytes:
        """The bytes of a file, whatever the manifest says of them.

        Raises:
            SlackoffError: there is none, or it is damaged.
        """
        if name not in self.manifest.files:
            raise SlackoffError(f"{self.path} lacks {name}: get the file again")
        return self._bytes(self.manifest.files[name].same_as or name)

    def extract(self, folder: Path, without: tuple[str, ...] = ()) -> list[str]:
        """Write the files into a folder under their names.

        Args:
            folder: where nothing is yet.
            without: ends of names that are left out.

        Returns:
            The names of files that have other bytes than the manifest says.

        Raises:
            SlackoffError: a member is damaged.
            OSError: a file cannot be written.
        """
        changed = []
        for name, member in self.manifest.files.items():
            if name.endswith(without):
                continue
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256()
            with path.open("xb") as file:
                for chunk in self._chunks(member.same_as or name):
                    digest.update(chunk)
                    file.write(chunk)
            if digest.hexdigest() != member.sha256:
                changed.append(name)
        return changed

    def _bytes(self, name: str) -> bytes:
        return b"".join(self._chunks(name))

    def _chunks(self, name: str) -> Iterator[bytes]:
        try:
            with self._zip.open(self._infos[name]) as member:
                while chunk := member.read(_CHUNK):
                    yield chunk
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
            raise self._damaged(f"{name}: {one_line(error, 120)}") from error

    def _damaged(self, why: str) -> SlackoffError:
        return SlackoffError(f"{self.path} is damaged ({why}): get the file again")

    def _checked_members(self) -> dict[str, zipfile.ZipInfo]:
        infos = self._zip.infolist()
        for info in infos:
            if info.filename != MANIFEST and not _PATHS.fullmatch(info.filename):
                raise self._refused(f"{info.filename!r} is no file of a record")
            if info.is_dir() or stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
                raise self._refused(f"{info.filename} is no plain file")
            if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise self._refused(f"{info.filename} is encrypted or compressed in a way that is not used")
        found = {info.filename: info for info in infos}
        if len(found) < len(infos) or sum(info.compress_size for info in infos) > self._size:
            raise self._refused("members overlap or stand in it twice")
        self._refuse_bomb(sum(info.file_size for info in infos))
        return found

    def _checked_manifest(self) -> Manifest:
        if MANIFEST not in self._infos:
            raise SlackoffError(f"{self.path} is a zip, but no record that slackoff pack wrote: it has no {MANIFEST}")
        content, place = self._bytes(MANIFEST), f"{MANIFEST} of {self.path}"
        try:
            version = parse_json(content, _Version, place).version
            if version > VERSION:
                raise SlackoffError(
                    f"{self.path} is of version {version}, and this slackoff knows versions up to {VERSION}: update "
                    "slackoff"
                )
            manifest: Manifest = parse_json(content, Manifest, place)
        except DamagedFileError as error:
            raise SlackoffError(f"{error}: get the file again") from error
        stored = {name for name, member in manifest.files.items() if member.same_as is None}
        if lacking := sorted((stored ^ self._infos.keys()) - {MANIFEST}):
            raise self._damaged(f"{lacking[0]} stands in the zip or in its manifest alone")
        for name, member in manifest.files.items():
            first = manifest.files.get(member.same_as or name)
            if not _PATHS.fullmatch(name) or first is None or first.same_as or first.bytes != member.bytes:
                raise self._refused(f"{name!r} is no file of a record")
            if member.same_as is None and self._infos[name].file_size != member.bytes:
                raise self._damaged(f"{name} has another size than its manifest says")
        if missing := next((s for s in manifest.studies if f"studies/{s}/study.json" not in manifest.files), None):
            raise self._damaged(f"the study {missing!r} is not in it")
        self._refuse_bomb(sum(member.bytes for member in manifest.files.values()))
        return manifest

    def _refused(self, why: str) -> SlackoffError:
        return SlackoffError(f"{self.path} is refused ({why}): slackoff pack writes no such file")

    def _refuse_bomb(self, unpacked: int) -> None:
        """A few kilobytes of a zip can become all memory, and one member stand for a million files."""
        if unpacked > max(_MOST_SHRUNK * self._size, _HARMLESS_BYTES):
            raise self._refused(
                f"it would take {unpacked / 1e9:.1f} GB unpacked, {_MOST_SHRUNK} times its size at least, which may be "
                "a bomb"
            )


def row_digests(table: pa.Table) -> dict[str, dict[str, str]]:
    """A digest of each row of results: test set -> image -> 16 hexadecimal digits of the hash of all values."""
    found: dict[str, dict[str, str]] = {}
    for row in table.to_pylist():
        text = json.dumps(row, sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        images, image = found.setdefault(str(row["test_set"]), {}), str(row["image"])
        images[image] = images.get(image, "") + digest  # a second row of one image shows, too
    return found


Rows = dict[str, dict[str, dict[str, str]]]
"""The file rows.json: path of results -> test set -> image -> digest."""


def parse_rows(content: bytes, place: str) -> Rows:
    """The file rows.json.

    Raises:
        SlackoffError: it is damaged.
    """
    kind: Any = Rows
    try:
        rows: Rows = parse_json(content, kind, place)
    except DamagedFileError as error:
        raise SlackoffError(f"{error}: get the file again") from error
    return rows
