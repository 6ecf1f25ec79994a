"""A study in W&B: one run, written again only when its numbers change, failing quietly."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wandb
from published_record import image_rows, write_record

from slackoff.analysis import load
from slackoff.wandb_view.publish import curves, show_study, study_run_id, with_lines


def study_table() -> pd.DataFrame:
    """Two groups on two test sets; the row without a value of the axis is that of the rainy input."""
    table = pd.DataFrame(
        {
            "patch_count": pd.array([None, 64, 8, 8, 64], dtype="Int64"),
            "network": [None, "unet", "unet", "resnet", "resnet"],
            "test set": "r100",
            "output": ["rainy input", *["network"] * 4],
            "e_r": [0.0, 30.0, 50.0, 45.0, np.nan],
        }
    )
    return table.assign(**dict.fromkeys(("removal_share", "e_b", "psnr_rgb", "ssim_rgb"), table["e_r"] / 100))


LABELS = ["network", "test set"]


def test_rows_with_results_are_ordered_and_say_which_line_they_belong_to():
    rows = with_lines(study_table(), "patch_count", LABELS)
    assert rows["line"].tolist() == ["resnet, r100", "unet, r100", "unet, r100"]
    assert rows["patch_count"].tolist() == [8, 8, 64]
    assert rows["e_r"].tolist() == [45.0, 50.0, 30.0]


def test_a_study_of_one_group_has_one_line():
    assert set(with_lines(study_table(), "patch_count", [])["line"]) == {"all"}


def test_every_measure_has_a_plot_for_each_test_set():
    rows = with_lines(study_table(), "patch_count", LABELS)
    both = pd.concat([rows, rows.assign(**{"test set": "own"})], ignore_index=True)
    assert curves(both)[:2] == [("study on r100", "e_r", "r100"), ("study on r100", "removal_share", "r100")]
    assert {(key, name) for key, _, name in curves(both)} == {("study on r100", "r100"), ("study on own", "own")}
    assert len(curves(both)) == 10
    assert curves(rows.drop(columns="test set"))[0] == ("study", "e_r", "")


def test_an_id_has_no_character_that_wandb_refuses():
    assert study_run_id("a b/c:d") == "study-a-b-c-d"
    assert len(study_run_id("x" * 200)) == 128


def test_a_study_is_one_offline_run_and_is_not_written_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = write_record(tmp_path / "runs")
    assert show_study(load(folder), "slackoff")
    assert not show_study(load(folder), "slackoff")
    (run,) = folder.glob("wandb/offline-run-*")
    assert run.name.endswith("study-patchcount-smoke-x")
    assert list(run.glob("*.wandb"))
    files = {path.name.split("_0_")[0] for path in run.glob("files/media/*/**/*") if path.is_file()}
    assert {"study", "study on own", "study on r100like", "claims", "curves", "report"} <= files
    (table,) = run.glob("files/media/table/study_0_*.json")
    content = json.loads(table.read_text())
    rows = pd.DataFrame(content["data"], columns=content["columns"]).set_index(["test set", "patch_count"])
    assert rows["e_r"].to_dict() == {
        ("own", 8): 50.0,
        ("own", 64): 45.0,
        ("r100like", 8): 60.0,
        ("r100like", 64): 55.0,
    }
    assert (rows["e_r_low"] < rows["e_r"]).all()
    image_rows(33.0).to_parquet(tmp_path / "runs/cells/0000000000bb/images.parquet")
    shutil.rmtree(run)
    assert show_study(load(folder), "slackoff")


def test_wandb_that_raises_fails_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog):
    def refuse(**options: object) -> None:
        raise wandb.errors.CommError("no server")

    monkeypatch.setattr(wandb, "init", refuse)
    assert not show_study(load(write_record(tmp_path / "runs")), "slackoff")
    assert "The study is not shown in W&B (CommError: no server)" in caplog.text
