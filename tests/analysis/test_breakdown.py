"""Curves stretched to 0 .. 1, where they fall below one half, and break points, each against the same by hand."""

import numpy as np
import pandas as pd
import pytest
from analysis_record import Cell, MakeFrames, image_rows

from slackoff.analysis.axes import lines
from slackoff.analysis.breakdown import (
    FALLS,
    FEW,
    RULE,
    STAYS,
    break_point_figure,
    break_points,
    crossing,
    normalised,
    normalised_curves,
    pairs,
)
from slackoff.analysis.groups import Group, groups
from slackoff.analysis.tables import study_table
from slackoff.errors import SlackoffError

COUNTS = (8, 16, 64, 256, 1024)


def study(frames_of: MakeFrames, means: tuple[float, ...], **others: object) -> Group:
    cells = [Cell({"patch_count": n}, e_r=mean, **others) for n, mean in zip(COUNTS, means, strict=False)]  # type: ignore[arg-type]
    return groups(frames_of(cells))[0]


def test_means_are_stretched_between_least_and_greatest(frames_of: MakeFrames) -> None:
    curve = normalised(study(frames_of, (50, 45, 34, 30, 32)), "e_r")
    assert curve.values == list(COUNTS)
    assert [level.mean for level in curve.levels] == pytest.approx([1, 0.75, 0.2, 0, 0.1])
    assert curve.extent.mean == pytest.approx(20)


def test_each_resample_is_stretched_on_its_own(frames_of: MakeFrames) -> None:
    """Against a loop that draws the images, averages, stretches and looks for the last value above one half."""
    means = (44.0, 42.0, 41.5, 41.0, 40.0)
    group = study(frames_of, means, noise=4.0, images=12)
    images = np.array(
        [
            image_rows(Cell({"patch_count": n}, e_r=m, noise=4, images=12))["e_r"]
            for n, m in zip(COUNTS, means, strict=True)
        ]
    )
    generator = np.random.default_rng(3)
    stretched, last = [], []
    for _ in range(4000):
        drawn = images[:, generator.integers(12, size=12)].mean(axis=1)
        stretched.append((drawn - drawn.min()) / (drawn.max() - drawn.min()))
        last.append(max(n for n, level in zip(COUNTS, stretched[-1], strict=True) if level > 0.5))
    low, high = np.percentile(stretched, [2.5, 97.5], axis=0)
    curve, found = normalised(group, "e_r"), crossing(group, "e_r")
    assert [level.low for level in curve.levels] == pytest.approx(low, abs=0.06)
    assert [level.high for level in curve.levels] == pytest.approx(high, abs=0.06)
    shares = [(np.array(last) == n).mean() for n in COUNTS]
    assert [(found.draws == n).mean() for n in COUNTS] == pytest.approx(shares, abs=0.04)
    assert (found.low, found.high) == tuple(np.percentile(last, [2.5, 97.5], method="nearest"))
    assert curve.draws.min() == 0
    assert curve.draws.max() == 1


@pytest.mark.parametrize(
    ("means", "level", "last", "falls"),
    [
        ((50, 45, 34, 30, 32), RULE, 16, True),
        ((50, 45, 34, 30, 32), 0.15, 64, True),
        ((50, 45, 34, 30, 32), 0.8, 8, True),
        ((50, 32, 46, 30, 31), RULE, 64, True),  # a dip is not the end
        ((50, 40, 30), RULE, 8, True),  # exactly one half is not above
        ((30, 32, 40, 45, 50), RULE, 1024, False),
    ],
)
def test_crossing_is_the_last_value_above_the_level(
    frames_of: MakeFrames, means: tuple[float, ...], level: float, last: int, falls: bool
) -> None:
    found = crossing(study(frames_of, means, noise=0.0), "e_r", level)
    assert (found.value, found.falls) == (last, falls)
    if last == 16:
        assert (found.low, found.high, RULE) == (16, 16, 0.5)


def test_stretched_noise_is_told_by_its_extent(frames_of: MakeFrames) -> None:
    noise = crossing(study(frames_of, (40.05, 40.0, 40.02, 40.0, 40.0), noise=2.0), "e_r")
    effect = crossing(study(frames_of, (50, 45, 34, 30, 32)), "e_r")
    assert (noise.extent.sign, effect.extent.sign) == (0, 1)


