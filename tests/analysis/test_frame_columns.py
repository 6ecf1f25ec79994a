"""The dtypes of frames do not depend on what became of the cells, and every column says its unit and meaning."""

import json
from pathlib import Path

import pandas as pd
import pytest
from analysis_record import Cell, EditImages, MakeFrames, write_study

from slackoff.analysis import Frames, load
from slackoff.analysis.columns import describe, setting_dtype
from slackoff.analysis.groups import groups

CELLS = {
    "id": "string",
    "patch_count": "Int64",
    "rain": "category",
    "state": "category",
    "attempts": "Int64",
    "started_at": "datetime64[ns, UTC]",
    "finished_at": "datetime64[ns, UTC]",
    "train_seconds": "float64",
    "evaluate_seconds": "float64",
    "seconds_to_first_step": "float64",
    "step": "Int64",
    "steps_total": "Int64",
    "last_error": "string",
    "wandb_id": "string",
    "notes": "object",
}
LABELS = {"network": "category", "background": "category", "seed": "Int64"}
STEPS = {"cell": "category", "step": "int64", "elapsed_s": "float64"}
IMAGES = {
    "cell": "category",
    "patch_count": "Int64",
    "rain": "category",
    "test_set": "category",
    "image": "category",
    "height": "Int64",
    "width": "Int64",
    "e_r_t50": "float64",
    "psnr_rgb": "float64",
}


def cell(count: int, state: str = "done", rain: str = "small") -> Cell:
    return Cell({"patch_count": count, "rain": rain}, state=state)


def dtypes(frame: pd.DataFrame, names: dict[str, str]) -> dict[str, str]:
    return {name: str(frame[name].dtype) for name in names}


@pytest.mark.parametrize(
    "cells",
    [
        [cell(8)],
        [cell(8), cell(64, "failed"), cell(128, "running", "large"), cell(256, "missing")],
        [cell(8, "pending")],
        [cell(8, "missing")],
    ],
    ids=["one", "many", "no results", "nothing at all"],
)
def test_dtypes_are_those_documented_whatever_the_cells_are(cells: list[Cell], frames_of: MakeFrames) -> None:
    frames = frames_of(cells)
    assert dtypes(frames.cells, CELLS) == CELLS
    assert dtypes(frames.steps, STEPS) == STEPS
    assert dtypes(frames.images, IMAGES) == dtypes(frames.teachers, IMAGES) == IMAGES
    if "network" in frames.cells:
        assert dtypes(frames.cells, LABELS) == LABELS
    assert list(frames.steps.columns[:3]) == list(STEPS)


def test_measures_stay_float_where_a_cell_wrote_them_as_whole_numbers(runs: Path, edit_images: EditImages) -> None:
    cells = [cell(8), cell(64)]
    study = write_study(runs, cells)
    edit_images(cells[0], lambda rows: rows.assign(e_r=40, height=128.0, image=rows["image"].astype("category")))
    edit_images(cells[1], lambda rows: rows.assign(e_b=None))
    images = load(study).images
    assert dtypes(images, IMAGES) == IMAGES
    assert list(images["e_r"][:20]) == [40.0] * 20
    assert images["e_b"].isna().sum() == 20
    assert (images["height"] == 128).all()


def test_names_are_in_the_order_of_the_study_and_sizes_in_their_own(frames_of: MakeFrames) -> None:
    frames = frames_of([cell(8, rain="medium"), cell(64, rain="small"), cell(16, rain="large")])
    assert list(frames.cells["rain"].cat.categories) == ["small", "medium", "large"]
    assert list(frames.images.sort_values("rain", kind="stable")["patch_count"].unique()) == [64, 8, 16]
    assert list(frames.steps["cell"].cat.categories) == list(frames.cells["id"])
    assert list(frames.images["image"].cat.categories) == sorted(frames.images["image"].unique())


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([8, None, 16], "Int64"),
        ([8, 0.5], "float64"),
        ([True, False], "category"),
        (["b", "a"], "category"),
        ([64, "all"], "category"),
        ([None], "category"),
    ],
)
def test_settings_are_numbers_only_where_all_of_them_are(values: list[object], dtype: str) -> None:
    assert str(setting_dtype(values)) == dtype


