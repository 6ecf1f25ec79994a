"""Does a packed record hold? What is stated in it against what its rows per image give, and against local data.

Nobody who can write a file is kept from writing it whole anew; what is found here is what was changed after packing,
what does not follow from the rows, and what the parts of a record say of each other that cannot both be true. The
digest of the manifest, which a paper can print, names one record.
"""

import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from slackoff.analysis.study import CellFiles, find_study, read_cell
from slackoff.config.packages import is_named, targets_in
from slackoff.config.validate import ALLOWED_TARGETS
from slackoff.errors import SlackoffError
from slackoff.metrics.columns import for_averaging
from slackoff.record.archive import FURTHER, MANIFEST, OF_ROWS, ROWS, Archive, Rows, parse_rows, row_digests
from slackoff.record.config import read_config
from slackoff.record.files import Patience
from slackoff.record.ledger import HeartbeatMonitor
from slackoff.record.measurement import kind_of
from slackoff.sweep.identity import Fingerprints, code_of, leaves
from slackoff.sweep.packing import check_cell, check_study, draw_texts, other_rows
from slackoff.sweep.plan import label_of

_SAME = 1e-9
"""Relative difference up to which a number that is reckoned again counts as the same: sums may be ordered otherwise."""
_LOGGED = 1e-4
"""That of a mean that the cell logged, from which sums in float32 differ."""


@dataclass
class Verified:
    """What was found: ``wrong`` holds a sentence for each thing that does not hold, ``held`` one for each that does,
    ``notes`` what nobody can be blamed for: other code, data that are not here."""

    digest: str = ""
    wrong: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def tell(self, wrong: list[str], held: str) -> None:
        """Note what is wrong, or else what holds."""
        self.wrong += wrong
        self.held += [] if wrong else [held]


def verify(path: Path, data_root: Path | None = None, data: bool = True) -> Verified:
    """Check a file that ``pack`` wrote; nothing is written among the records.

    Args:
        path: the file, which may come from anybody.
        data_root: where the folders lie that the configs have below their ``data_root``.
        data: compare with the data of this machine. Folders that the configs name are read, and nothing of them is
            shown but whether their digests are the same.

    Raises:
        SlackoffError: it is no such file, or so damaged that nothing can be said.
        OSError: it cannot be read.
    """
    found = Verified()
    with Archive(path) as archive, tempfile.TemporaryDirectory(prefix="slackoff-") as place:
        folder = Path(place)
        found.digest = archive.digest
        changed = archive.extract(folder)
        wrong = [f"{name} was changed after it was packed: other bytes than {MANIFEST} says" for name in changed]
        found.tell(wrong, f"{len(archive.manifest.files)} files have the bytes that {MANIFEST} says")
        cells = _check_cells(folder, archive.cells, found)
        _check_rows(archive, cells, found)
        _check_means(cells, found)
        for name in archive.manifest.studies:
            _check_study(folder / "studies" / name, set(cells), found)
        _check_code(folder, cells, found)
        if data:
            _check_data(folder, cells, data_root, found)
    return found


def _check_cells(folder: Path, ids: list[str], found: Verified) -> dict[str, CellFiles]:
    """The cells that can be read and are what their ids stand for."""
    cells, wrong = {}, []
    for identity in ids:
        place = folder / "cells" / identity
        try:
            status = check_cell(place)
            label, said = label_of(read_config(place)), status.label
            wrong += [
                f"The cell {identity} calls itself {key} {said.get(key)}, and its config has {value}"
                for key, value in label.items()
                if said.get(key) != value
            ]
            cells[identity] = read_cell(place, HeartbeatMonitor(), Patience(0))
        except (SlackoffError, OSError) as error:
            wrong.append(str(error).replace(f"{folder}/", ""))
    found.tell(wrong, f"{len(cells)} ids are those of what the cells were made from")
    return cells


def _check_rows(archive: Archive, cells: Mapping[str, CellFiles], found: Verified) -> None:
    """Name each row of results that is another one than was packed."""
    try:
        packed: Rows = parse_rows(archive.read(ROWS), ROWS)
    except SlackoffError as error:
        found.wrong.append(str(error))
        return
    wrong, count = [], 0
    for identity, cell in cells.items():
        for file in OF_ROWS:
            name = f"cells/{identity}/{file}"
            ours = row_digests(cell.images[file]) if file in cell.images else {}
            theirs = packed.get(name, {})
            count += sum(map(len, ours.values()))
            for test_set, image, what in other_rows(ours, theirs):
                wrong.append(
                    f"The row {test_set}/{image} of the cell {_named(identity, cell)} was {what} packing ({file})"
                )
    found.tell(wrong, f"{count} rows of results are those that were packed")


def _named(identity: str, cell: CellFiles) -> str:
    shown = [f"{key} {value}" for key, value in cell.label.items() if key in ("network", "rain", "patch_count", "seed")]
    return f"{identity} ({', '.join(shown)})" if shown else identity


