"""Records of older versions load; those of newer ones and half-written cells are named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from analysis_record import Cell, image_rows, step_rows, write_study

from slackoff.analysis import load
from slackoff.analysis.tables import study_table
from slackoff.errors import SlackoffError
from slackoff.record.status import RECORD_VERSION, DamagedStatusError, Status, read_status

NEW = Cell({"patch_count": 64})
OLD = Cell({"patch_count": 8})


def folder(runs: Path, cell: Cell) -> Path:
    return runs / "cells" / cell.id


def set_status(runs: Path, cell: Cell, **values: Any) -> None:
    path = folder(runs, cell) / "status.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.fixture
def old_and_new(runs: Path) -> Path:
    """A study of a cell as the first versions left it, and one of today."""
    study = write_study(runs, [OLD, NEW])
    old = folder(runs, OLD)
    early = {"id": OLD.id, "label": {"network": "unet", "patch_count": 8}, "steps_total": 400, "state": "done"}
    early |= {"step": 400, "started_at": "2025-01-02T03:04:05+00:00", "device": "cpu"}
    (old / "status.json").write_text(json.dumps(early))
    rows = image_rows(OLD)
    kept = ["test_set", "image", "e_r", "e_b", "e_r_oracle", "removal_share", "removal_share_oracle", "psnr_rgb"]
    rows[kept].assign(e_r_t5=rows["e_r"], e_r=rows["e_r"].astype("float32")).to_parquet(old / "images.parquet")
    step_rows(OLD)[["step", "train/loss"]].to_parquet(old / "steps.parquet")
    path = study / "study.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps({key: told[key] for key in ("axis", "cells")}))
    return study


def test_what_an_older_record_lacks_is_missing_and_the_rest_is_there(old_and_new: Path) -> None:
    frames = load(old_and_new)
    old, new = frames.cells.iloc[0], frames.cells.iloc[1]
    assert (old["state"], old["step"], new["attempts"]) == ("done", 400, 1)
    assert pd.isna(old["attempts"])
    assert np.isnan(old["train_seconds"])
    assert pd.isna(old["finished_at"])
    assert old["notes"] == []
    assert "device" not in frames.cells
    images = frames.images[frames.images["cell"] == OLD.id]
    np.testing.assert_array_equal(images["e_r"], image_rows(OLD)["e_r"].astype("float32").astype(float))
    assert images[["height", "e_r_t10", "ssim_rgb"]].isna().all(axis=None)
    assert images["e_r_t5"].notna().all()
    assert frames.steps.loc[frames.steps["cell"] == OLD.id, "elapsed_s"].isna().all()
    assert frames.study.title == ""


def test_an_older_record_has_its_place_in_the_table(old_and_new: Path) -> None:
    table = study_table(load(old_and_new)).set_index("patch_count")
    assert table.loc[8, "psnr_rgb"] == pytest.approx(OLD.psnr)
    assert np.isnan(table.loc[8, "ssim_rgb"])
    assert table.loc[64, "ssim_rgb"] == pytest.approx(NEW.ssim)


@pytest.mark.parametrize("version", [None, 1])
def test_a_status_without_a_version_is_of_the_first(runs: Path, version: int | None) -> None:
    study = write_study(runs, [NEW])
    if version:
        set_status(runs, NEW, record_version=version)
    assert list(load(study).cells["state"]) == ["done"]
    found = read_status(folder(runs, NEW))
    assert found is not None
    assert found.record_version == 1


def test_a_status_says_its_version(tmp_path: Path) -> None:
    Status("abc", {}, 10).write(tmp_path)
    assert json.loads((tmp_path / "status.json").read_text())["record_version"] == RECORD_VERSION


def test_a_record_of_a_newer_version_is_refused_and_not_taken_for_damaged(runs: Path) -> None:
    study = write_study(runs, [OLD, NEW])
    set_status(runs, NEW, record_version=RECORD_VERSION + 1, steps_total="all")
    with pytest.raises(SlackoffError, match=rf"{NEW.id}/status\.json is of record version 2, .*update slackoff"):
        load(study)
    with pytest.raises(SlackoffError, match="update slackoff") as raised:  # a damaged one would be made anew
        read_status(folder(runs, NEW))
    assert not isinstance(raised.value, DamagedStatusError)


def test_a_cell_that_runs_and_has_logged_nothing_is_running(runs: Path) -> None:
    frames = load(write_study(runs, [Cell({"patch_count": 8}, state="running")]))
    assert (list(frames.cells["state"]), len(frames.steps), len(frames.images)) == (["running"], 0, 0)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def without_images(path: Path) -> None:
    pd.read_parquet(path).drop(columns="image").to_parquet(path)


@pytest.mark.parametrize(
    ("file", "spoil", "words"),
    [
        ("images.parquet", cut, "images.parquet cannot be read"),
        ("images.parquet", Path.unlink, "images.parquet cannot be read (there is no such file)"),
        ("images.parquet", without_images, "there is no column image"),
        ("steps.parquet", cut, "steps.parquet cannot be read"),
        ("steps.parquet", lambda path: step_rows(OLD).assign(note="x").to_parquet(path), "steps.parquet"),
        ("status.json", lambda path: path.write_text("[]"), "status.json cannot be read"),
        ("status.json", lambda path: path.write_text('{"id": "a"}'), "'state'"),
        ("status.json", lambda path: path.write_text('{"state": "done", "attempts": "x"}'), "attempts is 'x'"),
        ("status.json", lambda path: path.write_text('{"state": "done", "started_at": "now"}'), "status.json"),
    ],
)
def test_a_half_written_cell_is_unreadable_and_the_other_loads(runs: Path, file: str, spoil: Any, words: str) -> None:
    study = write_study(runs, [OLD, NEW])
    spoil(folder(runs, OLD) / file)
    frames = load(study)
    assert list(frames.cells["state"]) == ["unreadable", "done"]
    error = frames.cells["last_error"][0]
    assert str(folder(runs, OLD)) in error
    assert words in error
    assert "run the command of its study again" in error
    assert set(frames.images["cell"]) == {NEW.id}


def test_a_damaged_teacher_makes_its_cell_unreadable(runs: Path) -> None:
    study = write_study(runs, [OLD])
    (folder(runs, OLD) / "images_teacher.parquet").write_bytes(b"PAR1")
    frames = load(study)
    assert frames.images.empty
    assert "images_teacher.parquet" in frames.cells["last_error"][0]
