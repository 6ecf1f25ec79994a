"""Tables, figures and pictures show PSNR and SSIM on the headline channel of the protocol."""

import pandas as pd
import pytest
from analysis_record import Cell, EditImages, MakeFrames

from slackoff.analysis import figures, load
from slackoff.analysis.page import _numbers
from slackoff.analysis.tables import (
    DO_NOTHING,
    cell_means,
    measures_of,
    readable,
    shown_measures,
    study_table,
    to_latex,
)


def on_y(images: pd.DataFrame) -> pd.DataFrame:
    """As a protocol with the headline channel Y leaves them: 1.5 dB above RGB, the input's figures as well."""
    return images.assign(
        psnr_y=images["psnr_rgb"] + 1.5,
        ssim_y=images["ssim_rgb"] + 0.02,
        psnr_y_input=28.25,
        ssim_y_input=0.875,
    )


@pytest.fixture
def frames(frames_of: MakeFrames, effect_cells: list[Cell], edit_images: EditImages):
    found = frames_of(effect_cells)
    for cell in effect_cells:
        edit_images(cell, on_y)
    return load(found.study.name, found.study.runs)


def test_a_table_shows_y_and_not_rgb(frames):
    table = study_table(frames)
    rows, (nothing,) = table[table["output"] == "network"], table[table["output"] == DO_NOTHING].to_dict("records")
    assert rows["psnr_y"].tolist() == pytest.approx([22.5, 28.5, 29.5])
    assert (nothing["psnr_y"], nothing["ssim_y"]) == (28.25, 0.875)
    assert "psnr_rgb" not in table
    text = readable(table, frames.study.axis)
    assert list(text.columns)[-2:] == ["PSNR (Y)", "SSIM (Y)"]
    assert "PSNR (Y)" in to_latex(table, frames.study.axis, "caption", "label")
    assert {"psnr_y", "ssim_y"} <= set(cell_means(frames)) & set(measures_of(table))


def test_curves_show_y(frames):
    table = study_table(frames)
    panels = figures.curves(table, frames.study.axis).axes[3:]
    assert [ax.get_title("left") for ax in panels] == ["PSNR (Y)", "SSIM (Y)"]
    drawn = panels[0].containers[0][0].get_ydata(orig=False)
    assert drawn.tolist() == pytest.approx([22.5, 28.5, 29.5])


def test_pictures_show_y(frames):
    row = frames.images.iloc[0]
    assert _numbers(row).endswith(f"PSNR {row['psnr_y']:.1f} dB")


def test_results_of_several_protocols_show_what_all_have(frames):
    images = frames.images.copy()
    images.loc[images["cell"] == images["cell"].iloc[0], "psnr_y_input"] = float("nan")
    assert shown_measures(images) == ["e_r", "removal_share", "e_b", "psnr_rgb", "ssim_rgb"]
    assert shown_measures(pd.DataFrame()) == shown_measures(images)
