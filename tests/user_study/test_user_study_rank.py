"""Rank-n scores against the published percentages and against counting by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slackoff.user_study.votes import in_top, rank_n_scores, tied_images

tables = st.integers(2, 6).flatmap(
    lambda methods: st.lists(st.lists(st.integers(0, 5), min_size=methods, max_size=methods), min_size=1, max_size=12)
)


def counted(table: list[list[int]], n: int) -> list[float]:
    """Equation 1 in plain Python: sort an image's votes; a method is in the top n if it has at least the n-th most."""
    inside = [0] * len(table[0])
    for votes in table:
        threshold = sorted(votes, reverse=True)[n - 1]
        for method, own in enumerate(votes):
            inside[method] += own >= threshold
    return [number / len(table) for number in inside]


def test_the_percentages_of_the_paper():
    """48 images of 5 methods; the first is best on 20, second on 17, third on 6, last on 5: 37 and 43 of 48."""
    best, second = [50, 20, 10, 5, 1], [30, 40, 10, 5, 1]
    third, last = [20, 30, 40, 5, 1], [1, 30, 20, 10, 25]
    table = [best] * 20 + [second] * 17 + [third] * 6 + [last] * 5
    percentages = [round(100 * rank_n_scores(table, n)[0], 2) for n in (1, 2, 3, 4, 5)]
    assert percentages == [41.67, 77.08, 89.58, 89.58, 100.0]


def test_ties_at_the_last_place_are_all_in():
    table = [[3, 2, 2, 0], [1, 0, 0, 0]]
    assert in_top(table, 1).tolist() == [[True, False, False, False]] * 2
    assert in_top(table, 2).tolist() == [[True, True, True, False], [True, True, True, True]]
    assert in_top(table, 3).tolist() == [[True, True, True, False], [True, True, True, True]]
    assert [tied_images(table, n) for n in (1, 2, 3, 4)] == [0, 2, 1, 0]


@settings(max_examples=60)
@given(tables)
def test_rank_n_scores_equal_the_count_and_grow_to_one(table):
    methods = len(table[0])
    scores = np.array([rank_n_scores(table, n) for n in range(1, methods + 1)])
    expected = [counted(table, n) for n in range(1, methods + 1)]
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-12)
    assert (np.diff(scores, axis=0) >= 0).all()
    assert (scores[-1] == 1).all()
    assert (scores.sum(axis=1) >= np.arange(1, methods + 1) - 1e-9).all()


@settings(max_examples=30)
@given(tables)
def test_only_the_order_within_an_image_counts(table):
    steep = [[2.0**votes + 10 * number for votes in row] for number, row in enumerate(table)]
    for n in range(1, len(table[0]) + 1):
        assert rank_n_scores(table, n).tolist() == rank_n_scores(steep, n).tolist()


@pytest.mark.parametrize(
    ("table", "n", "words"),
    [
        ([[1, 2]], 0, "n must be 1 .. 2, got 0"),
        ([[1, 2]], 3, "n must be 1 .. 2, got 3"),
        ([1, 2], 1, "finite"),
        ([[1, np.nan]], 1, "finite"),
        (np.zeros((0, 2)), 1, "at least one image"),
    ],
)
def test_a_table_that_has_no_ranks_is_refused(table, n, words):
    with pytest.raises(ValueError, match=words):
        rank_n_scores(table, n)