def _check_means(cells: Mapping[str, CellFiles], found: Verified) -> None:
    """The means that a cell logged when it was measured are those of its rows on its first test set."""
    wrong, count = [], 0
    for identity, cell in cells.items():
        if cell.steps is None or OF_ROWS[0] not in cell.images:
            continue
        for file, start in zip(OF_ROWS, ("final/", *(f"final/{name}/" for name in FURTHER)), strict=True):
            rows = cell.images.get(file)
            for measure, logged in _logged_means(cell.steps, start).items() if rows is not None else ():
                frame = _first_set(rows)
                if measure not in frame:
                    continue
                count += 1
                values = for_averaging(measure, frame[measure])
                mean = float(np.nanmean(values)) if np.isfinite(values).any() else math.nan
                if not math.isclose(mean, logged, rel_tol=_LOGGED, abs_tol=_LOGGED):
                    wrong.append(
                        f"The cell {_named(identity, cell)} logged a mean {measure} of {logged:.6g} when it was "
                        f"measured, and its rows give {mean:.6g}"
                    )
    found.tell(wrong, f"{count} means that cells logged are those of their rows")


def _logged_means(steps: pa.Table, start: str) -> dict[str, float]:
    frame = steps.to_pandas()
    names = [name for name in frame if name.startswith(start) and "/" not in name.removeprefix(start)]
    known = {name.removeprefix(start): frame[name].dropna() for name in names}
    return {name: float(values.iloc[-1]) for name, values in known.items() if len(values)}


def _first_set(rows: pa.Table) -> pd.DataFrame:
    frame = rows.to_pandas()
    return frame[frame["test_set"] == frame["test_set"].iloc[0]]


def _check_study(folder: Path, cells: set[str], found: Verified) -> None:
    """Tables and claims of a study against those that its rows give now, and its axes against the configs."""
    name, wrong = folder.name, list[str]()
    try:
        check_study(folder)
        if not kind_of(folder):
            wrong += _wrong_axes(folder, cells)
        drawn = draw_texts(folder)
    except SlackoffError as error:
        found.wrong.append(str(error).replace(f"{folder.parents[1]}/", ""))
        return
    stated = {
        path.relative_to(folder).as_posix(): path for path in (*folder.glob("tables/*.csv"), folder / "claims.json")
    }
    count = 0
    for file in sorted({*drawn, *(name for name, path in stated.items() if path.is_file())} - {"numbers.tex"}):
        if file not in drawn or file not in stated or not stated[file].is_file():
            wrong.append(f"{file} of the study {name} is {'stated' if file not in drawn else 'missing'}")
            continue
        compare: Callable[[str, str], tuple[list[str], int]] = (
            _table_differences if file[-4:] == ".csv" else _claim_differences
        )
        try:
            differing, numbers = compare(stated[file].read_text(encoding="utf-8"), drawn[file])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            differing, numbers = [f"it cannot be read ({error!r})"], 0
        wrong += [f"{file} of the study {name}: {difference}" for difference in differing]
        count += numbers
    if (
        not wrong
        and "numbers.tex" in drawn
        and (folder / "numbers.tex").read_text(encoding="utf-8") != drawn["numbers.tex"]
    ):
        wrong.append(f"numbers.tex of the study {name} states other numbers than its tables")
    found.tell(wrong, f"{count} numbers of the tables and claims of {name} follow from its rows")


def _wrong_axes(folder: Path, cells: set[str]) -> list[str]:
    """Cells that a study counts under another value of an axis than their config has."""
    study, wrong = find_study(folder), []
    for identity, axes in study.cells:
        if identity not in cells:
            continue
        config = read_config(study.runs / "cells" / identity)
        known = label_of(config)
        for axis, value in axes.items():
            has = [known[axis]] if axis in known else _values(config, axis)
            if has and str(value) not in map(str, has):
                wrong.append(
                    f"The study {study.folder.name} says {axis} {value} of {identity}, whose config has {has[0]}"
                )
    return wrong


def _values(config: dict[str, Any], axis: str) -> list[Any]:
    """What a config has under the keys that end in the name of an axis, in the ways in which axes are told."""
    last = axis.rpartition(".")[2]
    return [value for key, value in leaves(config) if key.rpartition(".")[2] == last]


def _table_differences(stated: str, drawn: str) -> tuple[list[str], int]:
    """Where two CSV files differ, in words, and how many numbers there are."""
    ours, theirs = (pd.read_csv(StringIO(text), dtype=str, keep_default_na=False) for text in (drawn, stated))
    if list(ours.columns) != list(theirs.columns) or len(ours) != len(theirs):
        return ["its rows or columns are others than the record gives"], 0
    differing, count = [], 0
    for place in range(len(ours)):
        said = [f"{key} {ours[key][place]}" for key in _keys(ours) if ours[key][place]]
        for column in ours:
            one, other = ours[column][place], theirs[column][place]
            count += _number(one) is not None
            if not _same(one, other):
                differing.append(f"{column} of {', '.join(said)} is stated as {other}, and its rows give {one}")
    return differing, count


