"""Bootstrap intervals and rank correlation against SciPy and loops that resample indices; the front against loops."""

import numpy as np
import pytest
from scipy import stats

from slackoff.analysis.statistics import (
    MIN_UNITS,
    Interval,
    difference_interval,
    mean_interval,
    non_dominated,
    recommend,
    spearman,
)


def values(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(2.0, 3.0, size=count)


def assert_as_scipy(interval: Interval, sample: np.ndarray) -> None:
    """That an interval is the percentile bootstrap's of the mean of a sample."""
    reference = stats.bootstrap((sample,), np.mean, method="percentile", n_resamples=20_000, rng=1)
    tolerance = 0.1 * reference.standard_error
    assert interval.mean == pytest.approx(sample.mean(), abs=1e-12)
    assert interval.low == pytest.approx(reference.confidence_interval.low, abs=tolerance)
    assert interval.high == pytest.approx(reference.confidence_interval.high, abs=tolerance)


def test_mean_interval_agrees_with_scipy() -> None:
    sample = values(40)
    interval = mean_interval(sample)
    assert_as_scipy(interval, sample)
    assert (interval.images, interval.skipped, interval.units, interval.seeds) == (40, 0, 40, 1)


def test_difference_is_paired_and_agrees_with_scipy() -> None:
    hard = 10 * values(50, 1)
    first, second = hard + values(50, 2), hard + values(50, 3) - 2
    interval = difference_interval(first, second)
    assert_as_scipy(interval, first - second)
    assert interval.sign == 1
    assert difference_interval(second, first).sign == -1


def test_images_with_a_missing_value_are_left_out_and_counted() -> None:
    first, second = values(20, 1), values(20, 2)
    holed = first.copy()
    holed[[3, 7]] = np.nan
    kept = np.isfinite(holed)
    assert mean_interval(holed).mean == pytest.approx(first[kept].mean())
    interval, clean = difference_interval(holed, second), difference_interval(first[kept], second[kept])
    assert (interval.mean, interval.low, interval.high) == (clean.mean, clean.low, clean.high)
    assert (interval.images, interval.skipped) == (18, 2)


def test_nothing_to_average_gives_nan_and_no_sign() -> None:
    for interval in (mean_interval([]), mean_interval([np.nan, np.nan]), difference_interval([1.0], [np.nan])):
        assert np.isnan([interval.mean, interval.low, interval.high]).all()
        assert (interval.images, interval.sign) == (0, 0)


def test_one_image_has_a_mean_but_no_interval() -> None:
    interval = mean_interval([3.0])
    assert interval.mean == 3.0
    assert np.isnan([interval.low, interval.high]).all()
    assert interval.sign == 0


def test_too_few_images_decide_nothing_however_clear() -> None:
    assert mean_interval(np.full(MIN_UNITS - 1, 7.0)).sign == 0
    assert mean_interval(np.full(MIN_UNITS, 7.0)).sign == 1


def test_seeds_and_images_are_both_resampled() -> None:
    """Against a plain loop that draws rows and columns of the table."""
    generator = np.random.default_rng(5)
    table = values(30)[None] + np.array([[-4.0], [0.0], [1.0], [3.0]]) + generator.normal(size=(4, 30))
    means = []
    for _ in range(6000):
        rows, columns = generator.integers(4, size=4), generator.integers(30, size=30)
        means.append(table[np.ix_(rows, columns)].mean())
    low, high = np.percentile(means, [2.5, 97.5])
    interval = mean_interval(table)
    assert interval.mean == pytest.approx(table.mean())
    assert interval.low == pytest.approx(low, abs=0.15 * np.std(means))
    assert interval.high == pytest.approx(high, abs=0.15 * np.std(means))
    assert interval.seeds == 4
    images_only = mean_interval(table.mean(axis=0))
    assert interval.high - interval.low > 1.3 * (images_only.high - images_only.low)


def test_difference_between_groups_of_seeds_resamples_each_group_on_its_own() -> None:
    spread = np.array([[-3.0], [0.0], [3.0]])
    first = np.zeros((3, 20)) + spread + 5
    interval = difference_interval(first, np.zeros((3, 20)) + spread)
    assert interval.mean == pytest.approx(5)
    assert interval.high - interval.low > 5
    single = difference_interval(np.full(20, 5.0), np.zeros((3, 20)) + spread)
    assert 2 < single.high - single.low < interval.high - interval.low


def test_crops_of_one_photograph_count_as_one() -> None:
    photographs = values(8)
    names = np.repeat([f"photo{number}" for number in range(8)], 6)
    crops = np.repeat(photographs, 6)
    by_photograph, by_crop = mean_interval(crops, names), mean_interval(crops)
    reference = mean_interval(photographs)
    assert (by_photograph.low, by_photograph.high) == pytest.approx((reference.low, reference.high))
    assert by_photograph.units == 8
    assert by_photograph.images == 48
    assert by_photograph.high - by_photograph.low > 2 * (by_crop.high - by_crop.low)


def test_pairs_need_the_same_images() -> None:
    with pytest.raises(ValueError, match="same images"):
        difference_interval(values(4), values(5))


def test_spearman_agrees_with_scipy_and_ignores_missing_values() -> None:
    x, y = values(12, 1), values(12, 2)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert spearman([8, 64, 1024], [3.0, 2.0, 1.0]) == -1
    assert spearman([8, 16, 64, 1024], [3.0, np.nan, 2.0, 2.5]) == pytest.approx(-0.5)


@pytest.mark.parametrize("y", [[1.0, 1.0, 1.0], [1.0, np.nan, np.nan]])
def test_spearman_is_nan_where_there_is_no_order(y: list[float]) -> None:
    assert np.isnan(spearman([8, 64, 1024], y))


def test_front_agrees_with_a_double_loop() -> None:
    generator = np.random.default_rng(5)
    gain, cost = generator.integers(0, 6, (2, 200, 7)).astype(float)
    for gains, costs, found in zip(gain, cost, non_dominated(gain, cost), strict=True):
        for i in range(7):
            beaten = any(
                gains[j] >= gains[i] and costs[j] <= costs[i] and (gains[j] > gains[i] or costs[j] < costs[i])
                for j in range(7)
            )
            assert found[i] == (not beaten)


def test_recommended_agrees_with_a_loop_and_lies_on_the_front() -> None:
    generator = np.random.default_rng(6)
    gain, cost = generator.integers(0, 6, (2, 200, 7)).astype(float)
    for gains, costs, found in zip(gain, cost, recommend(gain, cost, 2.0), strict=True):
        near = [i for i in range(7) if costs[i] <= min(costs) + 2]
        best = max(near, key=lambda i: (gains[i], -costs[i]))
        assert (gains[found], costs[found]) == (gains[best], costs[best])
        assert non_dominated(gains, costs)[found]
