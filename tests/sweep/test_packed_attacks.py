"""A packed record from somebody else (see docs/security.md): what is in its files, when it is merged and verified."""

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from slackoff.errors import SlackoffError
from slackoff.record.archive import write_archive
from slackoff.record.status import Status
from slackoff.sweep.identity import id_of, identity_of
from slackoff.sweep.packing import unpack
from slackoff.sweep.plan import Cell, label_of
from slackoff.sweep.verify import verify

STUDY = {"name": "s", "experiment": "s", "axis": "seed", "claims": [], "test_sets": [], "options": {}}


@pytest.fixture
def forged(prepared: Callable[..., Cell], tmp_path: Path) -> Callable[..., Path]:
    """A packed record of one unfinished cell whose config was changed, its id recomputed to fit."""
    cell = prepared()

    def make(change: Callable[[dict], object] = dict, fit: bool = True, **files: bytes) -> Path:  # type: ignore[type-arg]
        content = json.loads(json.dumps(cell.content))
        change(content)
        identity = identity_of(content, cell.data or {})
        name = id_of(identity) if fit else cell.id
        status = Status(name, label_of(content), 20, state="interrupted")
        written = {
            "config.yaml": yaml.safe_dump(content).encode(),
            "identity.json": json.dumps(identity).encode(),
            "status.json": json.dumps(vars(status)).encode(),
        } | {key.replace("__", "."): value for key, value in files.items()}
        study = STUDY | {"cells": [{"id": name, "axes": {"seed": 0}}]}
        path = tmp_path / "forged.zip"
        members = {f"cells/{name}/{key}": value for key, value in written.items()}
        write_archive(path, {**members, "studies/s/study.json": json.dumps(study).encode(), "rows.json": b"{}"}, ["s"])
        return path

    return make


def refused(path: Path, runs: Path) -> str:
    with pytest.raises(SlackoffError) as error:
        unpack(path, runs)
    assert not list(runs.iterdir())
    return str(error.value)


def test_nothing_that_a_packed_record_names_is_imported_or_run(forged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It may be kept among the records, as what it is: the gate stands before whatever makes objects of a config."""
    package = tmp_path / "otherlab"
    package.mkdir()
    (package / "__init__.py").write_text(f"open({str(tmp_path / 'made')!r}, 'w')\nclass Net: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    for target in ("otherlab.Net", "os.system"):
        path = forged(lambda content, target=target: content["network"].update(_target_=target))
        unpack(path, tmp_path / "runs")
        found = verify(path)
        assert found.wrong == []
        assert any(f"1 cells name {target}, which is of no package that you named" in note for note in found.notes)
    path = forged(lambda content: content["background"]["source"].update(_target_="otherlab.Net"))
    assert any("_target_=otherlab.Net is refused" in note for note in verify(path).notes)
    assert "otherlab" not in sys.modules
    assert not (tmp_path / "made").exists()


def test_a_cell_is_what_its_id_stands_for(forged, tmp_path: Path):
    def change(content: dict) -> None:  # type: ignore[type-arg]
        content["seed"] = 7

    runs = tmp_path / "elsewhere"
    assert "is not what it says" in refused(forged(change, fit=False), runs)
    assert "is not the one that its id stands for: seed: 7 and 0" in refused(
        forged(config__yaml=yaml.safe_dump(json.loads(json.dumps({**_content(forged), "seed": 7}))).encode()), runs
    )
    assert "could not determine a constructor" in refused(forged(config__yaml=b"a: !!python/name:os.system"), runs)
    assert "a cell's config is resolved" in refused(forged(config__yaml=b"a: ${oc.env:HOME}"), runs)
    assert "has other keys than a cell's" in refused(forged(config__yaml=b"a: 1"), runs)
    assert "identity.json is damaged" in refused(forged(identity__json=b"[]"), runs)
    other = json.dumps(vars(Status("other", {}, 20))).encode()
    assert "or that of another cell" in refused(forged(status__json=other), runs)
    assert any("is not what it says" in wrong for wrong in verify(forged(change, fit=False), data=False).wrong)


def _content(forged: Callable[..., Path]) -> dict:  # type: ignore[type-arg]
    kept: dict = {}  # type: ignore[type-arg]
    forged(kept.update)
    return kept


def test_rows_are_no_larger_than_they_look(forged, tmp_path: Path):
    once = pa.DictionaryArray.from_arrays(np.zeros(30_000, np.int32), ["x" * 10_000])
    table = pa.table({"test_set": once, "image": ["a"] * 30_000})
    pq.write_table(table, tmp_path / "texts.parquet", compression="zstd")
    many = pa.table({"step": np.zeros(20_000_000, np.int8), "elapsed_s": np.zeros(20_000_000, np.int8)})
    pq.write_table(many, tmp_path / "values.parquet", compression="zstd")
    texts, values = ((tmp_path / f"{name}.parquet").read_bytes() for name in ("texts", "values"))
    assert max(len(texts), len(values)) < 1_000_000
    status = json.dumps(vars(Status("x", {}, 20, state="done")))
    name = next(iter((tmp_path / "runs" / "cells").iterdir())).name
    done = status.replace('"x"', f'"{name}"').encode()
    runs = tmp_path / "elsewhere"
    assert "would take 0.3 GB unpacked" in refused(forged(status__json=done, images__parquet=texts), runs)
    assert "would take 0.3 GB unpacked" in refused(forged(status__json=done, steps__parquet=values), runs)


def test_a_device_that_a_packed_record_names_is_not_read_for_ever(forged, tmp_path: Path):
    found = verify(forged(lambda content: content.update(start_from="/dev/zero")))
    assert any("/dev/zero is no file" in note for note in found.notes)
    assert found.wrong == []


def test_a_checkpoint_is_no_larger_than_it_looks(forged, tmp_path: Path):
    bomb = tmp_path / "bomb"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(300 << 20))
    path = forged(**{"checkpoints/last__ckpt": bomb.read_bytes()})
    assert "would take 0.3 GB unpacked" in refused(path, tmp_path / "elsewhere")
