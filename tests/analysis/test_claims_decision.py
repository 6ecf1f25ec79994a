"""From resampled numbers to a verdict, against loops that resample images by hand and against counted errors."""

from pathlib import Path

import numpy as np
import pytest
from analysis_record import Cell, EditImages, image_rows, write_study

from slackoff.analysis import load
from slackoff.analysis.claims.decision import share, verdict, within
from slackoff.analysis.claims.samples import apart, difference, differences, samples
from slackoff.analysis.groups import Group, groups
from slackoff.analysis.statistics import Array, Joint, difference_interval, joint_means


def joint(means: list[float], noise: float = 1.0, images: int = 30) -> Joint:
    """Points with these means, each with its own noise over the images."""
    generator = np.random.default_rng(7)
    noisy = [generator.normal(size=images) for _ in means]
    return joint_means([mean + noise * (own - own.mean()) for mean, own in zip(means, noisy, strict=True)])


def group_of(runs: Path, name: str, cells: list[Cell]) -> Group:
    return groups(load(write_study(runs, cells, name)))[0]


def one(means: Array) -> Array:
    return means[..., 0]


@pytest.mark.parametrize(
    ("mean", "expected"),
    [(2.0, "supported"), (-2.0, "contradicted"), (0.1, "not enough data"), (0.0, "not enough data")],
)
def test_one_criterion_decides_by_the_side_of_its_interval(mean: float, expected: str) -> None:
    assert verdict(joint([mean]), one) == expected


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ([2.0, 3.0, 2.0], "supported"),
        ([2.0, 0.05, 2.0], "not enough data"),
        ([2.0, -2.0, 2.0], "contradicted"),
    ],
)
def test_a_statement_of_parts_needs_each_of_them(means: list[float], expected: str) -> None:
    assert verdict(joint(means), lambda points: points) == expected


def test_one_part_of_many_contradicts_only_where_it_is_clear_among_them() -> None:
    """The same part, low by 2.4 standard errors: clear alone, not among 40 (Bonferroni asks for 3.2)."""
    few = joint([-2.4 / np.sqrt(30)])
    many = few.beside(joint([5.0] * 39))
    assert verdict(few, one) == "contradicted"
    assert verdict(many, lambda points: points) == "not enough data"


def test_many_parts_that_barely_hold_are_hardly_ever_contradicted() -> None:
    """Of 100 draws of 25 true but tiny differences no more than about 2.5 may come out contradicted."""
    generator = np.random.default_rng(1)
    found = [verdict(joint_means(generator.normal(0.01, 1, size=(25, 60))), lambda points: points) for _ in range(100)]
    assert found.count("contradicted") <= 6


@pytest.mark.parametrize(
    ("mean", "expected"),
    [(0.0, "supported"), (-0.5, "supported"), (3.0, "contradicted"), (-3.0, "contradicted"), (1.0, "not enough data")],
)
def test_equivalence_is_two_tests(mean: float, expected: str) -> None:
    assert verdict(joint([mean]), lambda points: within(points[..., 0], 1.0)) == expected


def test_too_few_images_decide_nothing_however_clear() -> None:
    assert verdict(joint([9.0], images=4), one) == "not enough data"
    assert verdict(joint([9.0], images=5), one) == "supported"


def test_share_counts_the_resamples_in_which_all_parts_hold() -> None:
    found = joint([0.1, 0.2])
    assert share(found, differences([(0, 1)])) == pytest.approx((found.draws[:, 0] > found.draws[:, 1]).mean())
    assert share(found, lambda points: points) == pytest.approx((found.draws > 0).all(axis=1).mean())
    assert np.isnan(share(joint([1.0], images=1), one))


def test_points_on_the_same_images_are_paired(runs: Path) -> None:
    cells = [Cell({"patch_count": 8}, e_r=50), Cell({"patch_count": 64}, e_r=40)]
    group = group_of(runs, "one", cells)
    found = samples([(group, 8, "e_r"), (group, 64, "e_r")])
    expected = difference_interval(*(image_rows(cell)["e_r"] for cell in cells))
    assert found.interval(difference(0, 1)) == expected


def test_groups_on_the_same_images_are_paired_and_others_are_not(runs: Path, edit_images: EditImages) -> None:
    """Two groups with the same values: paired their difference has no spread, unpaired that of two means."""
    cells = [Cell({"patch_count": 8, "rain": rain}, noise=0) for rain in ("small", "large")]
    write_study(runs, cells, "both")
    small, large = groups(load(runs / "studies" / "both"))
    paired = samples([(small, 8, "e_r"), (large, 8, "e_r")]).interval(difference(0, 1))
    assert (paired.low, paired.high) == pytest.approx((0, 0), abs=1e-9)
    edit_images(cells[1], lambda rows: rows.assign(image="other-" + rows["image"]))
    small, large = groups(load(runs / "studies" / "both"))
    unpaired = samples([(small, 8, "e_r"), (large, 8, "e_r")])
    values = image_rows(cells[0])["e_r"].to_numpy()
    generator = np.random.default_rng(2)
    drawn = generator.choice(values, (4000, 2, 20)).mean(axis=2)
    low, high = np.percentile(drawn[:, 0] - drawn[:, 1], [2.5, 97.5])
    interval = unpaired.interval(difference(0, 1))
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.1 * (high - low))
    assert abs(np.corrcoef(unpaired.draws.T)[0, 1]) < 0.06


def test_points_keep_their_order_when_blocks_alternate(runs: Path, edit_images: EditImages) -> None:
    cells = [
        Cell({"patch_count": count, "rain": rain}, e_r=10.0 * place + count)
        for place, rain in enumerate(("small", "large"), 1)
        for count in (1, 2)
    ]
    study = write_study(runs, cells)
    for cell in cells[2:]:
        edit_images(cell, lambda rows: rows.assign(image="other-" + rows["image"]).head(12))
    small, large = groups(load(study))
    found = samples([(large, 1, "e_r"), (small, 1, "e_r"), (large, 2, "e_r"), (small, 2, "e_r")])
    expected = [image_rows(cells[2])["e_r"].head(12).mean(), 11, image_rows(cells[3])["e_r"].head(12).mean(), 12]
    np.testing.assert_allclose(found.means, expected)
    np.testing.assert_allclose(found.draws.mean(axis=0), expected, atol=0.2)
    assert found.images == 12


def test_apart_reorders_every_block_but_the_first() -> None:
    draws = np.arange(100.0)
    np.testing.assert_array_equal(apart(draws, 0), draws)
    other = apart(draws, 1)
    np.testing.assert_array_equal(np.sort(other), draws)
    assert abs(np.corrcoef(draws, other)[0, 1]) < 0.3
    assert not np.array_equal(other, apart(draws, 2))
