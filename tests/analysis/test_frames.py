"""Loading a study into frames: what rows there are, of which dtypes, and what each column means."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from analysis_record import Cell, EditImages, MakeFrames, image_rows, step_rows, write_study

from slackoff.analysis import load
from slackoff.analysis.frames import describe, setting_dtype
from slackoff.analysis.groups import groups
from slackoff.errors import SlackoffError

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


def test_cells_have_one_row_each_whatever_their_state(frames_of: MakeFrames) -> None:
    states = {8: "done", 16: "failed", 32: "pending", 64: "running", 128: "missing"}
    cells = [Cell({"patch_count": count}, state=state, last_error="boom") for count, state in states.items()]
    frames = frames_of(cells)
    assert dict(zip(frames.cells["patch_count"], frames.cells["state"], strict=True)) == states
    assert list(frames.cells["id"]) == [cell.id for cell in cells]
    assert list(frames.unfinished["patch_count"]) == [16, 32, 64, 128]
    assert set(frames.images["patch_count"]) == {8}


def test_cells_carry_label_cost_and_times(frames_of: MakeFrames) -> None:
    cells = frames_of([Cell({"patch_count": 8}, label={"rain": "medium"})]).cells
    row = cells.iloc[0]
    assert (row["network"], row["rain"], row["train_seconds"], row["evaluate_seconds"]) == ("unet", "medium", 100, 8)
    assert (row["finished_at"] - row["started_at"]).total_seconds() == 120
    assert cells.columns.is_unique


def test_images_are_those_written_with_the_axes_beside_them(frames_of: MakeFrames) -> None:
    cells = [Cell({"patch_count": count, "rain": "small"}, e_r=count) for count in (8, 64)]
    images = frames_of(cells).images
    assert len(images) == 40
    for cell in cells:
        mine, written = images[images["cell"] == cell.id], image_rows(cell)
        np.testing.assert_array_equal(mine["e_r"], written["e_r"])
        assert set(mine["patch_count"]) == {cell.axes["patch_count"]}
        assert set(mine["rain"]) == {"small"}
        assert list(mine["image"]) == list(written["image"])


def test_steps_are_those_written_from_parquet_and_from_lines(runs: Path) -> None:
    cells = [Cell({"patch_count": 8}), Cell({"patch_count": 64}, state="running")]
    study = write_study(runs, cells)
    written = step_rows(cells[1])
    lines = [
        json.dumps({key: value for key, value in row.items() if value == value}) for row in written.to_dict("records")
    ]
    (runs / "cells" / cells[1].id / "steps.jsonl").write_text("\n".join(lines) + '\n{"step": 420, "train/lo')
    steps = load(study).steps
    for cell in cells:
        mine = steps[steps["cell"] == cell.id].reset_index(drop=True)
        pd.testing.assert_frame_equal(mine[written.columns], written, check_dtype=False)


def test_a_line_torn_by_a_kill_costs_that_line_only(runs: Path) -> None:
    cell = Cell({"patch_count": 8}, state="running")
    study = write_study(runs, [cell])
    path = runs / "cells" / cell.id / "steps.jsonl"
    path.write_bytes(b'{"step": 1, "elapsed_s": 1}\n{"step": 2, "ela{"step": 2, "elapsed_s": 9}\n{"step": 3}\n{"st\xc3')
    assert list(load(study).steps["step"]) == [1, 3]


def test_events_of_one_step_make_one_row_and_the_last_value_counts(runs: Path) -> None:
    cell = Cell({"patch_count": 8}, state="failed")
    study = write_study(runs, [cell])
    rows = [
        {"step": 1, "elapsed_s": 0.1, "train/loss": 0.5},
        {"step": 2, "train/loss": 0.4},
        {"step": 2, "test/e_r": 7.0},
        {"step": 1, "train/loss": 0.6},
    ]
    (runs / "cells" / cell.id / "steps.jsonl").write_text("\n".join(map(json.dumps, rows)))
    steps = load(study).steps
    assert list(steps["step"]) == [1, 2]
    assert list(steps["train/loss"]) == [0.6, 0.4]
    assert np.isnan(steps["test/e_r"][0])
    assert steps["test/e_r"][1] == 7.0


def test_only_the_test_sets_of_the_study_are_loaded(runs: Path, edit_images: EditImages) -> None:
    cells = [Cell({"patch_count": count}, test_set="own") for count in (8, 64)]
    write_study(runs, cells)
    for cell in cells:
        edit_images(cell, lambda rows: pd.concat([rows, rows.assign(test_set="div2k"), rows.assign(test_set="r100")]))

    def study_of(test_sets: list[str]) -> Path:
        path = runs / "studies" / "patchcount" / "study.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"test_sets": test_sets}))
        return path.parent

    images = load(study_of(["div2k"])).images
    assert (set(images["test_set"]), len(images)) == ({"div2k"}, 40)
    assert set(load(study_of(["div2k", "own"])).images["test_set"]) == {"div2k", "own"}
    assert set(load(study_of([])).images["test_set"]) == {"div2k", "own", "r100"}


def test_a_test_set_that_no_cell_was_tested_on_is_refused(runs: Path) -> None:
    study = write_study(runs, [Cell({"patch_count": 8}, test_set="own")], test_sets=["div2"])
    with pytest.raises(SlackoffError, match=r"study\.test_sets of the study 'patchcount' names 'div2'.*: own"):
        load(study)


def test_a_study_without_results_may_name_any_test_set(runs: Path) -> None:
    assert load(write_study(runs, [Cell({"patch_count": 8}, state="failed")], test_sets=["div2k"])).images.empty


def test_results_of_a_cell_that_is_not_done_do_not_count(runs: Path) -> None:
    cell = Cell({"patch_count": 8}, state="running")
    study = write_study(runs, [cell])
    image_rows(cell).to_parquet(runs / "cells" / cell.id / "images.parquet")
    assert load(study).images.empty


def test_importing_the_room_loads_neither_torch_nor_what_draws() -> None:
    code = "import sys, slackoff.analysis; print([m for m in ('torch', 'matplotlib', 'seaborn') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


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


def test_a_cell_that_lacks_a_part_of_joined_test_sets_has_no_mean_of_them(frames_of: MakeFrames) -> None:
    def both(rows: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([rows.assign(test_set=name) for name in "ab"])

    joined = {"joined_test_sets": {"both": ["a", "b"]}}
    edits = {0: both, 1: lambda rows: rows.assign(test_set="a")}
    images = frames_of([cell(8), cell(64)], edits=edits, options=joined).images
    assert images.groupby(["test_set", "patch_count"], observed=True).size().to_dict() == {
        ("a", 8): 20,
        ("a", 64): 20,
        ("b", 8): 20,
        ("both", 8): 40,
    }
    with pytest.raises(SlackoffError, match="calls a, b together 'a', as a test set of its own is called"):
        frames_of([cell(8)], edits={0: both}, options={"joined_test_sets": {"a": ["a", "b"]}})


def test_every_image_of_test_sets_that_count_as_one_counts(runs: Path, edit_images: EditImages) -> None:
    """Equal names in both, and names whose slashes could stand in either: a + b/1 and a/b + 1."""
    parts = {"a": ["1", "b/1", "x"], "a/b": ["1", "x", "y"]}
    one = cell(8)
    rows = pd.DataFrame([{"test_set": part, "image": image} for part in parts for image in parts[part]])
    study = write_study(runs, [one], options={"joined_test_sets": {"both": list(parts)}}, test_sets=["both"])
    edit_images(one, lambda old: old.head(6).assign(**rows, psnr_rgb=[20.0, 21.0, 22.0, 33.0, 34.0, 35.0]))
    frames = load(study)
    (group,) = groups(frames)
    assert len(group.image_names) == 6
    assert group.level(8, "psnr_rgb").mean == pytest.approx(27.5)
    recorded = {frames.recorded(("both", image)) for image in group.image_names}
    assert recorded == {(part, image) for part in parts for image in parts[part]}
