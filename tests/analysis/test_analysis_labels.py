"""Texts that keep apart."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from slackoff.analysis.axes import apart, label_ends, label_points


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
