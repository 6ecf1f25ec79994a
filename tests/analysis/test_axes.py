"""Texts that keep apart, and dashed lines of oracles and inputs that differ between groups."""

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest
from analysis_record import Cell, Change, MakeFrames
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from slackoff.analysis import figures
from slackoff.analysis.axes import apart, label_ends, label_points
from slackoff.analysis.tables import study_table


@pytest.mark.parametrize(
    "wanted",
    [
        [50.0],
        [10, 11, 12],
        [0, 0, 0, 0],
        [100, 100, 99],
        [5, 60, 7, 61, 95],
        list(np.random.default_rng(0).uniform(0, 100, 8)),
    ],
)
def test_places_keep_their_order_and_distance_inside_the_axes(wanted: list[float]) -> None:
    places = np.array(apart(wanted, gap=10, height=100))
    order = np.argsort(wanted, kind="stable")
    assert (np.diff(places[order]) >= 10 - 1e-9).all()
    assert places.min() >= 5 - 1e-9
    assert places.max() <= 95 + 1e-9


def test_places_that_are_free_stay() -> None:
    assert apart([20, 50, 80], gap=10, height=100) == [20, 50, 80]
    assert apart([50, 50], gap=10, height=100) == [45, 55]


def test_ends_are_named_beside_their_lines_without_overlap() -> None:
    figure = Figure(figsize=(5, 3))
    ax = figure.add_subplot()
    ax.plot([0, 1], [0, 1])
    figure.draw_without_rendering()
    label_ends(ax, [(1, 0.5, "one", "red"), (1, 0.51, "two", "blue"), (1, 0.95, "three", "green")])
    boxes = [text.get_window_extent() for text in ax.texts]
    assert [text.get_text() for text in ax.texts] == ["one", "two", "three"]
    assert not any(a.overlaps(b) for number, a in enumerate(boxes) for b in boxes[:number])
    assert boxes[0].y0 < boxes[1].y0 < boxes[2].y0


def test_points_are_named_where_there_is_room() -> None:
    figure = Figure(figsize=(5, 3))
    ax = figure.add_subplot()
    ax.plot([0, 1], [0, 1], "o")
    figure.draw_without_rendering()
    entries = [(0.5, 0.5, "first", "red"), (0.52, 0.5, "second", "blue")]
    label_points(ax, entries, [(0.5, 0.6)])
    boxes = [text.get_window_extent() for text in ax.texts]
    assert [text.get_text() for text in ax.texts] == ["first", "second"]
    assert not boxes[0].overlaps(boxes[1])
    label_points(ax, [(0.5, 0.5, "crowd", "red")] * 60)
    assert len(ax.texts) < 62


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def drawn(frames_of: MakeFrames, cells: list[Cell], changed: Iterable[int], change: Change) -> list[Axes]:
    """The axes of the curves of cells, the results of some of which are changed."""
    table = study_table(frames_of(cells, edits=dict.fromkeys(changed, change)))
    return figures.curves(table, "patch_count").axes


def test_oracles_that_differ_have_the_colours_of_their_groups(frames_of: MakeFrames) -> None:
    cells = [Cell({"patch_count": n, "background": b}) for b in ("celeba", "div2k") for n in (8, 64)]
    e_r, _, _, psnr, _ = drawn(
        frames_of, cells, (2, 3), lambda rows: rows.assign(e_r_oracle=42.0, psnr_rgb_input=rows["psnr_rgb_input"] + 1)
    )
    colours = [container[0].get_color() for container in e_r.containers]  # type: ignore[index]
    for ax, levels, names in (
        (e_r, [40.0, 42.0], {"oracle 40.0", "oracle 42.0"}),
        (psnr, [25.5, 26.5], {"input 25.50", "input 26.50"}),
    ):
        found = {line.get_color(): line.get_ydata()[0] for line in ax.get_lines() if len(set(line.get_xdata())) == 2}
        assert [found[colour] for colour in colours] == levels
        assert names <= set(texts(ax))
        assert "#6b6b6b" not in [line.get_color() for line in ax.get_lines()]


def test_names_of_references_do_not_overlap(frames_of: MakeFrames) -> None:
    cells = [Cell({"patch_count": 8, "background": b}) for b in ("celeba", "div2k", "manga109", "urban100")]
    edits = {n: lambda rows, n=n: rows.assign(e_r_oracle=40 + 0.1 * n) for n in range(4)}  # type: ignore[misc]
    ax = figures.curves(study_table(frames_of(cells, edits=edits)), "patch_count").axes[0]
    boxes = sorted((text.get_window_extent() for text in ax.texts if "oracle" in text.get_text()), key=lambda b: b.y0)
    assert len(boxes) == 4
    assert all(above.y0 >= below.y1 - 2 for below, above in pairwise(boxes))


def test_far_oracles_are_told_at_the_edge(frames_of: MakeFrames) -> None:
    cells = [Cell({"patch_count": n, "background": b}) for b in ("celeba", "div2k") for n in (8, 64)]
    axes = drawn(frames_of, cells, (2, 3), lambda rows: rows.assign(removal_share_oracle=0.99))
    assert "oracle 0.96\N{EN DASH}0.99\nabove" in texts(axes[1])