def _keys(table: pd.DataFrame) -> list[str]:
    """The columns that say what a row is: those before the first that has fractions."""
    fractions = (
        column for column in table if any("." in value for value in table[column] if _number(value) is not None)
    )
    columns = list(table.columns)
    first = columns.index(next(fractions, columns[-1]))
    return [column for column in columns[: max(first, 1)] if column not in ("state", "done", "cells", "images")]


def _claim_differences(stated: str, drawn: str) -> tuple[list[str], int]:
    ours, theirs = (
        {(claim["group"], claim["family"], claim["id"]): dict(leaves(claim)) for claim in json.loads(text)}
        for text in (drawn, stated)
    )
    differing, count = [], 0
    for key in dict.fromkeys([*ours, *theirs]):
        name = " of ".join(filter(None, (key[2], key[0])))
        if key not in ours or key not in theirs:
            differing.append(f"{name} is {'stated' if key in theirs else 'missing'}")
            continue
        one, other = ({k: v for item in each.items() for k, v in _flat(*item)} for each in (ours[key], theirs[key]))
        count += sum(_number(value) is not None for value in one.values())
        wrong = [leaf for leaf in {**one, **other} if not _same(one.get(leaf), other.get(leaf))]
        differing += [
            f"{leaf} of {name} is stated as {other.get(leaf)}, and its rows give {one.get(leaf)}" for leaf in wrong[:3]
        ]
    return differing, count


def _flat(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A leaf of a claim, lists written out."""
    if isinstance(value, list):
        for place, item in enumerate(value):
            for below, part in leaves(item, f"{key}.{place}"):
                yield from _flat(below, part)
    else:
        yield key, value


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None or value == "":
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _same(one: Any, other: Any) -> bool:
    if one == other:
        return True
    numbers = _number(one), _number(other)
    return None not in numbers and math.isclose(*numbers, rel_tol=_SAME, abs_tol=1e-12)  # type: ignore[arg-type]


def _check_code(folder: Path, cells: Mapping[str, CellFiles], found: Verified) -> None:
    """Note what the classes were made of that is defined otherwise here; nothing of it is imported."""
    other: dict[str, set[str]] = {}
    foreign: dict[str, set[str]] = {}
    for identity in cells:
        place = folder / "cells" / identity
        config, recorded = read_config(place), json.loads((place / "identity.json").read_text(encoding="utf-8"))["code"]
        refused = {
            target
            for target in targets_in(config)
            if target.rpartition(".")[0] not in ALLOWED_TARGETS and not is_named(target)
        }
        for target in refused:
            foreign.setdefault(target, set()).add(identity)
        if refused:
            continue
        here = code_of(config)
        for name in dict.fromkeys([*recorded, *here]):
            if here.get(name) != recorded.get(name):
                other.setdefault(name, set()).add(identity)
    for target, ids in sorted(foreign.items()):
        found.notes.append(
            f"{len(ids)} cells name {target}, which is of no package that you named: it was not looked at"
        )
    if other:
        some = ", ".join(list(other)[:3])
        found.notes.append(
            f"The code of {len(set().union(*other.values()))} cells is defined otherwise in this slackoff ({some}): "
            "trained here they would be other cells"
        )
    elif not foreign:
        found.held.append("The code that the cells were trained with is that of this slackoff")


def _check_data(folder: Path, cells: Mapping[str, CellFiles], data_root: Path | None, found: Verified) -> None:
    """Whether backgrounds, test sets, pairs and weight files of this machine have the digests of the record."""
    fingerprints = Fingerprints(missing_allowed=True)
    outcomes: dict[tuple[str, str], set[str]] = {}
    for identity in cells:
        place = folder / "cells" / identity
        config = read_config(place)
        recorded = json.loads((place / "identity.json").read_text(encoding="utf-8"))["data"]
        if data_root is not None:
            config = _moved(config, str(config["data_root"]), str(data_root))
        try:
            here = fingerprints.of(config)
        except (SlackoffError, KeyError, TypeError, AttributeError) as error:
            found.notes.append(f"The data of the cell {identity} cannot be looked for: {error}")
            continue
        for key in dict.fromkeys([*recorded, *here]):
            if problem := fingerprints.problems.get(here.get(key, "")):
                outcome = f"not compared: {problem}"
            else:
                outcome = "same" if here.get(key) == recorded.get(key) else "other"
            outcomes.setdefault((key, outcome), set()).add(identity)
    for (key, outcome), ids in outcomes.items():
        if outcome == "same":
            found.held.append(f"{key}: the data of this machine have the same bytes ({len(ids)} cells)")
        elif outcome == "other":
            found.notes.append(f"{key}: the data of this machine have other bytes ({len(ids)} cells)")
        else:
            found.notes.append(f"{key}: {outcome}")


def _moved(value: Any, old: str, new: str) -> Any:
    """A config with the places below one folder put below another."""
    if isinstance(value, dict):
        return {key: _moved(item, old, new) for key, item in value.items()}
    if isinstance(value, list):
        return [_moved(item, old, new) for item in value]
    below = isinstance(value, str) and (value == old or value.startswith(old.rstrip("/") + "/"))
    return new + value[len(old.rstrip("/")) :] if below else value
