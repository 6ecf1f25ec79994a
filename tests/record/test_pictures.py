"""Pictures of test images of the same name: each is kept, found and shown under its own test set."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from torch import nn

from slackoff.record.results import KINDS, kept_pictures, picture_folder, write_results

NAMED = [("first", "001"), ("second", "001"), ("second", "a/001"), ("a/b", "001"), ("a", "b/001"), ("first", "Ö 1.png")]


@pytest.fixture
def cell(tmp_path: Path) -> Path:
    """A cell with pictures of one grey value for each image and kind."""
    shown = {
        named: {kind: np.full((4, 4, 3), 10 * number + place, np.uint8) for place, kind in enumerate(KINDS)}
        for number, named in enumerate(NAMED)
    }
    write_results(tmp_path, "", nn.Identity(), pd.DataFrame({"e_r": [1.0]}), shown)
    return tmp_path


def test_images_of_the_same_name_keep_their_own_pictures(cell: Path):
    found = kept_pictures(cell)
    assert list(found) == sorted(NAMED)
    for number, named in enumerate(NAMED):
        values = [np.asarray(Image.open(found[named] / f"{kind}.png")).max() for kind in KINDS]
        assert values == [10 * number + place for place in range(3)]


def test_every_image_has_one_folder_below_that_of_its_test_set(cell: Path):
    folders = kept_pictures(cell)
    assert {folder.parents[1] for folder in folders.values()} == {cell / "pictures"}
    assert len(set(folders.values())) == len(NAMED)
    assert all(folder == picture_folder(cell, named) for named, folder in folders.items())


def test_one_without_all_its_pictures_is_passed_over(cell: Path):
    (picture_folder(cell, ("second", "a/001")) / "background.png").unlink()
    assert list(kept_pictures(cell)) == sorted(named for named in NAMED if named != ("second", "a/001"))


def test_the_picture_of_a_teacher_lies_beside_those_of_its_student(cell: Path):
    shown = {("second", "001"): {kind: np.zeros((4, 4, 3), np.uint8) for kind in KINDS}}
    write_results(cell, "teacher", nn.Identity(), pd.DataFrame({"e_r": [1.0]}), shown)
    with Image.open(picture_folder(cell, ("second", "001")) / "output_teacher.png") as picture:
        assert picture.size == (4, 4)
    assert not (picture_folder(cell, ("first", "001")) / "output_teacher.png").exists()
