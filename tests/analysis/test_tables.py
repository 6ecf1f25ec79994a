"""The study table: its numbers, and as text for a terminal, a page and a paper."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from analysis_record import Cell, MakeFrames, image_rows
from rich.console import Console

from slackoff.analysis import Frames, figures
from slackoff.analysis.page import _numbers
from slackoff.analysis.statistics import mean_interval
from slackoff.analysis.tables import (
    DO_NOTHING,
    MEASURES,
    cell_means,
    measures_of,
    print_table,
    readable,
    shown_measures,
    study_table,
    teacher_table,
    threshold_table,
    to_latex,
)
from slackoff.analysis.text import WARNING

DASH = "\N{EN DASH}"


def printed(frames: Frames, width: int) -> str:
    console = Console(width=width, record=True, force_terminal=False)
    print_table(frames, console)
    return console.export_text()


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


def test_a_row_counts_the_images_of_its_own_cells(frames_of: MakeFrames) -> None:
    cells = [Cell({"patch_count": n}, images=images) for n, images in ((8, 20), (64, 12))]
    assert study_table(frames_of(cells))["images"].tolist() == [20, 20, 12]


def test_a_teacher_is_compared_with_its_own_student(frames_of: MakeFrames) -> None:
    frames = frames_of([Cell({"patch_count": 8, "rain": rain}, psnr=psnr) for rain, psnr in (("a", 25), ("b", 30))])
    table = teacher_table(replace(frames, teachers=frames.images.assign(psnr_rgb=frames.images["psnr_rgb"] + 0.5)))
    assert table["rain"].tolist() == ["a", "b"]
    assert table["psnr_rgb"].tolist() == pytest.approx([25.5, 30.5])
    assert table["psnr_rgb_gap"].tolist() == pytest.approx([0.5, 0.5])


def test_groups_share_one_row_that_does_nothing_where_the_test_images_are_the_same(frames_of: MakeFrames) -> None:
    cells = [Cell({"patch_count": 8, "rain": rain}) for rain in ("small", "large")]
    table = study_table(frames_of(cells))
    assert list(table["output"]) == ["rainy input", "network", "network"]
    assert table["rain"].isna().tolist() == [True, False, False]
    table = study_table(frames_of(cells, edits={1: lambda rows: rows.assign(psnr_rgb_input=20.0)}))
    assert table.loc[table["output"] == "rainy input", "rain"].tolist() == ["small", "large"]
    assert table.loc[table["output"] == "rainy input", "psnr_rgb"].tolist() == pytest.approx([25.5, 20.0])


def test_the_row_that_does_nothing_keeps_the_labels_that_tell_its_numbers_apart(frames_of: MakeFrames) -> None:
    cells = [
        Cell({"patch_count": 8, "network": n, "background": b}) for n in ("resnet", "unet") for b in ("celeba", "div2k")
    ]
    brighter = dict.fromkeys((1, 3), lambda rows: rows.assign(psnr_rgb_input=rows["psnr_rgb_input"] + 1))
    table = study_table(frames_of(cells, edits=brighter))
    nothing = table[table["output"] == "rainy input"]
    assert nothing["background"].tolist() == ["celeba", "div2k"]
    assert nothing["network"].isna().all()
    assert nothing["psnr_rgb"].round(6).tolist() == [25.5, 26.5]
    e_r = figures.curves(table, "patch_count").axes[0]
    assert "oracle\n40.0" in [text.get_text() for text in e_r.texts]


def test_thresholds_have_a_row_each(frames_of: MakeFrames) -> None:
    table = threshold_table(frames_of([Cell({"patch_count": 8}, e_r=30, e_b=10)]))
    assert table["threshold"].tolist() == [0, 10, 20, 50]
    np.testing.assert_allclose(table["e_r"], [25, 30, 34, 45])
    np.testing.assert_allclose(table["e_b"], [5, 10, 14, 25])
    np.testing.assert_allclose(table["e_r_oracle"], [35, 40, 44, 55])


def test_entries_show_mean_oracle_and_interval(frames_of: MakeFrames, effect_cells: list[Cell]) -> None:
    table = study_table(frames_of(effect_cells))
    text = readable(table, "patch_count")
    assert list(text.columns) == ["N", "E_R (oracle)", "Removal share (oracle)", "E_B", "PSNR", "SSIM"]
    row = table.iloc[1]
    assert text["N"][1] == "8"
    assert text["E_R (oracle)"][1] == f"48.0 (40.0) [{row['e_r_low']:.1f}, {row['e_r_high']:.1f}]"
    assert text["SSIM"][1] == f"0.900 [{row['ssim_rgb_low']:.3f}, {row['ssim_rgb_high']:.3f}]"
    assert text.iloc[0].tolist()[:4] == ["rainy input", "0.0 (40.0)", "0.00 (0.96)", DASH]


def test_states_stand_in_for_numbers(frames_of: MakeFrames) -> None:
    cells = [Cell({"patch_count": 8}, state="failed"), *(Cell({"patch_count": 64, "seed": s}) for s in (0, 1))]
    cells[2].state = "pending"
    text = readable(study_table(frames_of(cells)), "patch_count")
    assert text.iloc[1].tolist() == ["8", "failed", DASH, DASH, DASH, DASH]
    assert text["N"][2] == "64 (1 of 2)"


@pytest.mark.parametrize("width", [80, 90, 140])
def test_terminal_table_fits_and_holds_every_row(frames_of: MakeFrames, effect_cells: list[Cell], width: int) -> None:
    output = printed(frames_of([*effect_cells, Cell({"patch_count": 16}, state="failed")]), width)
    assert max(map(len, output.splitlines())) <= width
    for text in ("rainy input", "48.0 (40.0)", "36.0 (40.0)", "failed", "0.850", "Patch count", "E_R (oracle)"):
        assert text in output
    interval = r"\[45\.\d, 50\.\d\]" if width == 140 else rf"45\.\d{DASH}50\.\d"
    assert re.search(interval, output)
    assert "\N{HORIZONTAL ELLIPSIS}" not in output


def test_terminal_table_prints_markup_as_it_is(frames_of: MakeFrames) -> None:
    cells = [Cell({"patch_count": count, "rain": "[red]x[/red]"}) for count in (8, 16)]
    cells.append(Cell({"patch_count": 8, "rain": "[0, 1]"}))
    output = printed(frames_of(cells), 160)
    assert "[red]x[/red]" in output
    assert "[0, 1]" in output


def test_latex_is_a_booktabs_table_with_everything_escaped(frames_of: MakeFrames, effect_cells: list[Cell]) -> None:
    for cell in effect_cells:
        cell.axes["rain"] = "50 % _big_ & {x} #1 $5 ~^\\"
    cells = [*effect_cells, Cell({"patch_count": 8, "rain": "plain"}, share=-0.2)]
    latex = to_latex(study_table(frames_of(cells)), "patch_count", "100 % of it & more_", "tab:x")
    for command in (r"\toprule", r"\midrule", r"\bottomrule", r"\label{tab:x}", r"\caption{100 \% of it \& more\_}"):
        assert command in latex
    assert r"50 \% \_big\_ \& \{x\} \#1 \$5 \textasciitilde{}\textasciicircum{}\textbackslash{}" in latex
    assert r"$E_R$ (oracle) & Removal share (oracle) & $E_B$ & PSNR & SSIM \\" in latex
    assert "$-$0.20 (0.96)" in latex
    rows = [line for line in latex.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 6
    for row in rows:
        assert len(re.findall(r"(?<!\\)&", row)) == 6
    assert latex.isascii()
    bare = latex.replace(r"\{", "").replace(r"\}", "")
    assert bare.count("{") == bare.count("}")


def test_values_with_other_numbers_of_images_say_how_many(frames_of: MakeFrames) -> None:
    cells = [Cell({"patch_count": 8}, images=6), Cell({"patch_count": 64}), Cell({"patch_count": 256}, state="failed")]
    text = readable(study_table(frames_of(cells)), "patch_count")
    assert text["N"].tolist() == [DO_NOTHING, "8 (6 images)", "64 (20 images)", "256"]


def test_readable_keeps_the_rows_in_order(frames_of: MakeFrames) -> None:
    cells = [Cell({"patch_count": count, "rain": rain}) for rain in ("small", "large") for count in (64, 8)]
    text = readable(study_table(frames_of(cells)), "patch_count")
    assert text["N"].tolist() == ["rainy input", "8", "64", "8", "64"]
    assert text["rain"].tolist() == ["", "small", "small", "large", "large"]


@pytest.mark.parametrize(("size", "warned"), [("smoke", True), ("laptop", False), ("", False)])
def test_the_printed_table_of_smoke_size_is_headed_by_the_warning(
    frames_of: MakeFrames, effect_cells: list[Cell], size: str, warned: bool
) -> None:
    text = printed(frames_of(effect_cells, size=size), 200)
    assert (text.startswith(WARNING), WARNING in text) == (warned, warned)


def on_y(images: pd.DataFrame) -> pd.DataFrame:
    """As a protocol with the headline channel Y leaves them: 1.5 dB above RGB, the input's figures as well."""
    return images.assign(
        psnr_y=images["psnr_rgb"] + 1.5,
        ssim_y=images["ssim_rgb"] + 0.02,
        psnr_y_input=28.25,
        ssim_y_input=0.875,
    )


