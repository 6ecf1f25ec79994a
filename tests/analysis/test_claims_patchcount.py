"""The statements on single patch counts and on E_B, on records of both outcomes and of too little data."""

from pathlib import Path

import numpy as np
import pytest
from analysis_record import ORACLE_E_R, Cell, checked, image_rows
from scipy import stats

from slackoff.analysis.claims.patchcount import spearman
from slackoff.analysis.statistics import difference_interval

COUNTS = (8, 64, 256, 1024, 30000)
STATED = ("rank", "handled_at_8", "gone_at_256", "settled_at_1024")


def cells(
    e_r: list[float], share: list[float] | None = None, e_b: list[float] | None = None, counts: tuple[int, ...] = COUNTS
) -> list[Cell]:
    """One cell per count with these means."""
    rows = zip(counts, e_r, share or [value / 80 for value in e_r], e_b or [10.0] * len(counts), strict=True)
    return [Cell({"patch_count": count}, e_r=of_r, share=part, e_b=of_b) for count, of_r, part, of_b in rows]


def test_a_curve_like_the_papers_supports_everything(runs: Path) -> None:
    found = checked(runs, cells([48, 40, 32, 30, 30], e_b=[30, 14, 8, 7, 7]), "patchcount")
    wanted = [f"{measure}_{topic}" for measure in ("e_r", "removal_share") for topic in STATED]
    for name in (*wanted, "e_b_rank", "e_b_near_at_256", "e_b_flattens_at_256"):
        assert found[name].verdict == "supported", name
        assert found[name].effect is not None


def test_the_opposite_contradicts(runs: Path) -> None:
    found = checked(runs, cells([10, 12, 30, 32, 48], e_b=[7, 7, 20, 15, 8]), "patchcount")
    for topic in ("rank", "handled_at_8", "gone_at_256"):
        assert found[f"e_r_{topic}"].verdict == found[f"removal_share_{topic}"].verdict == "contradicted", topic
    assert found["e_r_settled_at_1024"].verdict == "not enough data"
    assert "Without a clear fall there is nothing to compare with" in found["e_r_settled_at_1024"].sentence
    assert found["e_b_near_at_256"].verdict == found["e_b_flattens_at_256"].verdict == "contradicted"


def test_a_late_fall_is_neither_gone_nor_settled(runs: Path) -> None:
    found = checked(runs, cells([48, 47, 46, 44, 30]), "patchcount")
    assert found["e_r_falls"].verdict == "supported"
    assert found["e_r_gone_at_256"].verdict == found["e_r_settled_at_1024"].verdict == "contradicted"
    effect = found["e_r_gone_at_256"].effect
    assert effect is not None
    assert effect.mean == pytest.approx(2 / 18)


def test_a_rise_beyond_1024_is_no_small_change(runs: Path) -> None:
    assert checked(runs, cells([48, 40, 32, 24, 34]), "patchcount")["e_r_settled_at_1024"].verdict == "contradicted"


def test_numbers_are_the_paired_differences(runs: Path) -> None:
    made = cells([48, 40, 32, 30, 30], e_b=[30, 14, 8, 7, 7])
    found = checked(runs, made, "patchcount")
    at_256, last = (image_rows(made[place])["e_b"] for place in (2, 4))
    gap = difference_interval(at_256, last)
    assert found["e_b_near_at_256"].numbers["gap"] == pytest.approx({"mean": 1.0, "low": gap.low, "high": gap.high})
    assert found["e_b_near_at_256"].numbers["margin"] == 3.0
    assert found["e_r_handled_at_8"].numbers["ratio"]["mean"] == pytest.approx(48 / ORACLE_E_R)
    slopes = found["e_b_flattens_at_256"].numbers
    assert slopes["fall_per_doubling_before"]["mean"] == pytest.approx(22 / 5)
    assert slopes["fall_per_doubling_beyond"]["mean"] == pytest.approx(1 / np.log2(30000 / 256))


