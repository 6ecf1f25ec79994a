"""Break points against an independent computation from the results on disk."""

import numpy as np
import pandas as pd
import pytest
from analysis_record import Cell, MakeFrames

from slackoff.analysis.breakpoints import FALLS, FEW, STAYS, break_points
from slackoff.analysis.breakpoints_figure import break_point_figure
from slackoff.errors import SlackoffError

COUNTS = (8, 64, 256, 1024)


def cells(rain: str, shares: list[float], **more: float) -> list[Cell]:
    return [
        Cell({"patch_count": count, "rain": rain}, share=share, **more)
        for count, share in zip(COUNTS, shares, strict=True)
    ]


def test_the_break_point_is_the_last_count_above_half_of_the_range(frames_of: MakeFrames) -> None:
    frames = frames_of([*cells("small", [0.8, 0.5, 0.45, 0.4]), *cells("large", [0.8, 0.79, 0.75, 0.4])])
    table = break_points(frames).set_index("rain")
    assert list(table["verdict"]) == [FALLS, FALLS]
    assert dict(table["last_above"]) == {"small": 8, "large": 256}
    assert table["fall"].to_numpy() == pytest.approx([0.4, 0.4])
    assert list(table["images"]) == [20, 20]


def test_the_interval_comes_from_resampled_images(frames_of: MakeFrames) -> None:
    frames = frames_of(cells("small", [0.8, 0.63, 0.57, 0.4], noise=12.0))
    row = break_points(frames).iloc[0]
    wide = frames.images.pivot(index="image", columns="patch_count", values="removal_share")[list(COUNTS)].to_numpy()
    generator = np.random.default_rng(1)
    means = wide[generator.integers(0, len(wide), size=(4000, len(wide)))].mean(axis=1)
    stretched = (means - means.min(1, keepdims=True)) / np.ptp(means, axis=1)[:, None]
    last = np.array([max(c for c, v in zip(COUNTS, one, strict=True) if v > 0.5) for one in stretched])
    low, high = np.percentile(last, [2.5, 97.5], method="nearest")
    assert low < high
    assert (row["low"], row["high"]) == (low, high)


def test_a_measure_that_does_not_fall_has_no_break_point(frames_of: MakeFrames) -> None:
    flat = break_points(frames_of(cells("small", [0.5, 0.6, 0.5, 0.5], noise=3.0))).iloc[0]
    assert flat["verdict"] == STAYS
    assert flat["fall_low"] < 0 < flat["fall_high"]


def test_two_counts_are_too_few_and_names_have_none(frames_of: MakeFrames) -> None:
    few = break_points(frames_of([Cell({"patch_count": n}, share=s) for n, s in ((8, 0.8), (64, 0.4))])).iloc[0]
    assert few["verdict"] == FEW
    assert pd.isna(few["last_above"])
    assert few["fall"] == pytest.approx(0.4)
    with pytest.raises(SlackoffError, match="rain is of names"):
        break_points(frames_of([Cell({"rain": "small"})], "rain"))
    with pytest.raises(SlackoffError, match="has no 'e_x'"):
        break_points(frames_of([Cell({"patch_count": 8})]), "e_x")


def test_the_figure_draws_the_table(frames_of: MakeFrames) -> None:
    frames = frames_of([*cells("small", [0.8, 0.63, 0.57, 0.4], noise=12.0), *cells("large", [0.5, 0.6, 0.5, 0.5])])
    table = break_points(frames)
    (ax,) = break_point_figure(table, "patch_count", list(COUNTS)).axes
    marks = [line for line in ax.get_lines() if line.get_marker() == "o"]
    assert [tuple(line.get_xydata()[0]) for line in marks] == [  # type: ignore[index]
        (table["last_above"][1], 0),
        (table["last_above"][0], 1),
    ]
    assert [line.get_markerfacecolor() == "white" for line in marks] == [True, False]
    bars = [line.get_xdata() for line in ax.get_lines() if line.get_marker() == "None"]
    assert [table["low"][0], table["high"][0]] in [list(bar) for bar in bars]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["rain = large", "rain = small"]
    assert "falls by 0.40" in ax.texts[1].get_text()