def test_groups_on_the_same_images_break_down_in_the_same_resamples(frames_of: MakeFrames) -> None:
    cells = [
        Cell({"rain": rain, "patch_count": n}, e_r=mean, noise=0.0)
        for rain, means in (("small", (50, 34, 30, 30, 30)), ("large", (50, 50, 48, 44, 30)))
        for n, mean in zip(COUNTS, means, strict=True)
    ]
    small, large = (crossing(group, "e_r") for group in groups(frames_of(cells)))
    assert (small.draws < large.draws).all()


def test_nothing_to_stretch_gives_no_numbers(frames_of: MakeFrames) -> None:
    flat = study(frames_of, (40, 40, 40), noise=0.0)
    assert np.isnan([level.mean for level in normalised(flat, "e_r").levels]).all()
    assert crossing(flat, "e_r").value is None
    assert crossing(study(frames_of, (40,)), "e_r").value is None
    nothing = groups(frames_of([Cell({"patch_count": 8}, state="failed")]))[0]
    assert normalised(nothing, "e_r").levels == []
    assert crossing(nothing, "e_r").value is None


def test_one_image_gives_no_interval(frames_of: MakeFrames) -> None:
    group = study(frames_of, (50, 45, 34, 30, 32), images=1)
    found = crossing(group, "e_r")
    assert (found.value, found.low, found.high) == (16, None, None)
    assert np.isnan(normalised(group, "e_r").levels[1].low)


POINTS = (8, 64, 256, 1024)


def falling(rain: str, shares: list[float], **more: float) -> list[Cell]:
    return [
        Cell({"patch_count": count, "rain": rain}, share=share, **more)
        for count, share in zip(POINTS, shares, strict=True)
    ]


def test_the_break_point_is_the_last_count_above_half_of_the_range(frames_of: MakeFrames) -> None:
    frames = frames_of([*falling("small", [0.8, 0.5, 0.45, 0.4]), *falling("large", [0.8, 0.79, 0.75, 0.4])])
    table = break_points(frames).set_index("rain")
    assert list(table["verdict"]) == [FALLS, FALLS]
    assert dict(table["last_above"]) == {"small": 8, "large": 256}
    assert table["fall"].to_numpy() == pytest.approx([0.4, 0.4])
    assert list(table["images"]) == [20, 20]


def test_a_measure_that_does_not_fall_has_no_break_point(frames_of: MakeFrames) -> None:
    flat = break_points(frames_of(falling("small", [0.5, 0.6, 0.5, 0.5], noise=3.0))).iloc[0]
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
    frames = frames_of([*falling("small", [0.8, 0.63, 0.57, 0.4], noise=12.0), *falling("large", [0.5, 0.6, 0.5, 0.5])])
    table = break_points(frames)
    (ax,) = break_point_figure(table, "patch_count", list(POINTS)).axes
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


def test_normalised_curves_run_from_one_to_nought_and_ring_the_last_above_the_rule(frames_of: MakeFrames) -> None:
    falls = {"small": (50, 34, 30, 30), "medium": (50, 46, 34, 30), "large": (50, 49, 47, 30)}
    frames = frames_of(
        [
            Cell({"rain": rain, "patch_count": n}, e_r=mean, share=mean / 100)
            for rain, means in falls.items()
            for n, mean in zip((8, 64, 256, 1024), means, strict=True)
        ]
    )
    figure = normalised_curves(pairs(lines(study_table(frames), "patch_count"), groups(frames), {}))
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


@pytest.mark.parametrize(("counts", "stretched"), [((8, 64), 0), ((8, 64, 256), 2)])
def test_a_line_with_two_counts_is_not_stretched(
    frames_of: MakeFrames, counts: tuple[int, ...], stretched: int
) -> None:
    frames = frames_of([Cell({"rain": rain, "patch_count": n}) for rain in ("small", "large") for n in counts])
    assert len(pairs(lines(study_table(frames), "patch_count"), groups(frames), {})) == stretched