@pytest.fixture
def frames(frames_of: MakeFrames, effect_cells: list[Cell]) -> Frames:
    return frames_of(effect_cells, edits=dict.fromkeys(range(3), on_y))


def test_a_table_shows_y_and_not_rgb(frames: Frames) -> None:
    table = study_table(frames)
    rows, (nothing,) = table[table["output"] == "network"], table[table["output"] == DO_NOTHING].to_dict("records")
    assert rows["psnr_y"].tolist() == pytest.approx([22.5, 28.5, 29.5])
    assert (nothing["psnr_y"], nothing["ssim_y"]) == (28.25, 0.875)
    assert "psnr_rgb" not in table
    text = readable(table, frames.study.axis)
    assert list(text.columns)[-2:] == ["PSNR (Y)", "SSIM (Y)"]
    assert "PSNR (Y)" in to_latex(table, frames.study.axis, "caption", "label")
    assert {"psnr_y", "ssim_y"} <= set(cell_means(frames)) & set(measures_of(table))


def test_curves_show_y(frames: Frames) -> None:
    table = study_table(frames)
    panels = figures.curves(table, frames.study.axis).axes[3:]
    assert [ax.get_title("left") for ax in panels] == ["PSNR (Y)", "SSIM (Y)"]
    drawn = panels[0].containers[0][0].get_ydata(orig=False)
    assert drawn.tolist() == pytest.approx([22.5, 28.5, 29.5])


def test_pictures_show_y(frames: Frames) -> None:
    row = frames.images.iloc[0]
    assert _numbers(row).endswith(f"PSNR {row['psnr_y']:.1f} dB")


def test_results_of_several_protocols_show_what_all_have(frames: Frames) -> None:
    images = frames.images.copy()
    images.loc[images["cell"] == images["cell"].iloc[0], "psnr_y_input"] = float("nan")
    assert shown_measures(images) == ["e_r", "removal_share", "e_b", "psnr_rgb", "ssim_rgb"]
    assert shown_measures(pd.DataFrame()) == shown_measures(images)
