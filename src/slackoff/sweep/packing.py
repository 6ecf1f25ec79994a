"""Records that travel: studies and their cells into one file, and from such a file into a folder of records.

What is in the file is what ``slackoff.record.archive`` says. A file may come from anybody: it is unpacked beside the
records and looked at there, and only what holds is moved among them.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from slackoff.analysis.frames import load
from slackoff.analysis.macros import macros
from slackoff.analysis.page import Findings
from slackoff.analysis.report import tables_of
from slackoff.analysis.study import find_study, read_cell
from slackoff.errors import SlackoffError
from slackoff.measurements import study as measured
from slackoff.record.archive import (
    CHECKPOINT,
    DRAWN,
    MEASURED,
    OF_ANY,
    OF_DONE,
    OF_ROWS,
    ROWS,
    WEIGHTS,
    Archive,
    Rows,
    Source,
    parse_rows,
    row_digests,
    write_archive,
)
from slackoff.record.files import Patience, read_bytes, read_json, refuse_links_out, write_bytes
from slackoff.record.ledger import HeartbeatMonitor
from slackoff.record.measurement import kind_of
from slackoff.record.status import DamagedStatusError, Status, observed_status, read_status
from slackoff.sweep.cell_folders import CellFolders, Recorded
from slackoff.sweep.identity import check_identity

_STUDY_JSON = "study.json"
_NETWORK_COSTS = "network_costs"
_OF_THE_COMMAND = ("created_at", "command")
"""Keys of study.json in which two runs of one study differ."""


@dataclass(frozen=True)
class Packed:
    """What was packed: ids of done and of unfinished cells, of those of the studies that are not begun, and a sentence
    for each that was left out."""

    path: Path
    done: list[str]
    unfinished: list[str]
    missing: list[str]
    troubles: list[str]


def pack(
    studies: Sequence[str],
    runs: Path,
    out: Path | None = None,
    weights: bool = False,
    checkpoints: bool = False,
    pictures: int = 1,
) -> Packed:
    """Write studies with their cells as one file; the same records give the same bytes.

    Tables and claims are drawn anew from the rows that are packed. A cell that several studies share travels once. A
    cell that is being trained travels as one that was interrupted.

    Args:
        studies: names of studies, or their folders.
        runs: where the records are.
        out: the file; by default NAME.zip in the present folder.
        weights: pack the networks of cells that are done.
        checkpoints: pack the last checkpoint of cells that are not, from which they go on elsewhere.
        pictures: of so many images of each test set, from each cell.

    Raises:
        SlackoffError: there is no such study, two of one name, or ``out`` is a file of something else.
        OSError: a file cannot be read or written.
    """
    files: dict[str, Source] = {}
    cells: dict[str, Path] = {}
    names = []
    for given in studies:
        folder, listed = _folder_and_cells(given, runs)
        name = folder.resolve().name
        if name in names:
            raise SlackoffError(f"Two of the studies have the name {name}: give each once")
        names.append(name)
        files |= {f"studies/{name}/{path}": content for path, content in _study_files(folder).items()}
        cells |= listed
    out = out or Path(f"{names[0]}.zip")
    _refuse_other_file(out)
    monitor, patience, troubles = HeartbeatMonitor(), Patience(), list[str]()
    rows: dict[str, Any] = {}
    states: dict[str, str | None] = {}
    for identity, folder in cells.items():
        try:
            found, status = patience(
                lambda folder=folder: _cell_files(folder, monitor, weights, checkpoints, pictures)  # type: ignore[misc]
            )
            tables = read_cell(folder, monitor, patience).images if status and status.state == "done" else {}
        except (SlackoffError, FileNotFoundError) as error:
            troubles.append(f"The cell {identity} is left out: {error}")
            continue
        states[identity] = status.state if status else None
        files |= {f"cells/{identity}/{path}": content for path, content in found.items()}
        rows |= {f"cells/{identity}/{file}": row_digests(table) for file, table in tables.items()}
    files[ROWS] = json.dumps(rows, indent=0, sort_keys=True).encode()
    files |= _drawn_files(files, names)
    write_archive(out, files, names)
    return Packed(
        out,
        [identity for identity, state in states.items() if state == "done"],
        [identity for identity, state in states.items() if state not in ("done", None)],
        [identity for identity, state in states.items() if state is None],
        troubles,
    )


def _folder_and_cells(given: str, runs: Path) -> tuple[Path, dict[str, Path]]:
    """The folder of a study and those of its cells by id: none for one that measured."""
    if (folder := measured.find(given, runs)) is not None:
        return folder, {}
    study = find_study(given, runs)
    return study.folder, {identity: study.runs / "cells" / identity for identity, _ in study.cells}


def _refuse_other_file(out: Path) -> None:
    if out.exists():
        try:
            with Archive(out):
                pass
        except SlackoffError as error:
            raise SlackoffError(
                f"{out} is there and is no record that slackoff pack wrote: choose another place with --out"
            ) from error
    elif not out.parent.is_dir():
        raise SlackoffError(f"There is no folder {out.parent}: make it, or choose another place with --out")


def _study_files(folder: Path) -> dict[str, bytes]:
    wanted = (_STUDY_JSON, *MEASURED, *(f"{_NETWORK_COSTS}/{name}" for name in (_STUDY_JSON, *MEASURED)))
    return {name: _own_bytes(folder, name) for name in wanted if (folder / name).is_file()}


def _own_bytes(folder: Path, name: str) -> bytes:
    """A file of a record, which a link of somebody else's could make any file of ours.

    Raises:
        SlackoffError: it is a link that leads out.
    """
    return read_bytes(_inside(folder, folder / name))


def _inside(folder: Path, path: Path) -> Path:
    if not path.resolve().is_relative_to(folder.resolve()):
        raise SlackoffError(f"{path} is a link that leads out of {folder}: remove it")
    return path


def _cell_files(
    folder: Path, monitor: HeartbeatMonitor, weights: bool, checkpoints: bool, pictures: int
) -> tuple[dict[str, Source], Status | None]:
    """What travels of a cell, and its status as it travels; nothing and None for one that is not begun.

    Raises:
        SlackoffError: a file is damaged, or leads elsewhere.
    """
    status = observed_status(folder, monitor)
    if status is None:
        return {}, None
    check_identity(folder)
    found: dict[str, Source] = {}
    if status.state == "done":
        if (state := read_cell(folder, monitor, Patience(0)).status)["state"] == "unreadable":
            raise SlackoffError(str(state["last_error"]))
        names = [*OF_ANY, *OF_DONE]
        for name in WEIGHTS if weights else ():
            if (folder / name).is_file():
                found[name] = _inside(folder, folder / name)
        found |= _pictures(folder, pictures)
    else:
        if status.state in ("running", "lost"):
            status = replace(status, state="interrupted", last_error=None)
        # The checkpoint before the lines of steps: a process that goes on meanwhile then only adds lines too many.
        names = [*([CHECKPOINT] if checkpoints else []), *OF_ANY, "steps.jsonl"]
    found |= {name: _own_bytes(folder, name) for name in names if (folder / name).is_file()}
    return found | {"status.json": (json.dumps(asdict(status), indent=2) + "\n").encode()}, status


def _pictures(folder: Path, count: int) -> dict[str, Source]:
    """The pictures of the first images of each test set that a cell kept."""
    from slackoff.record.results import kept_pictures  # imports torch

    found: dict[str, Source] = {}
    taken: dict[str, int] = {}
    for (test_set, _), place in kept_pictures(folder).items() if count else ():
        taken[test_set] = taken.get(test_set, 0) + 1
        if taken[test_set] <= count:
            for path in sorted(place.glob("*.png")):
                found[path.relative_to(folder).as_posix()] = _inside(folder, path)
    return found


def _drawn_files(files: Mapping[str, Source], studies: Sequence[str]) -> dict[str, Source]:
    """Tables, claims and LaTeX numbers of the studies, drawn from the very bytes that are packed."""
    made: dict[str, Source] = {}
    with tempfile.TemporaryDirectory(prefix="slackoff-") as place:
        for name, content in files.items():
            if isinstance(content, bytes) and not name.endswith(CHECKPOINT):
                path = Path(place, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        for name in studies:
            drawn = draw_texts(Path(place, "studies", name))
            made |= {f"studies/{name}/{path}": text.encode(errors="backslashreplace") for path, text in drawn.items()}
    return made


def draw_texts(folder: Path) -> dict[str, str]:
    """What is drawn from the record of a study, as texts by the names of files in its folder.

    Returns:
        ``tables/NAME.csv``, ``claims.json`` and ``numbers.tex``; none for a study without any result.
    """
    if kind_of(folder):
        report = measured.report_of(folder)[1]
        tables, claims, numbers = report.files, list(report.claims or ()), ""
    else:
        frames = load(folder)
        if frames.images.empty:
            return {}
        found = Findings.of(frames)
        tables, claims = tables_of(found), found.claims
        numbers = macros(found, tables)
    drawn = {f"tables/{name}.csv": frame.to_csv(index=False) for name, frame in tables.items()}
    if claims:
        drawn["claims.json"] = json.dumps([claim.as_json() for claim in claims], indent=1, allow_nan=False)
    return drawn | ({"numbers.tex": numbers} if numbers else {})


@dataclass
class Merged:
    """What became of the cells and studies of a file, each by id or name; ``said`` are sentences on single ones."""

    new: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    studies: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def unpack(path: Path, runs: Path) -> Merged:
    """Merge a file that ``pack`` wrote into a folder of records.

    Every cell is looked at before any is written: its id is the hash of what it was made from, its config is what the
    id stands for, and its files can be read. What is here already is kept; only a cell that is not done gives way to
    one that is, or that got further.

    Args:
        path: the file, which may come from anybody.
        runs: where the records are.

    Raises:
        SlackoffError: the file is refused or damaged, or a cell of it is; nothing is written then.
        OSError: a file cannot be read or written.
    """
    merged = Merged()
    with Archive(path) as archive:
        runs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=runs) as place:
            beside, packed_rows = Path(place), parse_rows(archive.read(ROWS), f"{ROWS} of {path}")
            if changed := archive.extract(beside, DRAWN):
                raise SlackoffError(
                    f"{path} was changed after it was packed ({changed[0]}): slackoff verify {path} says where"
                )
            for identity in archive.cells:
                check_cell(beside / "cells" / identity)
                _refuse_other_rows(beside / "cells" / identity, packed_rows, path)
            for name in archive.manifest.studies:
                check_study(beside / "studies" / name)
            folders = CellFolders(runs, Patience())
            for identity in archive.cells:
                _merge_cell(beside / "cells" / identity, folders, merged)
            for name in archive.manifest.studies:
                _merge_study(beside / "studies" / name, runs, merged)
    return merged


def _refuse_other_rows(folder: Path, packed: Rows, path: Path) -> None:
    for file, table in read_cell(folder, HeartbeatMonitor(), Patience(0)).images.items():
        for test_set, image, what in other_rows(row_digests(table), packed.get(f"cells/{folder.name}/{file}", {})):
            raise SlackoffError(
                f"The row {test_set}/{image} of the cell {folder.name} was {what} packing: "
                f"slackoff verify {path} says more"
            )


def other_rows(
    ours: Mapping[str, Mapping[str, str]], theirs: Mapping[str, Mapping[str, str]]
) -> Iterator[tuple[str, str, str]]:
    """Rows that differ between two tables, by their digests.

    Returns:
        Test set, image, and what became of the row from ``theirs`` to ``ours``: 'changed after', 'added after' ...
    """
    for test_set in dict.fromkeys([*theirs, *ours]):
        one, other = ours.get(test_set, {}), theirs.get(test_set, {})
        for image in dict.fromkeys([*other, *one]):
            if one.get(image) != other.get(image):
                what = "added" if image not in other else "changed" if image in one else "removed"
                yield test_set, image, f"{what} after"


def check_cell(folder: Path) -> Status:
    """The status of a cell that may come from anybody.

    Raises:
        SlackoffError: it is not what its id stands for, or a file of it cannot be used.
    """
    check_identity(folder)
    status = read_status(folder)
    if status is None or status.id != folder.name:
        raise SlackoffError(f"The cell {folder.name} has no status, or that of another cell")
    found = read_cell(folder, HeartbeatMonitor(), Patience(0)).status
    if found["state"] == "unreadable":
        raise SlackoffError(f"The cell {folder.name} cannot be read: {found['last_error']}")
    if (folder / CHECKPOINT).is_file():
        from slackoff.networks.weights import refuse_bomb  # imports torch

        refuse_bomb(folder / CHECKPOINT)
        _reached(folder)
    return status


def check_study(folder: Path) -> None:
    """Nothing where the record of a study that may come from anybody can be used.

    Raises:
        SlackoffError: it cannot.
    """
    if kind_of(folder):
        measured.report_of(folder)
    else:
        find_study(folder)


def _merge_cell(found: Path, folders: CellFolders, merged: Merged) -> None:
    """Move a cell among the records, unless it is there."""
    own = folders.runs / "cells" / found.name
    theirs = read_status(found)
    assert theirs is not None
    own.parent.mkdir(exist_ok=True)
    if not own.exists():
        found.rename(own)
        merged.new.append(found.name)
        return
    try:
        ours = observed_status(own, folders.monitor)
    except DamagedStatusError:
        ours = None
    if ours is not None and ours.state == "done":
        _compare_done(found, own, theirs, folders, merged)
    elif theirs.state != "done" and _reached(found) <= _reached(own):
        merged.kept.append(found.name)
    elif ours is not None and ours.state == "running":
        merged.kept.append(found.name)
        merged.said.append(f"The cell {found.name} is being trained here: it is left alone")
    else:
        left = folders.remove([Recorded(own, ours or theirs)])
        try:
            found.rename(own)
            merged.replaced.append(found.name)
        except OSError:  # another process was quicker
            merged.kept.append(found.name)
            merged.said += left or [f"The cell {found.name} was begun here meanwhile: it is left alone"]


def _reached(folder: Path) -> int:
    """The step from which an unfinished cell goes on: that of its last checkpoint.

    Raises:
        SlackoffError: it is no checkpoint, or that of another cell.
    """
    from slackoff.record.checkpoint import find_resume_point  # imports torch

    place = (folder / CHECKPOINT).parent
    return find_resume_point(place, folder.name).step if place.is_dir() else 0


def _compare_done(found: Path, own: Path, theirs: Status, folders: CellFolders, merged: Merged) -> None:
    """Say how a cell that is done in both places differs; add what is lacking here where it does not."""
    if theirs.state != "done":
        merged.kept.append(found.name)
        return
    tables = [read_cell(folder, folders.monitor, folders.patience).images for folder in (own, found)]
    if differing := _differences(*tables):
        merged.kept.append(found.name)
        merged.said.append(f"The cell {found.name} is here with other results, which are kept: {differing}")
        return
    merged.there.append(found.name)
    refuse_links_out(own)
    for path in sorted(path for path in found.rglob("*") if path.is_file()):
        target = own / path.relative_to(found)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(target, path.read_bytes())


def _differences(ours: Mapping[str, pa.Table], theirs: Mapping[str, pa.Table]) -> str:
    """How the results of one cell differ between two places, in words; empty where they do not."""
    for file in OF_ROWS:
        if (file in ours) != (file in theirs):
            return f"{file} is in one of them alone"
        if file not in ours:
            continue
        one, other = row_digests(ours[file]), row_digests(theirs[file])
        if differing := list(other_rows(one, other)):
            test_set, image, _ = differing[0]
            rows = max(ours[file].num_rows, theirs[file].num_rows)
            where = f"{len(differing)} of {rows} rows of {file} differ, the first is {test_set}/{image}"
            return f"{where}{_largest(ours[file], theirs[file])}"
    return ""


def _largest(one: pa.Table, other: pa.Table) -> str:
    """The measure that differs most between tables of the same rows, relative to its own size."""
    keys = ["test_set", "image"]
    frames = [table.to_pandas().drop_duplicates(keys).set_index(keys).sort_index() for table in (one, other)]
    shared = [name for name in frames[0].select_dtypes("number") if name in frames[1].select_dtypes("number")]
    both = frames[0].index.intersection(frames[1].index)
    if not shared or both.empty:
        return ""
    ours, theirs = (frame.loc[both, shared].astype(float) for frame in frames)
    gaps = (ours - theirs).abs().max()
    if not np.isfinite(gaps.max()) or gaps.max() == 0:
        return ""
    name = (gaps / ours.abs().mean().clip(lower=1e-12)).idxmax()
    return f"; {name} by up to {gaps[name]:.3g}"


def _merge_study(found: Path, runs: Path, merged: Merged) -> None:
    own = runs / "studies" / found.name
    own.parent.mkdir(exist_ok=True)
    if not (own / _STUDY_JSON).is_file():
        own.mkdir(exist_ok=True)
        for path in sorted(path for path in found.rglob("*") if path.is_file()):
            (own / path.relative_to(found)).parent.mkdir(exist_ok=True)
            write_bytes(own / path.relative_to(found), path.read_bytes())
        merged.studies.append(found.name)
        return
    ours, theirs = (read_json(folder / _STUDY_JSON, dict[str, Any]) for folder in (own, found))
    keys = [key for key in {**ours, **theirs} if key not in _OF_THE_COMMAND and ours.get(key) != theirs.get(key)]
    if keys:
        merged.said.append(f"The study {found.name} is here already and is kept: {', '.join(sorted(keys))} differ")
