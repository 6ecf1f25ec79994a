"""Dashed lines of oracles and inputs that differ between groups."""

from itertools import pairwise
from pathlib import Path

from analysis_record import Cell, EditImages, write_study
from matplotlib.axes import Axes

from slackoff.analysis import figures, load
from slackoff.analysis.tables import study_table


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_oracles_that_differ_have_the_colours_of_their_groups(runs: Path, edit_images: EditImages) -> None:
    cells = [Cell({"patch_count": n, "background": b}) for b in ("celeba", "div2k") for n in (8, 64)]
    study = write_study(runs, cells)
    for cell in cells[2:]:
        edit_images(cell, lambda rows: rows.assign(e_r_oracle=42.0, psnr_rgb_input=rows["psnr_rgb_input"] + 1))
    e_r, _, _, psnr, _ = figures.curves(study_table(load(study)), "patch_count").axes
    colours = [container[0].get_color() for container in e_r.containers]  # type: ignore[index]
    for ax, levels, names in (
        (e_r, [40.0, 42.0], {"oracle 40.0", "oracle 42.0"}),
        (psnr, [25.5, 26.5], {"input 25.50", "input 26.50"}),
    ):
        found = {line.get_color(): line.get_ydata()[0] for line in ax.get_lines() if len(set(line.get_xdata())) == 2}
        assert [found[colour] for colour in colours] == levels
        assert names <= set(texts(ax))
        assert "#6b6b6b" not in [line.get_color() for line in ax.get_lines()]


def test_names_of_references_do_not_overlap(runs: Path, edit_images: EditImages) -> None:
    cells = [Cell({"patch_count": 8, "background": b}) for b in ("celeba", "div2k", "manga109", "urban100")]
    study = write_study(runs, cells)
    for number, cell in enumerate(cells):
        edit_images(cell, lambda rows, number=number: rows.assign(e_r_oracle=40 + 0.1 * number))  # type: ignore[misc]
    ax = figures.curves(study_table(load(study)), "patch_count").axes[0]
    boxes = sorted((text.get_window_extent() for text in ax.texts if "oracle" in text.get_text()), key=lambda b: b.y0)
    assert len(boxes) == 4
    assert all(above.y0 >= below.y1 - 2 for below, above in pairwise(boxes))


def test_far_oracles_are_told_at_the_edge(runs: Path, edit_images: EditImages) -> None:
    cells = [Cell({"patch_count": n, "background": b}) for b in ("celeba", "div2k") for n in (8, 64)]
    study = write_study(runs, cells)
    for cell in cells[2:]:
        edit_images(cell, lambda rows: rows.assign(removal_share_oracle=0.99))
    ax = figures.curves(study_table(load(study)), "patch_count").axes[1]
    assert "oracle 0.96\N{EN DASH}0.99\nabove" in texts(ax)


def test_the_row_that_does_nothing_keeps_the_labels_that_tell_its_numbers_apart(
    runs: Path, edit_images: EditImages
) -> None:
    cells = [
        Cell({"patch_count": 8, "network": n, "background": b}) for n in ("resnet", "unet") for b in ("celeba", "div2k")
    ]
    study = write_study(runs, cells)
    for cell in cells[1::2]:
        edit_images(cell, lambda rows: rows.assign(psnr_rgb_input=rows["psnr_rgb_input"] + 1))
    table = study_table(load(study))
    nothing = table[table["output"] == "rainy input"]
    assert nothing["background"].tolist() == ["celeba", "div2k"]
    assert nothing["network"].isna().all()
    assert nothing["psnr_rgb"].round(6).tolist() == [25.5, 26.5]
    e_r = figures.curves(table, "patch_count").axes[0]
    assert "oracle\n40.0" in texts(e_r)
