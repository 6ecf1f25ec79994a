"""What a study and its cells left on disk: found by name, of a newer version, damaged or half written."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from analysis_record import Cell, image_rows, step_rows, write_study

from slackoff.analysis import load
from slackoff.analysis.study import find_study
from slackoff.analysis.tables import study_table
from slackoff.errors import SlackoffError
from slackoff.record import files
from slackoff.record.status import RECORD_VERSION, DamagedStatusError, Status, read_status

CELLS = [Cell({"patch_count": 8, "rain": "small"}, state="pending"), Cell({"patch_count": 64}, state="pending")]
NEW = Cell({"patch_count": 64})
OLD = Cell({"patch_count": 8})


def test_is_found_by_name_and_by_folder(runs: Path) -> None:
    folder = write_study(runs, CELLS)
    by_name, by_folder = find_study("patchcount", runs), find_study(folder)
    assert by_name.cells == by_folder.cells == tuple((cell.id, cell.axes) for cell in CELLS)
    assert by_folder.runs.resolve() == runs.resolve()
    assert (by_name.axis, by_name.axes) == ("patch_count", ["patch_count", "rain"])
    assert by_name.title == "Patch count"
    assert by_name.size == "laptop"


@pytest.mark.parametrize(("asked", "meant"), [("patchcuont", "patchcount"), ("rain", "rain-range-paper-1a2b3c")])
def test_unknown_study_is_answered_with_a_suggestion_and_the_list(runs: Path, asked: str, meant: str) -> None:
    for name in ("patchcount", "rain-range-paper-1a2b3c"):
        write_study(runs, CELLS, name)
    with pytest.raises(SlackoffError) as caught:
        find_study(asked, runs)
    message = str(caught.value)
    assert f"did you mean '{meant}'?" in message
    assert "patchcount, rain-range-paper-1a2b3c" in message
    assert str(runs / "studies") in message


def test_unknown_study_without_any_says_how_to_make_one(runs: Path) -> None:
    with pytest.raises(SlackoffError, match="run one first"):
        find_study("patchcount", runs)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "damaged"),
        ({"cells": None}, "damaged"),
        ({"cells": []}, "lists no cells"),
        ({"cells": [{"id": "a", "axes": {"rain": "small"}}]}, "no axis 'patch_count'"),
    ],
)
def test_damaged_study_file_is_named(runs: Path, content: Any, reason: str) -> None:
    path = write_study(runs, CELLS) / "study.json"
    path.write_text(content if isinstance(content, str) else json.dumps(json.loads(path.read_text()) | content))
    with pytest.raises(SlackoffError, match=reason) as caught:
        find_study("patchcount", runs)
    assert str(path) in str(caught.value)


def test_axis_values_that_are_lists_become_texts(runs: Path) -> None:
    write_study(runs, [Cell({"patch_count": 8, "width": [5, 7]}, state="missing")])
    assert find_study("patchcount", runs).cells[0][1]["width"] == "[5, 7]"


def folder(runs: Path, cell: Cell) -> Path:
    return runs / "cells" / cell.id


def set_status(runs: Path, cell: Cell, **values: Any) -> None:
    path = folder(runs, cell) / "status.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_what_the_protocol_of_a_cell_does_not_measure_is_missing_there_alone(runs: Path) -> None:
    study = write_study(runs, [OLD, NEW])
    rows = image_rows(OLD).drop(columns=["e_r_t10", "ssim_rgb"])
    rows = rows.assign(e_r_t5=rows["e_r"], e_r=rows["e_r"].astype("float32"))
    rows.to_parquet(folder(runs, OLD) / "images.parquet")
    frames = load(study)
    images = frames.images[frames.images["cell"] == OLD.id]
    np.testing.assert_array_equal(images["e_r"], image_rows(OLD)["e_r"].astype("float32").astype(float))
    assert images[["e_r_t10", "ssim_rgb"]].isna().all(axis=None)
    assert images["e_r_t5"].notna().all()
    table = study_table(frames).set_index("patch_count")
    assert table.loc[[8, 64], "ssim_rgb"].tolist() == pytest.approx([np.nan, NEW.ssim], nan_ok=True)


def test_a_record_of_a_newer_version_is_refused_and_not_taken_for_damaged(runs: Path) -> None:
    study = write_study(runs, [OLD, NEW])
    Status("abc", {}, 10).write(runs)
    assert json.loads((runs / "status.json").read_text())["record_version"] == RECORD_VERSION
    set_status(runs, NEW, record_version=RECORD_VERSION + 1, steps_total="all")
    with pytest.raises(SlackoffError, match=rf"{NEW.id}/status\.json is of record version 2, .*update slackoff"):
        load(study)
    with pytest.raises(SlackoffError, match="update slackoff") as raised:  # a damaged one would be made anew
        read_status(folder(runs, NEW))
    assert not isinstance(raised.value, DamagedStatusError)


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
        ("images_teacher.parquet", lambda path: path.write_bytes(b"PAR1"), "images_teacher.parquet cannot be read"),
        ("steps.parquet", cut, "steps.parquet cannot be read"),
        ("steps.parquet", lambda path: step_rows(OLD).assign(note="x").to_parquet(path), "steps.parquet"),
        ("status.json", lambda path: path.write_text("[]"), "status.json is damaged"),
        ("status.json", lambda path: path.write_text('{"record_version": 1}'), "id: Field required"),
        (
            "status.json",
            lambda path: set_status(path.parents[2], OLD, attempts="x"),
            "attempts: Input should be a valid",
        ),
        ("status.json", lambda path: set_status(path.parents[2], OLD, started_at="now"), "status.json"),
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


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("times", [3, 10**6])
def test_a_file_system_that_fails_costs_no_other_cell(runs: Path, monkeypatch, number: int, times: int) -> None:
    study, left, real = write_study(runs, [OLD, NEW]), [times], Path.read_bytes

    def read(path: Path) -> bytes:
        if path.is_relative_to(folder(runs, OLD)) and left[0] > 0:
            left[0] -= 1
            raise OSError(number, os.strerror(number), str(path))
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", read)
    monkeypatch.setattr(files.time, "sleep", lambda _: None)
    frames = load(study)
    assert list(frames.cells["state"]) == ["done" if times == 3 else "unreadable", "done"]
    if times > 3:
        error = frames.cells["last_error"][0]
        assert f"could not be used for a while ({os.strerror(number)})" in error
        assert "remove" not in error


@pytest.mark.parametrize("linked", ["study", "studies", "runs", "to the study"])
def test_a_study_that_is_reached_through_a_link_has_its_cells(runs: Path, tmp_path: Path, linked: str) -> None:
    study = write_study(runs, [OLD, NEW])
    elsewhere = tmp_path / "another disk" / "place"
    elsewhere.parent.mkdir()
    place = {"study": study, "studies": study.parent, "runs": runs}.get(linked)
    if place:
        place.rename(elsewhere)
        place.symlink_to(elsewhere)
    else:
        elsewhere.symlink_to(study)
        study = elsewhere
    for frames in (load(study, "nowhere"), load(study.name if place else "patchcount", runs)):
        assert list(frames.cells["state"]) == ["done", "done"]


def test_a_cell_whose_process_is_gone_is_not_shown_as_running(runs: Path) -> None:
    running = Cell({"patch_count": 64}, state="running")
    study = write_study(runs, [OLD, running])
    assert list(load(study).cells["state"]) == ["done", "running"]
    shutil.rmtree(folder(runs, running) / "attempts")
    assert list(load(study).cells["state"]) == ["done", "interrupted"]