@pytest.mark.parametrize(
    ("at_256", "verdict"), [(24.0, "supported"), (27.0, "contradicted"), (25.0, "not enough data")]
)
def test_the_margin_of_e_b_is_a_quarter_where_that_is_more(runs: Path, at_256: float, verdict: str) -> None:
    found = checked(runs, cells([40] * 5, e_b=[60, 40, at_256, 21, 20]), "patchcount")["e_b_near_at_256"]
    assert (found.verdict, found.numbers["margin"]) == (verdict, pytest.approx(5))


def test_counts_that_a_study_lacks_are_named(runs: Path) -> None:
    found = checked(runs, cells([48, 40, 30], counts=(16, 64, 256)), "patchcount")
    assert found["e_r_handled_at_8"].sentence == "There is no result at N = 8."
    assert found["e_r_gone_at_256"].sentence == "There is no result beyond N = 256."
    assert found["e_r_settled_at_1024"].sentence == "There is no result at N = 1024."
    assert found["e_b_near_at_256"].sentence == "There is no result beyond N = 256."
    for name in (
        "e_r_handled_at_8",
        "e_r_gone_at_256",
        "e_r_settled_at_1024",
        "e_b_near_at_256",
        "e_b_flattens_at_256",
    ):
        assert found[name].verdict == "not enough data"


def test_failed_counts_are_named_and_give_no_error(runs: Path) -> None:
    made = cells([48, 40, 32, 30, 30])
    made[2].state = "failed"
    found = checked(runs, made, "patchcount")
    assert found["e_r_gone_at_256"].verdict == "not enough data"
    assert found["e_r_gone_at_256"].sentence == "There is no result at N = 256. No result for N = 256 (failed)."


def test_few_images_decide_nothing(runs: Path) -> None:
    made = cells([48, 40, 32, 30, 30], e_b=[30, 14, 8, 7, 7])
    for cell in made:
        cell.images = 4
    found = checked(runs, made, "patchcount")
    assert {claim.verdict for claim in found.values()} == {"not enough data"}
    assert "With 4 test images nothing is decided" in found["e_r_rank"].sentence


@pytest.mark.parametrize("counts", [(8, 64), (8,)])
def test_a_rank_needs_three_counts(runs: Path, counts: tuple[int, ...]) -> None:
    claim = checked(runs, cells([48, 40][: len(counts)], counts=counts), "patchcount")["e_r_rank"]
    assert claim.verdict == "not enough data"
    assert claim.sentence == f"A rank correlation takes results at 3 values of N; there are {len(counts)}."


def test_rank_correlation_is_that_of_scipy_in_every_row() -> None:
    means = np.random.default_rng(3).normal(size=(20, 7))
    expected = [stats.spearmanr(range(7), row).statistic for row in means]
    np.testing.assert_allclose(spearman(means), expected)
    assert spearman(np.ones(4)) == 0


def test_rank_has_an_interval_over_the_images(runs: Path) -> None:
    made = cells([40.3, 40.2, 40.1, 40.2, 40.0])
    claim = checked(runs, made, "patchcount")["e_r_rank"]
    assert claim.numbers["spearman"]["mean"] == pytest.approx(stats.spearmanr(range(5), [4, 2.5, 1, 2.5, 0]).statistic)
    assert claim.numbers["spearman"]["low"] < claim.numbers["spearman"]["mean"] < claim.numbers["spearman"]["high"]
    assert claim.verdict == "not enough data"


def test_an_e_b_that_keeps_falling_does_not_flatten(runs: Path) -> None:
    e_b = [40 - 2.5 * float(np.log2(count)) for count in COUNTS]
    found = checked(runs, cells([48, 40, 32, 30, 30], e_b=e_b), "patchcount")
    assert found["e_b_falls"].verdict == "supported"
    assert found["e_b_flattens_at_256"].verdict == "contradicted"
    assert found["e_b_flattens_at_256"].numbers["fall_per_doubling_beyond"]["mean"] == pytest.approx(2.5)
