"""Break-downs at levels that are common to all curves, against means whose order is known, and against bare loops."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from analysis_record import ORACLE_SHARE, Cell, MakeFrames, checked, effect, write_study

from slackoff.analysis import load, report
from slackoff.analysis.axes import new_figure
from slackoff.analysis.common_level import (
    CommonLevels,
    band,
    common_level_figure,
    common_level_table,
    common_levels,
    curves_together,
    describe_common,
    widest,
)
from slackoff.analysis.groups import Group, groups
from slackoff.analysis.report import build
from slackoff.analysis.tables import study_table

STUDIES = {
    "built-in photos": {
        8: (0.99, 0.89, 0.91),
        16: (0.89, 0.86, 0.90),
        32: (0.83, 0.86, 0.84),
        64: (0.87, 0.93, 0.94),
        256: (0.70, 0.87, 0.91),
        512: (0.71, 0.89, 0.92),
        1024: (0.69, 0.85, 0.93),
    },
    "NATURAL": {
        8: (0.69, 0.63, 0.65),
        64: (0.52, 0.69, 0.79),
        256: (0.52, 0.69, 0.81),
        1024: (0.51, 0.67, 0.78),
    },
}
"""Removal shares of small, medium and large in docs/studies.md; oracles 0.92 and 0.95."""

ORACLES = {"built-in photos": 0.92, "NATURAL": 0.95}
RANGES = ("small", "medium", "large")


def cells(study: str = "built-in photos", noise: float = 0.1) -> list[Cell]:
    return [
        Cell({"rain": rain, "patch_count": count}, share=share * ORACLE_SHARE / ORACLES[study], noise=noise)
        for count, shares in STUDIES[study].items()
        for rain, share in zip(RANGES, shares, strict=True)
    ]


def found_of(frames_of: MakeFrames, made: list[Cell], measure: str = "removal_share") -> CommonLevels:
    return common_levels({group.labels["rain"]: group for group in groups(frames_of(made))}, measure)


def test_places_are_the_last_counts_above_each_level(frames_of: MakeFrames) -> None:
    found = found_of(frames_of, cells())
    assert (found.names, found.counts) == (list(RANGES), list(STUDIES["built-in photos"]))
    for level, places in zip(found.levels, found.places, strict=True):
        for column, place in enumerate(places):
            shares = {count: row[column] / 0.92 for count, row in STUDIES["built-in photos"].items()}
            assert place == max([count for count, share in shares.items() if share > level], default=0)
    assert found.levels[0] == pytest.approx(0.75)  # 0.69 of 0.92: no curve is below less
    assert found.levels[-1] == pytest.approx(1.01)  # Medium reaches 0.93 of 0.92
    means = np.array(list(STUDIES["built-in photos"].values())).T / 0.92
    assert found.ratios == pytest.approx(means, abs=1e-3)


def test_each_resample_has_break_downs_of_its_own(frames_of: MakeFrames) -> None:
    found = found_of(frames_of, cells(noise=4.0))
    level = int(np.argmin(np.abs(found.levels - 0.95)))
    low, high = found.interval(level, 1)
    assert low < high
    assert set(np.unique(found.draws)) <= {0.0, *map(float, found.counts)}
    assert (found.draws[:, level, 1] == found.places[level, 1]).mean() < 1


@pytest.mark.parametrize(
    ("study", "means", "spans", "verdict"),
    [
        ("built-in photos", "0.93 to 1.01", "8 to 16 for small, 64 to 512 for medium and at least", "supported"),
        ("NATURAL", "0.71 to 0.72", "8 for small, 256 for medium and at least", "not enough data"),
    ],
)
def test_the_means_of_the_studies_have_a_band_in_which_the_order_holds(
    runs: Path, study: str, means: str, spans: str, verdict: str
) -> None:
    """Below one half of each curve's own range the same record decides nothing: two of the curves do not fall.

    The second band is narrower than the images move all curves together, which the intervals say.
    """
    found = checked(runs, cells(study), "rainrange")
    claim = found["removal_share_breaks_later_at_a_common_level"]
    assert claim.verdict == verdict
    assert f"The means have that order at levels from {means} of the oracle (a band " in claim.sentence
    assert f"the last N above the level is {spans}" in claim.sentence
    low, high = map(float, means.split(" to "))
    assert claim.numbers["band_of_means"] == pytest.approx(high - low + 0.01)
    assert (0 < claim.numbers["band_of_intervals"] <= claim.numbers["band_of_means"]) == (verdict == "supported")
    assert effect(claim).unit == "doublings of N"
    assert found["removal_share_breaks_later"].verdict == "not enough data"


@pytest.mark.parametrize(("against", "sure"), [(0.01, True), (0.02, False)])
def test_the_share_of_resamples_against_an_order_is_divided_among_the_levels_of_a_curve(against: float, sure: bool):
    """Three counts have two levels between them: 1.25 % a side in the place of 2.5 %."""
    draws = np.full((1000, 1, 2), [8.0, 32.0])
    draws[: round(1000 * against)] = [32.0, 8.0]
    found = CommonLevels(
        "removal_share", "patch_count", ["small", "large"], [8, 16, 32], np.ones((2, 3)), np.array([0.9]),
        draws[-1], draws, joint=SimpleNamespace(units=50),
    )  # fmt: skip
    holds, surely, _ = found.verdicts(lambda places: places[..., 1:] - places[..., :1])
    assert holds.tolist() == [True]
    assert surely.tolist() == [sure]


def test_intervals_that_leave_the_order_open_decide_nothing(runs: Path) -> None:
    claim = checked(runs, cells(noise=6.0), "rainrange")["removal_share_breaks_later_at_a_common_level"]
    assert claim.verdict == "not enough data"
    assert claim.numbers["band_of_intervals"] == 0
    assert "the intervals decide it at none" in claim.sentence


def test_the_opposite_order_is_contradicted(runs: Path) -> None:
    made = cells()
    for cell in made:
        cell.axes["rain"] = {"small": "large", "large": "small"}.get(cell.axes["rain"], "medium")
    claim = checked(runs, made, "rainrange")["removal_share_breaks_later_at_a_common_level"]
    assert claim.verdict == "contradicted"
    assert "The means have that order at no common level; the intervals decide against it at" in claim.sentence


def test_curves_that_differ_by_chance_alone_are_seldom_put_in_an_order() -> None:
    """Three curves of one truth, 60 studies of 20 images: an order of two steps is decided in hardly any."""
    generator, decided = np.random.default_rng(8), 0
    truth = np.array([0.9, 0.85, 0.8, 0.75, 0.7])
    counts = [8, 32, 128, 512, 2048]
    frame = pd.DataFrame({"patch_count": np.repeat(counts, 20), "image": [f"{n:02d}" for n in range(20)] * 5})
    frame = frame.assign(test_set="t", cell=frame["patch_count"].astype(str), removal_share_oracle=1.0)

    def order(places: np.ndarray) -> np.ndarray:
        return np.stack([places[..., 1] - places[..., 0], places[..., 2] - places[..., 1]], axis=-1)

    for _ in range(60):
        compared = {}
        for name in RANGES:
            noise = 0.15 * generator.normal(size=(5, 20))
            rows = frame.assign(removal_share=(truth[:, None] + noise).ravel())
            compared[name] = Group("patch_count", {"rain": name}, rows, rows)
        decided += common_levels(compared, "removal_share").verdicts(order)[1].any()
    assert decided <= 2


def test_few_shared_counts_and_flat_curves_are_told(runs: Path, frames_of: MakeFrames) -> None:
    made = [cell for cell in cells() if cell.axes["patch_count"] in (8, 64)]
    claim = checked(runs, made, "rainrange")["removal_share_breaks_later_at_a_common_level"]
    assert claim.sentence.startswith("It takes results at 3 counts in each group; they share 2.")
    flat = [
        Cell({"rain": rain, "patch_count": count}, share=0.5, noise=0.0) for rain in RANGES for count in (8, 16, 32)
    ]
    found = found_of(frames_of, flat)
    assert not len(found.levels)
    assert (
        describe_common(found) == "There is no level that the removal share of all of them reaches and one falls below."
    )


def test_without_a_common_level_none_is_drawn(
    runs: Path, frames_of: MakeFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor spoken of: a panel without one says so, and of no panel with one there is no figure."""
    for part in ("curves", "tradeoff", "training", "normalised_curves"):
        monkeypatch.setattr(report, part, lambda *_: new_figure(1, 1))
    for e_r, any_level in ((0.0, False), (1.0, True)):
        made = [
            Cell({"rain": f"_{rain}", "patch_count": count}, e_r=40 - e_r * count, share=0.5, noise=0.0)
            for rain in RANGES
            for count in (8, 16, 32)
        ]
        found = report.Findings.of(frames_of(made))
        (part,) = found.together
        assert part.any_level == any_level
        assert any(figure.kind == "common_level" for figure in report.draw(found)) == any_level
        ax = common_level_figure(part).axes[1]
        legend = ax.get_legend()
        assert legend is not None
        assert legend.get_title().get_text() == "no level for all: none that all reach and one falls below"
        assert [text.get_text() for text in legend.get_texts()] == [f" _{rain}" for rain in RANGES]
        assert not [line for line in ax.get_lines() if line.get_linestyle() == "--" and len(line.get_xdata()) == 2]


