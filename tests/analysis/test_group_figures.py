"""The figures of all groups together: the grid, the normalised curves, the balance."""

from pathlib import Path

import numpy as np
import pytest
from analysis_record import Cell, MakeFrames
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from slackoff.analysis import Frames
from slackoff.analysis.axes import lines, save
from slackoff.analysis.balance import FRONT_ID, RING_ID, balance_figure, balances
from slackoff.analysis.breakdown import normalised
from slackoff.analysis.breakdown_figure import normalised_curves, pairs
from slackoff.analysis.figures import fits, grid
from slackoff.analysis.groups import groups
from slackoff.analysis.tables import cell_means, study_table

NETWORKS, CATEGORIES = ("resnet", "unet", "swinir"), ("celeba", "div2k")
FALLS = {"small": (50, 34, 30, 30), "medium": (50, 46, 34, 30), "large": (50, 49, 47, 30)}


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


def ranges(frames_of: MakeFrames) -> Frames:
    return frames_of(
        [
            Cell({"rain": rain, "patch_count": n}, e_r=mean, share=mean / 100, e_b=mean / 4)
            for rain, means in FALLS.items()
            for n, mean in zip((8, 64, 256, 1024), means, strict=True)
        ]
    )


def stretched(frames: Frames) -> Figure:
    return normalised_curves(pairs(lines(study_table(frames), "patch_count"), groups(frames), {}))


def test_grid_has_a_column_per_network_and_a_line_per_category(frames_of: MakeFrames) -> None:
    table = study_table(many(frames_of))
    assert fits(table, "patch_count")
    figure = grid(table, "patch_count")
    assert len(figure.axes) == 9
    assert [ax.get_title("left") for ax in figure.axes[:3]] == list(NETWORKS)
    for ax, network in zip(figure.axes[:3], NETWORKS, strict=True):
        assert [container.get_label() for container in ax.containers] == list(CATEGORIES)
        for container, category in zip(ax.containers, CATEGORIES, strict=True):
            rows = table[(table["network"] == network) & (table["background"] == category)]
            np.testing.assert_allclose(container[0].get_ydata(orig=False), rows["e_r"])  # type: ignore[index]
    for row in (0, 3, 6):
        assert len({ax.get_ylim() for ax in figure.axes[row : row + 3]}) == 1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(CATEGORIES)
    assert [bool(ax.texts) for ax in figure.axes[:3]] == [False, False, True]


def test_a_category_has_its_colour_in_every_column(frames_of: MakeFrames) -> None:
    figure = grid(study_table(many(frames_of, ("resnet", "celeba"))), "patch_count")
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
    assert not fits(study_table(ranges(frames_of)), "patch_count")


def test_grid_shows_seeds(frames_of: MakeFrames) -> None:
    frames = frames_of(
        [
            Cell({"network": network, "background": category, "patch_count": 8, "seed": seed}, e_r=40 + seed, images=6)
            for network in NETWORKS
            for category in CATEGORIES
            for seed in (0, 1)
        ]
    )
    figure = grid(study_table(frames), "patch_count", cell_means(frames))
    np.testing.assert_allclose(figure.axes[0].collections[-1].get_offsets(), [[8, 40], [8, 41]])


