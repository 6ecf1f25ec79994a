"""The meaning of the columns, without torch."""

import subprocess
import sys

import numpy as np
import pytest

from slackoff.metrics.columns import COLUMNS, PSNR_CAP_DB, for_averaging, measure_columns


def test_columns_need_no_torch():
    code = "import sys, slackoff.metrics.columns; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_column_is_explained_in_one_line():
    for name, column in COLUMNS.items():
        assert column.label, name
        assert column.explanation.endswith("."), name
        assert "\n" not in column.explanation, name
        assert column.unit in ("grey levels", "dB", ""), name


def test_direction_of_improvement():
    higher = {name for name, column in COLUMNS.items() if column.better == "higher"}
    lower = {name for name, column in COLUMNS.items() if column.better == "lower"}
    assert {"e_r", "e_r_t50", "removal_share", "psnr_rgb", "ssim_y"} <= higher
    assert {"e_b", "e_b_t0", "residual_rms", "leftover_rms"} <= lower
    references = {name for name in COLUMNS if "oracle" in name or name.endswith("_input")}
    assert references == set(COLUMNS) - higher - lower


def test_labels_tell_the_thresholds_apart():
    columns = measure_columns((2.5, 30), 30)
    assert columns["e_r_t2.5"].label == "E_R (R > 2.5)"
    assert columns["e_r"].label == "E_R"
    assert "R > 30 of 255" in columns["removal_share"].explanation
    labels = [column.label for column in columns.values()]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("name", ["psnr_rgb", "psnr_y", "psnr_rgb_input"])
def test_a_perfect_image_does_not_make_the_mean_psnr_infinite(name):
    values = for_averaging(name, [np.inf, 30.0, np.nan])
    assert np.nanmean(values) == (PSNR_CAP_DB + 30) / 2 == 65
    assert np.isnan(values[2])


def test_other_columns_are_averaged_as_they_are():
    np.testing.assert_array_equal(for_averaging("e_r_t10", [140.0, np.nan]), [140.0, np.nan])
