"""A study in W&B: one run, written again only when its numbers change, failing quietly."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wandb

from slackoff.record.publish import publish_study, with_lines


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


def test_a_study_is_one_offline_run_and_is_not_written_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = tmp_path / "patchcount-x"
    folder.mkdir()
    table = study_table()
    assert publish_study(folder, table, "patch_count", LABELS, "slackoff")
    assert not publish_study(folder, table, "patch_count", LABELS, "slackoff")
    (run,) = folder.glob("wandb/offline-run-*")
    assert run.name.endswith("study-patchcount-x")
    assert list(run.glob("*.wandb"))
    table.loc[4, "e_r"] = 33.0
    assert publish_study(folder, table, "patch_count", LABELS, "slackoff")


def test_wandb_that_raises_fails_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog):
    def refuse(**options: object) -> None:
        raise wandb.errors.CommError("no server")

    monkeypatch.setattr(wandb, "init", refuse)
    assert not publish_study(tmp_path, study_table(), "patch_count", LABELS, "slackoff")
    assert "The study is not shown in W&B (CommError: no server)" in caplog.text