def test_the_order_of_settings_is_the_natural_one() -> None:
    assert list(setting_dtype(["b", "a", "b"]).categories) == ["b", "a"]
    assert list(setting_dtype([True, False]).categories) == [False, True]
    assert list(setting_dtype(["large", "small"]).categories) == ["small", "large"]
    assert setting_dtype([None], "seed") == "Int64"


def test_cells_that_lack_an_axis_have_it_missing_in_all_frames(frames_of: MakeFrames) -> None:
    frames = frames_of([Cell({"patch_count": 8, "width": 3}), Cell({"patch_count": 16})])
    assert frames.cells["width"].isna().tolist() == [False, True]
    assert {group.name for group in groups(frames)} == {"width = 3", "width = nan"}


def test_every_column_has_a_unit_and_a_meaning(runs: Path, edit_images: EditImages) -> None:
    one = cell(8)
    study = write_study(runs, [one])
    edit_images(one, lambda rows: rows.assign(e_r_t15=1.0, photograph="p"))
    told = load(study).describe()
    assert told.loc[("steps", "elapsed_s"), "unit"] == "s"
    assert told.loc[("cells", "patch_count"), ["dtype", "unit"]].tolist() == ["Int64", "patches"]
    assert told.loc[("images", "e_r"), "unit"] == told.loc[("steps", "test/e_r"), "unit"] == "grey levels"
    assert "R > 15 of 255" in told.loc[("images", "e_r_t15"), "meaning"]
    assert "headline threshold" in told.loc[("images", "e_r"), "meaning"]
    assert told.loc[("steps", "test/psnr_rgb"), "unit"] == "dB"
    assert "axis" in told.loc[("images", "rain"), "meaning"]
    assert (told["meaning"].str.len() > 10).all()
    assert not told["meaning"].str.contains("Not of this version").any()


def test_a_figure_of_a_teacher_or_of_all_pixels_says_so() -> None:
    frame = pd.DataFrame(columns=["cell", "final/teacher/e_b_pooled", "train/steps_per_second", "train/edge", "gone"])
    told = describe(frame)
    assert "teacher" in told.loc["final/teacher/e_b_pooled", "meaning"]
    assert "all images at once" in told.loc["final/teacher/e_b_pooled", "meaning"]
    assert told.loc["train/steps_per_second", "unit"] == "steps/s"
    assert "'edge'" in told.loc["train/edge", "meaning"]
    assert "Not of this version" in told.loc["gone", "meaning"]


def test_test_sets_that_count_as_one_are_a_category_too(runs: Path, edit_images: EditImages) -> None:
    one = cell(8)
    joined = {"joined_test_sets": {"both": ["a", "b"]}}
    study = write_study(runs, [one], options=joined, test_sets=["both", "a"])
    edit_images(one, lambda rows: pd.concat([rows.assign(test_set="b"), rows.assign(test_set="a")]))
    images = load(study).images
    assert list(images["test_set"].cat.categories) == ["both", "a"]
    assert images["test_set"].value_counts().to_dict() == {"both": 40, "a": 20}
    assert dtypes(images, IMAGES) == IMAGES


def test_frames_loaded_twice_are_equal(runs: Path) -> None:
    study = write_study(runs, [cell(8), cell(16, "failed")])
    first, second = load(study), load(study)
    assert isinstance(first, Frames)
    for name in ("cells", "steps", "images", "teachers"):
        pd.testing.assert_frame_equal(getattr(first, name), getattr(second, name))
    assert json.loads((study / "study.json").read_text())["name"] == "patchcount"
