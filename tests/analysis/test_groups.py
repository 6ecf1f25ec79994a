"""Tables of results per value of the main axis, paired by image."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from analysis_record import Cell, Change, MakeFrames, image_rows

from slackoff.analysis.claims import scope
from slackoff.analysis.groups import REMOVED, Group, groups, in_order, means_at
from slackoff.analysis.statistics import difference_interval, mean_interval


def of_one(frames_of: MakeFrames, change: Change, **more: Any) -> list[Group]:
    """The groups of a study of one cell of 8 patches, whose results are changed."""
    return groups(frames_of([Cell({"patch_count": 8}, **more)], edits={0: change}))


def test_tables_of_two_values_pair_up_by_image_in_whatever_order_they_were_written(frames_of: MakeFrames) -> None:
    cells = [Cell({"patch_count": 8}, e_r=50), Cell({"patch_count": 64}, e_r=40)]
    group = groups(frames_of(cells, edits={1: lambda rows: rows.sample(frac=1, random_state=3)}))[0]
    expected = [image_rows(cell)["e_r"].to_numpy() for cell in cells]
    np.testing.assert_array_equal(group.table(8, "e_r")[0], expected[0])
    np.testing.assert_array_equal(group.table(64, "e_r")[0], expected[1])
    assert group.change(8, 64, "e_r") == difference_interval(expected[1], expected[0])
    assert group.level(8, "e_r") == mean_interval(expected[0])


def test_an_image_that_one_cell_lacks_is_nan_there(frames_of: MakeFrames) -> None:
    cells = [Cell({"patch_count": 8}), Cell({"patch_count": 64})]
    group = groups(frames_of(cells, edits={0: lambda rows: rows.drop(index=4)}))[0]
    assert np.isnan(group.table(8, "e_b")[0]).tolist() == [number == 4 for number in range(20)]
    assert group.change(8, 64, "e_b").images == 19


def test_removed_rain_is_share_times_oracle(frames_of: MakeFrames) -> None:
    cell = Cell({"patch_count": 8})
    rows = image_rows(cell)
    table = groups(frames_of([cell]))[0].table(8, REMOVED)
    np.testing.assert_allclose(table[0], rows["removal_share"] * rows["e_r_oracle"])


def test_a_measure_that_is_not_recorded_is_nan(frames_of: MakeFrames) -> None:
    group = of_one(frames_of, lambda rows: rows.drop(columns="removal_share"))[0]
    assert np.isnan(group.table(8, "removal_share")).all()
    assert np.isnan(group.table(8, REMOVED)).all()


def test_identical_images_count_with_the_capped_psnr(frames_of: MakeFrames) -> None:
    values = [np.inf, 20, 20, 20, 20, 20]
    (group,) = of_one(frames_of, lambda rows: rows.assign(psnr_rgb=values), images=6)
    assert group.level(8, "psnr_rgb").mean == pytest.approx((100 + 5 * 20) / 6)


def test_one_group_per_combination_of_the_other_axes_and_seeds_are_repeats(frames_of: MakeFrames) -> None:
    cells = [
        Cell({"patch_count": count, "rain": rain, "seed": seed, "width": 24})
        for rain in ("small", "large")
        for count in (64, 8)
        for seed in (0, 1, 2)
    ]
    found = groups(frames_of(cells))
    assert [group.labels for group in found] == [{"rain": "small"}, {"rain": "large"}]
    assert [group.name for group in found] == ["rain = small", "rain = large"]
    assert [group.values for group in found] == [[8, 64], [8, 64]]
    assert found[0].table(8, "e_r").shape == (3, 20)


def test_one_group_per_test_set(frames_of: MakeFrames) -> None:
    found = of_one(frames_of, lambda rows: pd.concat([rows, rows.head(7).assign(test_set="real", e_r=1.0)]))
    assert [group.labels for group in found] == [{"test set": "R100-like"}, {"test set": "real"}]
    assert [group.table(8, "e_r").shape for group in found] == [(1, 20), (1, 7)]
    assert found[1].level(8, "e_r").mean == 1.0


def test_values_without_results_are_known_but_not_done(frames_of: MakeFrames) -> None:
    cells = [Cell({"patch_count": 64}), Cell({"patch_count": 8}, state="failed")]
    group = groups(frames_of(cells))[0]
    assert (group.values, group.done) == ([8, 64], [64])
    assert np.isnan(group.table(8, "e_r")).all()
    assert group.level(8, "e_r").images == 0


def test_photographs_are_read_from_the_record(frames_of: MakeFrames) -> None:
    group = of_one(frames_of, lambda rows: rows.assign(source=[f"photo{number % 5}" for number in range(20)]))[0]
    assert group.level(8, "e_r").units == 5
    assert group.sources is not None
    assert list(group.sources[:6]) == ["photo0", "photo1", "photo2", "photo3", "photo4", "photo0"]


def test_images_without_a_photograph_beside_a_test_set_with_them_are_each_their_own(frames_of: MakeFrames) -> None:
    def with_pairs(rows: pd.DataFrame) -> pd.DataFrame:
        pairs = rows.assign(test_set="pairs", source=[f"photo{number % 5}" for number in rows.index])
        pairs.loc[0, "source"] = None
        return pd.concat([rows.assign(photograph=rows.index // 4), pairs])

    crops, pairs = of_one(frames_of, with_pairs)
    assert crops.sources is None
    assert (crops.level(8, "e_r").units, pairs.level(8, "e_r").units) == (20, 6)
    assert "(crops of 5 photographs)" in scope(crops)
    assert "crops of" not in scope(pairs)


def test_images_of_the_same_name_in_two_joined_test_sets_are_two_images(frames_of: MakeFrames) -> None:
    """Of one photograph where the digest of their background says so, else of two."""
    joined: dict[str, Any] = {"options": {"joined_test_sets": {"both": ["a", "b"]}}, "test_sets": ["both"]}
    half = ["same", "same", *(f"a{number}" for number in range(4))]
    other = ["same", *(f"b{number}" for number in range(5))]

    def two_sets(rows: pd.DataFrame) -> pd.DataFrame:
        return pd.concat(
            [rows.assign(test_set="a", source=half, e_b=1), rows.assign(test_set="b", source=other, e_b=3)]
        )

    for change, units in ((two_sets, 10), (lambda rows: two_sets(rows).drop(columns="source"), 12)):
        frames = frames_of([Cell({"patch_count": 8}, images=6)], edits={0: change}, **joined)
        (group,) = groups(frames)
        level = group.level(8, "e_b")
        assert (level.mean, level.images, level.units) == (2.0, 12, units)


def test_test_sets_whose_images_only_share_their_names_are_resampled_apart(frames_of: MakeFrames) -> None:
    one, other = of_one(frames_of, lambda rows: pd.concat([rows.assign(test_set=name) for name in ("a", "b")]))
    joint = means_at([(one, 8, "e_b"), (other, 8, "e_b"), (one, 8, "e_b")])
    assert np.array_equal(joint.draws[:, 0], joint.draws[:, 2])
    assert abs(np.corrcoef(joint.draws[:, 0], joint.draws[:, 1])[0, 1]) < 0.1


def test_test_sets_over_the_same_backgrounds_are_resampled_together(frames_of: MakeFrames) -> None:
    one, other = of_one(
        frames_of, lambda rows: pd.concat([rows.assign(test_set=name, source=rows["image"]) for name in ("a", "b")])
    )
    joint = means_at([(one, 8, "e_b"), (other, 8, "e_b")])
    assert np.array_equal(joint.draws[:, 0], joint.draws[:, 1])


def test_numbers_are_sorted_and_names_stay_in_their_order() -> None:
    assert in_order([64, 8.0, np.int64(1024), 8]) == [8, 64, 1024]
    assert in_order(["small", "medium", "large", "small"]) == ["small", "medium", "large"]
    assert in_order([True, False]) == [True, False]
