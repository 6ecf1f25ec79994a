"""The statements on transfer between categories, on records of both outcomes and of too little data."""

from pathlib import Path

import pandas as pd
import pytest
from analysis_record import Cell, EditImages, checked, image_rows, verdicts, write_study

from slackoff.analysis import load
from slackoff.analysis.claims import check
from slackoff.analysis.statistics import difference_interval
from slackoff.analysis.text import MINUS

COUNTS = (8, 128, 1024)
CATEGORIES = ("celeba", "div2k", "manga109", "urban100")


def cells(manga: tuple[float, float, float] = (-4, -0.1, 3), test_set: str = "div2k", **apart: float) -> list[Cell]:
    """Four categories alike but for manga, whose E_R, share and E_B are shifted; `apart` shifts E_R of others."""
    made = []
    for category in CATEGORIES:
        shift = manga if category == "manga109" else (apart.get(category, 0.0), 0.0, 0.0)
        for count, e_r in zip(COUNTS, (48, 40, 32), strict=True):
            cell = Cell({"patch_count": count, "background": category}, test_set=test_set)
            cell.e_r, cell.share, cell.e_b = e_r + shift[0], 0.6 + shift[1], 10 + shift[2]
            made.append(cell)
    return made


def test_manga_is_worst_and_the_others_are_alike(runs: Path) -> None:
    made = cells()
    found = checked(runs, made, "transfer")
    assert set(verdicts(found).values()) == {"supported"}
    claim = found["e_r_manga_worst"]
    by_axes = {tuple(cell.axes.values()): image_rows(cell)["e_r"] for cell in made}
    gap = difference_interval(by_axes[128, "celeba"], by_axes[128, "manga109"])
    assert claim.numbers["gaps"]["celeba at N = 128"] == pytest.approx({"mean": 4, "low": gap.low, "high": gap.high})
    assert len(claim.numbers["gaps"]) == 9
    assert "9 of 9 comparisons have the Manga-trained worse. The Manga-trained are the worst at every" in claim.sentence
    assert set(found["e_r_alike_from_128"].numbers["gaps"]) == {
        f"{category} at N = {count}" for category in ("celeba", "urban100") for count in (128, 1024)
    }


def test_manga_that_is_better_contradicts(runs: Path) -> None:
    found = checked(runs, cells(manga=(4, 0.1, -3)), "transfer")
    for measure in ("e_r", "removal_share", "e_b"):
        assert found[f"{measure}_manga_worst"].verdict == "contradicted"
    sentence = found["e_r_manga_worst"].sentence
    assert f"0 of 9 comparisons have the Manga-trained worse; not celeba at N = 8 ({MINUS}4.0" in sentence
    assert "and 6 others" in found["e_r_manga_worst"].sentence


def test_one_count_at_which_manga_is_not_worst_contradicts(runs: Path) -> None:
    made = cells()
    made[7].e_r += 9
    assert made[7].axes == {"patch_count": 128, "background": "manga109"}
    claim = checked(runs, made, "transfer")["e_r_manga_worst"]
    assert claim.verdict == "contradicted"
    assert "6 of 9 comparisons" in claim.sentence


def test_e_b_may_be_worse_where_removal_is_not(runs: Path) -> None:
    found = checked(runs, cells(manga=(-4, 0.1, 3)), "transfer")
    assert (found["e_r_manga_worst"].verdict, found["removal_share_manga_worst"].verdict) == (
        "supported",
        "contradicted",
    )
    assert found["e_r_manga_worst"].disagreement == "Holds for E_R, not for removal itself."
    assert found["e_b_manga_worst"].disagreement == ""


@pytest.mark.parametrize("shift", [6.0, -6.0])
def test_others_beyond_the_margin_contradict_on_either_side(runs: Path, shift: float) -> None:
    claim = checked(runs, cells(urban100=shift), "transfer")["e_r_alike_from_128"]
    assert claim.verdict == "contradicted"
    assert claim.effect is not None
    assert claim.effect.mean == pytest.approx(shift)
    assert "urban100" in claim.effect.what


def test_others_near_the_margin_decide_nothing(runs: Path) -> None:
    assert checked(runs, cells(urban100=3.0), "transfer")["e_r_alike_from_128"].verdict == "not enough data"


def test_other_test_sets_are_left_out(runs: Path, edit_images: EditImages) -> None:
    made = cells()
    study = write_study(runs, made, claims=["transfer"])
    for cell in made:
        edit_images(cell, lambda rows: pd.concat([rows, rows.assign(test_set="own", e_r=1.0)]))
    claims = [claim for claim in check(load(study)) if claim.family == "transfer"]
    assert {claim.verdict for claim in claims} == {"supported"}
    assert all("own" not in claim.scope for claim in claims)


def test_without_the_test_set_nothing_is_decided(runs: Path) -> None:
    found = checked(runs, cells(test_set="own"), "transfer")
    assert set(verdicts(found).values()) == {"not enough data"}
    expected = "There is no result on the test set div2k for celeba, div2k, manga109 and urban100."
    assert found["e_r_manga_worst"].sentence.startswith(expected)


def test_categories_that_are_missing_are_named(runs: Path) -> None:
    made = [cell for cell in cells() if cell.axes["background"] in ("div2k", "manga109")]
    found = checked(runs, made, "transfer")
    assert found["e_r_manga_worst"].verdict == "supported"
    assert "There is no result for celeba and urban100." in found["e_r_manga_worst"].sentence
    assert found["e_r_alike_from_128"].verdict == "not enough data"
    assert found["e_r_alike_from_128"].sentence.startswith("There is no result on the test set div2k for celeba and")


def test_small_counts_say_nothing_about_128(runs: Path) -> None:
    made = [cell for cell in cells() if cell.axes["patch_count"] == 8]
    claim = checked(runs, made, "transfer")["e_b_alike_from_128"]
    assert claim.sentence == "There is no count from 128 on at which all three have results."


def test_few_images_decide_nothing(runs: Path) -> None:
    made = cells()
    for cell in made:
        cell.images = 4
    assert set(verdicts(checked(runs, made, "transfer")).values()) == {"not enough data"}