def test_normalised_curves_run_from_one_to_nought_and_ring_the_last_above_the_rule(frames_of: MakeFrames) -> None:
    frames = ranges(frames_of)
    figure = stretched(frames)
    assert [ax.get_title("left") for ax in figure.axes] == [
        "$E_R$: change in the rain, normalised",
        "Removal share, normalised",
    ]
    for ax, measure in zip(figure.axes, ("e_r", "removal_share"), strict=True):
        drawn = [line for line in ax.get_lines() if len(np.atleast_1d(line.get_xdata())) == 4]
        for line, group in zip(drawn, groups(frames), strict=True):
            levels = [level.mean for level in normalised(group, measure).levels]
            np.testing.assert_allclose(line.get_ydata(), levels)
            assert (max(levels), min(levels)) == (1, 0)
        rings = [line.get_xdata()[0] for line in ax.get_lines() if line.get_fillstyle() == "none"]  # type: ignore[index]
        assert rings == [8, 64, 256]
        (rule,) = [line for line in ax.get_lines() if set(np.atleast_1d(line.get_ydata())) == {0.5}]
        assert rule.get_linestyle() == "--"
        assert [text.get_text() for text in ax.texts] == ["0.5:\nour rule"]
        legend = ax.get_legend()
        assert legend is not None
        named = [text.get_text() for text in legend.get_texts()]
        assert [text.split(";")[0] for text in named] == ["small: 8", "medium: 64", "large: 256"]
        assert "last N above 0.5" in legend.get_title().get_text()
        assert named[0].endswith("20.0 grey levels" if measure == "e_r" else "0.20")


def test_a_line_with_two_counts_is_not_stretched(frames_of: MakeFrames) -> None:
    frames = frames_of([Cell({"rain": rain, "patch_count": n}) for rain in ("small", "large") for n in (8, 64)])
    assert pairs(lines(study_table(frames), "patch_count"), groups(frames), {}) == []


def test_balance_has_all_points_the_front_and_a_ring(frames_of: MakeFrames) -> None:
    (balance,) = balances(ranges(frames_of))
    figure = balance_figure(balance)
    for ax, gain in zip(figure.axes, ("e_r", "removal_share"), strict=True):
        at = [(point.levels["e_b"].mean, point.levels[gain].mean) for point in balance.points]
        points = [found[0] for found in ax.containers]  # type: ignore[index]
        assert len(points) == 12
        marks = [line for line in ax.get_lines() if line.get_marker() == "o" and line.get_fillstyle() != "none"]
        shown = {(float(mark.get_xdata()[0]), float(mark.get_ydata()[0])) for mark in marks}  # type: ignore[index]
        assert shown == {(float(x), float(y)) for x, y in at}
        (front,) = [line for line in ax.get_lines() if line.get_gid() == FRONT_ID]
        members = [place for place, member in zip(at, balance.fronts[gain].members, strict=True) if member]
        np.testing.assert_allclose(front.get_xydata(), sorted(members))
        assert front.get_drawstyle() == "steps-post"
        (ring,) = [line for line in ax.get_lines() if line.get_gid() == RING_ID]
        best = balance.recommended.levels
        assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (best["e_b"].mean, best[gain].mean)  # type: ignore[index]
        assert {"8", "64", "256", "1024"} & {text.get_text() for text in ax.texts}
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named[:3] == ["small", "medium", "large"]
    assert named[-1] == f"recommended: {balance.recommended.name}"


def test_the_fill_is_the_share_of_resamples_on_the_front(frames_of: MakeFrames) -> None:
    (balance,) = balances(ranges(frames_of))
    ax = balance_figure(balance).axes[1]
    marks = [line for line in ax.get_lines() if line.get_markersize() == 7]
    for mark, share in zip(marks, balance.fronts["removal_share"].member_shares, strict=True):
        colour, face = np.array(to_rgb(mark.get_color())), np.array(to_rgb(mark.get_markerfacecolor()))
        np.testing.assert_allclose(face, 1 - share * (1 - colour))


@pytest.mark.parametrize("images", [1, 8])
def test_all_of_them_can_be_saved_whatever_the_number_of_images(
    frames_of: MakeFrames, tmp_path: Path, images: int
) -> None:
    cells = [Cell({"rain": r, "patch_count": n}, images=images) for r in ("small", "large") for n in (8, 64, 256)]
    frames = frames_of(cells)
    for name, figure in (("normalised", stretched(frames)), ("balance", balance_figure(balances(frames)[0]))):
        png, svg = save(figure, tmp_path, name)
        assert png.stat().st_size > 10_000
        assert "<svg" in svg.read_text()