def test_the_widest_band_is_told_with_what_lies_outside_it() -> None:
    where = np.array([True, False, True, True, True, False])
    levels = np.array([0.5, 0.51, 0.52, 0.53, 0.54, 0.55])
    assert levels[widest(where)].tolist() == [0.52, 0.53, 0.54]
    assert band(levels, where) == "0.52 to 0.54 of the oracle (a band 0.03 wide, 0.04 with levels outside it)"
    assert band(levels, levels == 0.5) == "0.50 of the oracle (a band 0.01 wide)"
    assert not widest(np.zeros(3, dtype=np.bool_)).any()


def test_the_report_has_table_figure_and_sentence(runs: Path) -> None:
    folder = write_study(runs, cells(), "rainrange", claims=["rainrange"])
    frames = load(folder)
    made = curves_together(study_table(frames), "patch_count", groups(frames))
    (part,) = made
    share = part.found["removal_share"]
    sentence = describe_common(share)
    assert sentence.startswith(
        "At a level of 0.93 to 1.01 of the oracle (a band 0.09 wide) the last N with the removal share above it is "
        "8 to 64 for small, 64 to 512 for medium and at least 1024 for large. The intervals decide that order at 0.9"
    )
    ax = common_level_figure(part).axes[1]
    (level,) = [line for line in ax.get_lines() if line.get_linestyle() == "--" and len(line.get_xdata()) == 2]
    assert level.get_ydata()[0] == pytest.approx(0.97)  # type: ignore[index]
    rings = [line.get_xdata()[0] for line in ax.get_lines() if line.get_fillstyle() == "none"]  # type: ignore[index]
    assert rings == [8, 64]
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["small: 8", "medium: 64", "large: at least 1024"]
    page = build(folder).read_text()
    assert sentence in page
    assert (folder / "figures" / "common_level.png").stat().st_size > 20_000
    written = pd.read_csv(folder / "tables" / "common_levels.csv")
    assert len(written) == len(common_level_table(made)) > 0
    at = written[(written["measure"] == "removal_share") & (written["level"] == 0.99)].set_index("curve")
    assert at["last_above"].to_dict() == {"small": 8, "medium": 64, "large": 1024}
    assert at["within"].to_dict() == {"small": True, "medium": True, "large": False}
