"""The numbers of the study table."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from analysis_record import Cell, EditImages, MakeFrames, image_rows, write_study

from slackoff.analysis import load
from slackoff.analysis.statistics import mean_interval
from slackoff.analysis.tables import MEASURES, cell_means, study_table, threshold_table


def test_rows_are_the_means_and_intervals_of_the_cells(frames_of: MakeFrames, effect_cells: list[Cell]) -> None:
    table = study_table(frames_of(effect_cells))
    networks = table[table["output"] == "network"].set_index("patch_count")
    assert list(networks.index) == [8, 64, 1024]
    for cell in effect_cells:
        row, images = networks.loc[cell.axes["patch_count"]], image_rows(cell)
        for measure in MEASURES:
            interval = mean_interval(images[measure])
            assert row[measure] == pytest.approx(images[measure].mean())
            assert (row[f"{measure}_low"], row[f"{measure}_high"]) == (interval.low, interval.high)
        assert (row["e_r_oracle"], row["removal_share_oracle"]) == pytest.approx((40.0, 0.96))
        assert (row["state"], row["done"], row["cells"], row["images"]) == ("done", 1, 1, 20)


def test_the_first_row_does_nothing(frames_of: MakeFrames, effect_cells: list[Cell]) -> None:
    row = study_table(frames_of(effect_cells)).iloc[0]
    assert row["output"] == "rainy input"
    assert pd.isna(row["patch_count"])
    assert (row["e_r"], row["removal_share"]) == (0, 0)
    assert (row["e_r_oracle"], row["psnr_rgb"], row["ssim_rgb"]) == pytest.approx((40.0, 25.5, 0.85))
    assert row["psnr_rgb_low"] < 25.5 < row["psnr_rgb_high"]
    assert np.isnan(row["e_b"])


def test_cells_without_results_keep_their_row(frames_of: MakeFrames) -> None:
    cells = [
        Cell({"patch_count": 8}),
        Cell({"patch_count": 64}, state="failed"),
        Cell({"patch_count": 4}, state="pending"),
    ]
    table = study_table(frames_of(cells)).set_index("patch_count")
    assert (table.loc[64, "state"], table.loc[4, "state"]) == ("failed", "pending")
    assert table.loc[[4, 64], list(MEASURES)].isna().all(axis=None)
    assert list(table.index[1:]) == [4, 8, 64]


def test_seeds_share_a_row(frames_of: MakeFrames) -> None:
    means = {0: 30.0, 1: 34.0, 2: 41.0}
    cells = [Cell({"patch_count": 8, "seed": seed}, e_r=mean) for seed, mean in means.items()]
    cells[2].state = "failed"
    frames = frames_of(cells)
    row = study_table(frames).iloc[1]
    assert row["e_r"] == pytest.approx(32.0)
    assert (row["done"], row["cells"], row["state"]) == (2, 3, "done, failed")
    np.testing.assert_allclose(cell_means(frames)["e_r"], [30.0, 34.0])


def test_groups_share_one_row_that_does_nothing_where_the_test_images_are_the_same(
    runs: Path, edit_images: EditImages
) -> None:
    cells = [Cell({"patch_count": 8, "rain": rain}) for rain in ("small", "large")]
    study = write_study(runs, cells)
    table = study_table(load(study))
    assert list(table["output"]) == ["rainy input", "network", "network"]
    assert table["rain"].isna().tolist() == [True, False, False]
    edit_images(cells[1], lambda rows: rows.assign(psnr_rgb_input=20.0))
    table = study_table(load(study))
    assert table.loc[table["output"] == "rainy input", "rain"].tolist() == ["small", "large"]
    assert table.loc[table["output"] == "rainy input", "psnr_rgb"].tolist() == pytest.approx([25.5, 20.0])


def test_thresholds_have_a_row_each(frames_of: MakeFrames) -> None:
    table = threshold_table(frames_of([Cell({"patch_count": 8}, e_r=30, e_b=10)]))
    assert table["threshold"].tolist() == [0, 10, 20, 50]
    np.testing.assert_allclose(table["e_r"], [25, 30, 34, 45])
    np.testing.assert_allclose(table["e_b"], [5, 10, 14, 25])
    np.testing.assert_allclose(table["e_r_oracle"], [35, 40, 44, 55])


def test_a_study_without_any_result_has_a_table(frames_of: MakeFrames) -> None:
    table = study_table(frames_of([Cell({"patch_count": 8}, state="failed")]))
    assert table["output"].tolist() == ["rainy input", "network"]
    assert np.isnan(table["psnr_rgb"]).all()
