"""What a cell leaves: every number once, and pictures of test images of the same name each under its own test set."""

import errno
import json
import unicodedata
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from torch import nn

from slackoff.record import files
from slackoff.record.files import read_lines
from slackoff.record.results import KINDS, RecordLogger, kept_pictures, picture_folder, write_results

NAMED = [
    ("first", "001"), ("second", "001"), ("second", "a/001"), ("a/b", "001"), ("a", "b/001"), ("first", "Ö 1.png"),
    ("first", ".."), ("First", "001"), ("first", "A.png"), ("first", "a.png"), ("first", "巴黎"), ("first", "东京"),
    ("first", "é"), ("first", "e\N{COMBINING ACUTE ACCENT}"), ("first", "東" * 85), ("first", "x" * 255), ("..", "1"),
]  # fmt: skip
FULL = Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))


def test_a_resume_drops_what_comes_again_and_goes_on_counting_time(tmp_path: Path):
    """Steps that are trained again, the last measurement, which is taken again, and half a line of a killed process."""
    rows = [{"step": step, "elapsed_s": step / 2, "train/loss": 1.0 / step} for step in (5, 10, 15)]
    rows.append({"step": 10, "elapsed_s": 6.0, "final/e_r": 30.0})
    (tmp_path / "steps.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 20, "elap')
    logger = RecordLogger(tmp_path, resume_step=10)
    assert read_lines(tmp_path / "steps.jsonl") == rows[:2] == logger.kept
    assert 5.0 <= logger.elapsed() < 5.5
    logger.log_metrics({"final/e_r": 30.0, "epoch": 3}, 10)
    row = read_lines(tmp_path / "steps.jsonl")[-1]
    assert row.pop("elapsed_s") >= 5.0
    assert row == {"step": 10, "final/e_r": 30.0}


def test_a_resume_on_a_full_disk_keeps_the_steps_that_were_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    logger = RecordLogger(tmp_path)
    for step in (10, 20):
        logger.log_metrics({"train/loss": 0.5}, step)
    monkeypatch.setattr(files.os, "fsync", FULL)
    with pytest.raises(OSError, match="No space left"):
        RecordLogger(tmp_path, resume_step=10)
    assert [row["step"] for row in read_lines(tmp_path / "steps.jsonl")] == [10, 20]


def test_closing_merges_the_events_of_a_step_into_one_row(tmp_path: Path):
    logger = RecordLogger(tmp_path)
    for values, step in (({"train/loss": 0.5}, 10), ({"test/e_r": 40.0}, 10), ({"train/loss": 0.25}, 20)):
        logger.log_metrics(values, step)
    logger.close()
    frame = pd.read_parquet(tmp_path / "steps.parquet")
    assert frame["step"].tolist() == [10, 20]
    assert frame["train/loss"].tolist() == [0.5, 0.25]
    assert frame["test/e_r"].tolist()[0] == 40.0


@pytest.fixture
def cell(tmp_path: Path) -> Path:
    """A cell with pictures of one grey value for each image and kind."""
    shown = {
        named: {kind: np.full((4, 4, 3), 10 * number + place, np.uint8) for place, kind in enumerate(KINDS)}
        for number, named in enumerate(NAMED)
    }
    write_results(tmp_path, "", nn.Identity(), pd.DataFrame(NAMED, columns=["test_set", "image"]), shown)
    return tmp_path


def test_images_of_the_same_name_keep_their_own_pictures_one_folder_below_their_test_set(cell: Path):
    """Names may be anything, and no folder's differs from another's in case or the form of its accents alone."""
    found = kept_pictures(cell)
    assert list(found) == sorted(NAMED)
    folders = {unicodedata.normalize("NFC", str(folder.relative_to(cell))).casefold() for folder in found.values()}
    assert len(folders) == len(NAMED)
    for number, named in enumerate(NAMED):
        values = [np.asarray(Image.open(found[named] / f"{kind}.png")).max() for kind in KINDS]
        assert values == [10 * number + place for place in range(3)]
        assert found[named] == picture_folder(cell, named)
        assert found[named].parents[1] == cell / "pictures"
    (picture_folder(cell, ("second", "a/001")) / "background.png").unlink()  # one without all its pictures
    assert list(kept_pictures(cell)) == sorted(named for named in NAMED if named != ("second", "a/001"))


def test_the_picture_of_a_teacher_lies_beside_those_of_its_student(cell: Path):
    own = {kind: (picture_folder(cell, ("second", "001")) / f"{kind}.png").read_bytes() for kind in KINDS}
    shown = {("second", "001"): {kind: np.full((4, 4, 3), 201 + n, np.uint8) for n, kind in enumerate(KINDS)}}
    write_results(cell, "teacher", nn.Identity(), pd.DataFrame({"e_r": [1.0]}), shown)
    with Image.open(picture_folder(cell, ("second", "001")) / "output_teacher.png") as picture:
        assert (np.asarray(picture) == 201 + KINDS.index("output")).all()
    assert own == {kind: (picture_folder(cell, ("second", "001")) / f"{kind}.png").read_bytes() for kind in KINDS}
    assert not (picture_folder(cell, ("first", "001")) / "output_teacher.png").exists()
