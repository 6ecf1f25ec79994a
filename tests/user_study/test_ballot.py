"""Which images a rater sees and where methods stand: fair, reproducible, different for each."""

from collections import Counter
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from slackoff.user_study.questionnaire import images_for, shuffled_methods

IMAGES = [f"{number:02d}" for number in range(48)]
RATERS = [f"rater{number}" for number in range(2400)]


@given(st.text(), st.integers(1, 60), st.integers())
def test_a_rater_sees_different_images_of_the_study(rater, count, seed):
    seen = images_for(rater, IMAGES, count, seed)
    assert len(seen) == len(set(seen)) == min(count, 48)
    assert set(seen) <= set(IMAGES)
    assert seen == images_for(rater, IMAGES[::-1], count, seed)


def test_a_ballot_is_the_same_on_every_machine():
    """Made once with sha256sum: printf '3\\0images\\0ann\\0%s' and sorted by digest."""
    assert images_for("ann", ["a", "b", "c", "d"], 3, 3) == ["d", "c", "a"]
    assert shuffled_methods("ann", "b", ["x", "y", "z"], 3) == ["y", "z", "x"]


def test_every_image_and_every_pair_of_places_is_as_likely():
    """Chi-squared against equal shares; fixed raters, so that nothing is left to chance."""
    draws = Counter(image for rater in RATERS for image in images_for(rater, IMAGES, 10, 0))
    assert sum(draws.values()) == 24000
    # without replacement the counts scatter less than independent draws: a fair ballot has a large p
    assert chisquare([draws[image] for image in IMAGES]).pvalue > 0.01
    first = Counter(images_for(rater, IMAGES, 10, 0)[0] for rater in RATERS)
    assert chisquare([first[image] for image in IMAGES]).pvalue > 0.01


def test_every_order_of_the_methods_is_as_likely():
    methods = ["x", "y", "z"]
    orders = Counter(tuple(shuffled_methods(rater, "im", methods, 0)) for rater in RATERS)
    assert chisquare([orders[order] for order in permutations(methods)]).pvalue > 0.01


@pytest.mark.parametrize("changed", [("other", "im", 0), ("rater", "other", 0), ("rater", "im", 1)])
def test_rater_image_and_seed_each_change_the_order(changed):
    methods = [f"method{number}" for number in range(8)]
    rater, image, seed = changed
    assert shuffled_methods(rater, image, methods, seed) != shuffled_methods("rater", "im", methods, 0)
