"""What the figures draw, read back from their artists."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from analysis_record import Cell, MakeFrames, step_rows
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure

from slackoff.analysis import Frames, figures
from slackoff.analysis.axes import lines, save
from slackoff.analysis.tables import MEASURES, cell_means, study_table
from slackoff.wandb_view.publish import study_rows

NETWORKS, CATEGORIES = ("resnet", "unet", "swinir"), ("celeba", "div2k")
GROUPS = [Cell({"patch_count": n, "rain": r}, e_r=n + k) for n in (8, 64) for k, r in enumerate(("small", "large"))]


def dashed(ax: Axes) -> list[float]:
    return [float(line.get_ydata()[0]) for line in ax.get_lines() if line.get_color() == "#6b6b6b"]  # type: ignore[index]


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def curves(frames: Frames, axis: str = "patch_count", seeds: bool = False) -> list[Axes]:
    """The axes of the curves: E_R, removal share, E_B, PSNR, SSIM."""
    return figures.curves(study_table(frames), axis, cell_means(frames) if seeds else None).axes


def ticks(ax: Axes) -> list[str]:
    return [tick.get_text() for tick in ax.get_xticklabels()]


def test_curves_show_the_numbers_of_the_table(frames_of: MakeFrames, effect_cells: list[Cell]) -> None:
    table = study_table(frames_of(effect_cells))
    figure = figures.curves(table, "patch_count")
    rows = table[table["output"] == "network"]
    assert len(figure.axes) == 5
    for ax, measure in zip(figure.axes, MEASURES, strict=True):
        drawn = ax.containers[0]
        np.testing.assert_array_equal(drawn[0].get_xdata(orig=False), [8, 64, 1024])  # type: ignore[index]
        np.testing.assert_allclose(drawn[0].get_ydata(orig=False), rows[measure].to_numpy())  # type: ignore[index]
        ends = [segment[:, 1] for segment in drawn[2][0].get_segments()]  # type: ignore[index]
        np.testing.assert_allclose(ends, rows[[f"{measure}_low", f"{measure}_high"]].to_numpy())
        assert ax.get_xscale() == "log"
        if measure != "psnr_rgb":  # the panel below has its labels
            assert ticks(ax) == ["8", "64", "1024"]
        low, high = ax.get_ylim()
        assert low < rows[f"{measure}_low"].min()
        assert high > rows[f"{measure}_high"].max()


def test_groups_at_names_are_all_within_the_axes(frames_of: MakeFrames) -> None:
    """And their names beside the marks, not over them."""
    groups = [{"patch_count": n, "rain": rain} for n in (8, 64) for rain in ("small", "large")]
    frames = frames_of([Cell({"network": name, **group}) for name in ("unet", "resnet") for group in groups], "network")
    for ax in curves(frames, "network"):
        low, high = ax.get_xlim()
        drawn = np.concatenate([container[0].get_xdata(orig=False) for container in ax.containers])  # type: ignore[index]
        assert len(drawn) == 8
        assert low < drawn.min()
        assert drawn.max() < high
        named = [text.xy[0] for text in ax.texts if text.get_text() in ("8, small", "64, large")]  # type: ignore[attr-defined]
        assert all(place > drawn.max() for place in named)
    whole = figures.grid(study_table(frames), "network")
    assert all(ax.get_xlim()[0] < -0.33 and ax.get_xlim()[1] > 1.33 for ax in whole.axes)


def test_lines_whose_values_read_alike_have_names_of_their_own(frames_of: MakeFrames) -> None:
    groups = [{"x": "a, b", "y": "c"}, {"x": "a", "y": "b, c"}, {"x": "d", "y": "c"}]
    frames = frames_of([Cell({"patch_count": count, **group}) for group in groups for count in (8, 64)])
    named = ["x = a, b, y = c", "x = a, y = b, c", "d, c"]
    assert sorted(line.name for line in lines(study_table(frames), "patch_count")) == sorted(named)
    assert set(study_rows(frames)["line"]) == set(named)


def test_long_names_stand_aslant_beside_a_gap_too(frames_of: MakeFrames) -> None:
    names = [f"a variant with a long name {number}" for number in range(4)]
    cells = [Cell({"variant": name}, state="failed" if name == names[1] else "done") for name in names]
    ax = curves(frames_of(cells, "variant"), "variant")[0]
    assert ticks(ax)[1] == f"{names[1]} \N{MULTIPLICATION SIGN}"
    assert {tick.get_rotation() for tick in ax.get_xticklabels()} == {30}


def test_curves_show_oracle_and_input(frames_of: MakeFrames, effect_cells: list[Cell]) -> None:
    e_r, share, e_b, psnr, ssim = curves(frames_of(effect_cells))
    assert dashed(e_r) == [40.0]
    assert "oracle\n40.0" in texts(e_r)
    assert dashed(psnr) == [25.5]
    assert dashed(share) == dashed(e_b) == dashed(ssim) == []
    assert texts(share) == ["oracle 0.96\nabove"]
    assert texts(ssim) == ["input 0.850\nbelow"]


def test_values_without_results_are_marked(frames_of: MakeFrames) -> None:
    cells = [Cell({"patch_count": 8}), Cell({"patch_count": 64}, state="failed"), Cell({"patch_count": 1024})]
    ax = curves(frames_of(cells))[0]
    assert ticks(ax) == ["8", "64\n\N{MULTIPLICATION SIGN}", "1024"]
    assert ax.get_xlabel().endswith("no result: 64 failed")
    assert list(ax.containers[0][0].get_xdata(orig=False)) == [8, 1024]  # type: ignore[index]


def test_names_are_drawn_in_their_order_without_a_line(frames_of: MakeFrames) -> None:
    cells = [Cell({"rain": name}, e_r=mean) for name, mean in (("small", 30), ("medium", 40), ("large", 35))]
    ax = curves(frames_of(cells, axis="rain"), "rain")[0]
    assert ticks(ax) == ["small", "medium", "large"]
    np.testing.assert_allclose(ax.containers[0][0].get_ydata(orig=False), [30, 40, 35])  # type: ignore[index]
    assert ax.containers[0][0].get_linestyle() == "None"  # type: ignore[index]
    assert ax.get_xscale() == "linear"


def test_ranges_are_drawn_from_small_to_large_with_colours_that_follow(frames_of: MakeFrames) -> None:
    cells = [Cell({"patch_count": n, "rain": r}) for r in ("large", "small", "medium") for n in (8, 64)]
    ax = curves(frames_of(cells))[0]
    assert [container.get_label() for container in ax.containers] == ["small", "medium", "large"]
    greys = [np.dot(to_rgb(line[0].get_color()), (0.3, 0.6, 0.1)) for line in ax.containers]  # type: ignore[index]
    assert greys[0] < greys[1] < greys[2]


def test_several_groups_have_a_band_each(frames_of: MakeFrames) -> None:
    table = study_table(frames_of(GROUPS))
    ax = figures.curves(table, "patch_count").axes[0]
    bands = [band for band in ax.collections if isinstance(band, PolyCollection)]
    assert len(bands) == 2
    for band, rain in zip(bands, ("small", "large"), strict=True):
        rows = table[table["rain"] == rain]
        corners = band.get_paths()[0].vertices[:, 1]  # type: ignore[index]
        assert (corners.min(), corners.max()) == pytest.approx((rows["e_r_low"].min(), rows["e_r_high"].max()))


def test_values_of_several_seeds_have_circles_in_the_colour_of_their_group(frames_of: MakeFrames) -> None:
    ranges = [("small", 8, 0), ("small", 8, 1), ("small", 64, 0), ("large", 8, 0), ("large", 8, 1), ("large", 64, 1)]
    ax = curves(
        frames_of([Cell({"patch_count": n, "rain": r, "seed": s}, e_r=n + s) for r, n, s in ranges]), seeds=True
    )[0]
    circles = [found for found in ax.collections if isinstance(found, PathCollection)]
    for circle, container in zip(circles, ax.containers, strict=True):
        np.testing.assert_allclose(circle.get_offsets(), [[8, 8], [8, 9]])
        np.testing.assert_allclose(circle.get_edgecolor()[0], to_rgba(container[0].get_color()))  # type: ignore[index]


def test_groups_at_names_stand_side_by_side(frames_of: MakeFrames) -> None:
    cells = [Cell({"rain": r, "network": n}) for r in ("small", "large") for n in ("resnet", "unet")]
    ax = curves(frames_of(cells, axis="rain"), "rain")[0]
    left, right = (container[0].get_xdata(orig=False) for container in ax.containers)  # type: ignore[index]
    assert (np.asarray(left) < np.asarray(right)).all()
    np.testing.assert_allclose((np.asarray(left) + np.asarray(right)) / 2, [0, 1])


def test_one_value_and_one_image_can_be_drawn(frames_of: MakeFrames) -> None:
    frames = frames_of([Cell({"patch_count": 8}, images=1)])
    table = study_table(frames)
    assert len(figures.curves(table, "patch_count", cell_means(frames)).axes) == 5
    assert len(figures.tradeoff(table, "patch_count").axes) == 1


def test_tradeoff_shows_share_against_background_error(frames_of: MakeFrames, effect_cells: list[Cell]) -> None:
    table = study_table(frames_of(effect_cells))
    ax = figures.tradeoff(table, "patch_count").axes[0]
    drawn, _, spread = ax.containers[0]  # type: ignore[misc]
    np.testing.assert_allclose(drawn.get_xdata(orig=False), [26, 12, 10])
    np.testing.assert_allclose(drawn.get_ydata(orig=False), [0.7, 0.65, 0.6])
    for along, measure in enumerate(("e_b", "removal_share")):
        ends = [segment[:, along] for segment in spread[along].get_segments()]
        np.testing.assert_allclose(ends, table.loc[table["output"] == "network", [f"{measure}_low", f"{measure}_high"]])
    assert texts(ax) == ["N = 8", "N = 64", "N = 1024"]


def test_training_has_a_panel_per_measure_and_a_line_per_cell(frames_of: MakeFrames, effect_cells: list[Cell]) -> None:
    frames = frames_of(effect_cells)
    figure = figures.training(frames.steps, frames.cells, "patch_count")
    assert len(figure.axes) == 6
    loss, e_r = figure.axes[:2]
    assert loss.get_yscale() == "log"
    for line, cell in zip(e_r.get_lines(), effect_cells, strict=True):
        written = step_rows(cell).dropna()
        np.testing.assert_array_equal(line.get_xdata(), written["step"])
        np.testing.assert_array_equal(line.get_ydata(), written["test/e_r"])
    assert texts(e_r) == ["N = 8", "N = 64", "N = 1024"]


def test_training_has_a_line_of_each_seed_in_one_colour_and_one_name(frames_of: MakeFrames) -> None:
    cells = [Cell({"patch_count": n, "seed": seed}, e_r=n + seed) for n in (8, 64) for seed in (0, 1)]
    frames = frames_of(cells)
    e_r = figures.training(frames.steps, frames.cells, "patch_count").axes[1]
    for line, cell in zip(e_r.get_lines(), cells, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), step_rows(cell).dropna()["test/e_r"])
    assert [line.get_color() for line in e_r.get_lines()][::2] == [line.get_color() for line in e_r.get_lines()][1::2]
    assert texts(e_r) == ["N = 8", "N = 64"]


def test_names_that_find_no_room_at_the_ends_of_training_curves_stand_in_a_legend(
    frames_of: MakeFrames, effect_cells: list[Cell]
) -> None:
    frames = frames_of(effect_cells)
    names = {8: "pixel loss", 64: "pixel, edge and texture loss", 1024: "deep"}
    named = frames.cells.assign(variant=frames.cells["patch_count"].map(names))
    figure = figures.training(frames.steps, named, "variant")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(names.values())
    assert all(texts(ax) == [] for ax in figure.axes)
    few = named[named["patch_count"] != 64]
    assert texts(figures.training(frames.steps, few, "variant").axes[0]) == ["pixel loss", "deep"]


def test_training_draws_what_was_logged(frames_of: MakeFrames, effect_cells: list[Cell]) -> None:
    frames = frames_of(effect_cells)
    steps = frames.steps[["cell", "step", "elapsed_s", "train/loss"]]
    assert len(figures.training(steps, frames.cells, "patch_count").axes) == 1


def test_many_groups_and_test_sets_are_split_into_figures(frames_of: MakeFrames) -> None:
    cells = [
        Cell({"patch_count": 8, "network": network, "rain": rain}, images=2)
        for network in ("resnet", "unet", "swinir")
        for rain in ("small", "medium", "large")
    ]
    parts = figures.split(study_table(frames_of(cells)), "patch_count")
    assert [labels for labels, _ in parts] == [{"network": name} for name in ("resnet", "unet", "swinir")]
    for _, rows in parts:
        assert rows["rain"].dropna().tolist() == ["small", "medium", "large"]
        assert (rows["output"] == "rainy input").sum() == 1
    for cell in cells[1:]:
        cell.state = "failed"
    frames = frames_of(cells, edits={0: lambda rows: pd.concat([rows, rows.assign(test_set="real")])})
    sets = [labels.get("test set") for labels, _ in figures.split(study_table(frames), "patch_count")]
    assert set(sets) == {"R100-like", "real"}


def test_files_are_the_same_for_the_same_figure_and_nothing_global_is_left(
    frames_of: MakeFrames, effect_cells: list[Cell], tmp_path: Path
) -> None:
    import matplotlib.pyplot as plt

    settings = dict(plt.rcParams)
    table = study_table(frames_of(effect_cells))
    made = [save(figures.tradeoff(table, "patch_count"), tmp_path / name, "x") for name in ("first", "second")]
    for first, second in zip(*made, strict=True):
        assert first.read_bytes() == second.read_bytes()
    assert made[0][0].read_bytes().startswith(b"\x89PNG")
    assert "<svg" in made[0][1].read_text()
    assert plt.get_fignums() == []
    assert dict(plt.rcParams) == settings


@pytest.mark.parametrize("draw", [figures.curves, figures.tradeoff])
def test_no_text_leaves_the_saved_figure(frames_of: MakeFrames, draw: object, effect_cells: list[Cell]) -> None:
    figure = draw(study_table(frames_of(effect_cells)), "patch_count")  # type: ignore[operator]
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    page = figure.bbox
    for ax in figure.axes:
        for text in [ax.title, ax.xaxis.label, ax.yaxis.label, *ax.texts]:
            box = text.get_window_extent()
            assert box.x0 >= page.x0 - 1
            assert box.x1 <= page.x1 + 1


def test_groups_that_lack_labels_of_others_are_drawn_too(frames_of: MakeFrames) -> None:
    """As in a manifest, whose rows need not set the same keys."""
    axes = [("plain", None, None), ("multitask", "pixel", 0.5), ("multitask", "edge", None)]
    cells = [Cell({"patch_count": 8, "task": task, "terms": terms, "share": share}) for task, terms, share in axes]
    table = study_table(frames_of(cells))
    assert len(lines(table, "patch_count")) == 3


def many(frames_of: MakeFrames, *without: tuple[str, str]) -> Frames:
    return frames_of(
        [
            Cell({"network": network, "background": category, "patch_count": n}, e_r=30 + n / 8 + 2 * place, images=8)
            for place, network in enumerate(NETWORKS)
            for category in CATEGORIES
            for n in (8, 64)
            if (network, category) not in without
        ]
    )


def test_grid_has_a_column_per_network_and_a_line_per_category(frames_of: MakeFrames) -> None:
    table = study_table(many(frames_of))
    assert figures.fits(table, "patch_count")
    figure = figures.grid(table, "patch_count")
    assert len(figure.axes) == 9
    assert [ax.get_title("left") for ax in figure.axes[:3]] == list(NETWORKS)
    for ax, network in zip(figure.axes[:3], NETWORKS, strict=True):
        assert [container.get_label() for container in ax.containers] == list(CATEGORIES)
        for container, category in zip(ax.containers, CATEGORIES, strict=True):
            rows = table[(table["network"] == network) & (table["background"] == category)]
            np.testing.assert_allclose(container[0].get_ydata(orig=False), rows["e_r"])  # type: ignore[index]
    for row, measure in zip((0, 3, 6), figures.ROWS, strict=True):
        ((low, high),) = {ax.get_ylim() for ax in figure.axes[row : row + 3]}
        drawn = table[table["output"] == "network"]
        assert low < drawn[f"{measure}_low"].min() < drawn[f"{measure}_high"].max() < high
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(CATEGORIES)
    assert [bool(ax.texts) for ax in figure.axes[:3]] == [False, False, True]


def test_a_category_has_its_colour_in_every_column(frames_of: MakeFrames) -> None:
    figure = figures.grid(study_table(many(frames_of, ("resnet", "celeba"))), "patch_count")
    resnet, unet = (
        {found.get_label(): found[0].get_color() for found in ax.containers}  # type: ignore[index]
        for ax in figure.axes[:2]
    )
    assert list(resnet) == ["div2k"]
    assert resnet["div2k"] == unet["div2k"] != unet["celeba"]


def test_cells_that_lack_an_axis_are_a_line_of_their_own(frames_of: MakeFrames) -> None:
    frames = frames_of(
        [Cell({"rain": "small", "patch_count": n}) for n in (8, 64)]
        + [Cell({"patch_count": n}, e_r=45) for n in (8, 64)]
    )
    found = lines(study_table(frames), "patch_count")
    assert [(line.name, line.rows["e_r"].round().tolist()) for line in found] == [
        ("small", [40, 40]),
        ("\N{EN DASH}", [45, 45]),
    ]


def test_grid_needs_two_labels(frames_of: MakeFrames) -> None:
    assert not figures.fits(study_table(frames_of(GROUPS)), "patch_count")


def test_grid_shows_seeds(frames_of: MakeFrames) -> None:
    frames = frames_of(
        [
            Cell({"network": network, "background": category, "patch_count": 8, "seed": seed}, e_r=40 + seed, images=6)
            for network in NETWORKS
            for category in CATEGORIES
            for seed in (0, 1)
        ]
    )
    figure = figures.grid(study_table(frames), "patch_count", cell_means(frames))
    np.testing.assert_allclose(figure.axes[0].collections[-1].get_offsets(), [[8, 40], [8, 41]])
