"""Loading a record into tidy frames."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from analysis_record import Cell, EditImages, MakeFrames, image_rows, step_rows, write_study

from slackoff.analysis import load
from slackoff.errors import SlackoffError


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
        {"step": 1, "train/loss": 0.5},
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


def test_columns_that_a_cell_lacks_are_nan_there(runs: Path, frames_of: MakeFrames) -> None:
    cells = [Cell({"patch_count": 8}), Cell({"patch_count": 64})]
    study = write_study(runs, cells)
    image_rows(cells[0]).drop(columns="e_b").to_parquet(runs / "cells" / cells[0].id / "images.parquet")
    images = load(study).images.set_index("cell")
    assert images.loc[cells[0].id, "e_b"].isna().all()
    assert images.loc[cells[1].id, "e_b"].notna().all()


def test_a_damaged_cell_is_named_and_the_others_load(runs: Path) -> None:
    cells = [Cell({"patch_count": count}) for count in (8, 16, 64)]
    study = write_study(runs, cells)
    (runs / "cells" / cells[0].id / "status.json").write_text('{"state": "do')
    (runs / "cells" / cells[1].id / "images.parquet").write_bytes(b"PAR1 no more")
    frames = load(study)
    assert list(frames.cells["state"]) == ["unreadable", "unreadable", "done"]
    assert "status.json" in frames.cells["last_error"][0]
    assert "images.parquet" in frames.cells["last_error"][1]
    assert set(frames.images["patch_count"]) == {64}


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
