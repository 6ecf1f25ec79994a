"""A study in W&B: one run, written again only when its cells change, failing quietly."""

from pathlib import Path

import pandas as pd
import pytest
import wandb

from slackoff.record.publish import publish_study, study_means

MEASURES = ("e_r", "e_r_oracle", "e_b", "removal_share", "psnr_rgb", "ssim_rgb")


def frames() -> tuple[pd.DataFrame, pd.DataFrame]:
    cells = pd.DataFrame({"id": ["b", "a", "c"], "patch_count": [64, 8, 256], "state": ["done", "done", "failed"]})
    rows = [
        {"cell": cell, **dict.fromkeys(MEASURES, base + number)}
        for cell, base in (("a", 1.0), ("b", 5.0))
        for number in (0, 1)
    ]
    return cells, pd.DataFrame(rows)


def test_means_are_per_finished_cell_in_order_of_the_axis():
    table = study_means(*frames(), "patch_count")
    assert table["cell"].tolist() == ["a", "b"]
    assert table["patch_count"].tolist() == [8, 64]
    assert table["e_r"].tolist() == [1.5, 5.5]


def test_a_study_is_one_offline_run_and_is_not_written_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = tmp_path / "patchcount-x"
    folder.mkdir()
    assert publish_study(folder, *frames(), "patch_count", "slackoff")
    assert not publish_study(folder, *frames(), "patch_count", "slackoff")
    (run,) = folder.glob("wandb/offline-run-*")
    assert run.name.endswith("study-patchcount-x")
    assert list(run.glob("*.wandb"))
    cells, images = frames()
    cells["state"] = "done"
    assert publish_study(folder, cells, images, "patch_count", "slackoff")


def test_wandb_that_raises_fails_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog):
    def refuse(**options: object) -> None:
        raise wandb.errors.CommError("no server")

    monkeypatch.setattr(wandb, "init", refuse)
    assert not publish_study(tmp_path, *frames(), "patch_count", "slackoff")
    assert "The study is not shown in W&B (CommError: no server)" in caplog.text
