"""The statements on the image category, on records of both outcomes and of too little data."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from analysis_record import Cell, EditImages, checked, verdicts, write_study

from slackoff.analysis import load
from slackoff.analysis.claims import check
from slackoff.analysis.claims.breakdown import BreakDowns, break_downs
from slackoff.analysis.claims.comparisons import comparisons

COUNTS = (8, 16, 32, 64, 128, 256)
LASTS = {"celeba": 8, "div2k": 16, "manga109": 64, "urban100": 128}


def cells(lasts: dict[str, int], shares: dict[str, int] | None = None, counts: tuple[int, ...] = COUNTS) -> list[Cell]:
    """Categories whose E_R (and removal share) drops after the given count."""
    shares = shares or lasts
    return [
        Cell(
            {"patch_count": count, "background": category},
            e_r=48 if count <= last else 28,
            share=0.75 if count <= shares[category] else 0.4,
            test_set="own",
        )
        for category, last in lasts.items()
        for count in counts
    ]


def test_categories_like_the_papers_support_everything(runs: Path) -> None:
    found = checked(runs, cells(LASTS), "category")
    assert set(verdicts(found).values()) == {"supported"}
    assert found["e_r_simpler_later"].numbers["spearman"]["mean"] == 1
    drop = found["e_r_celeba_drops_at_16"].numbers
    assert (drop["celeba"]["mean"], drop["div2k"]["mean"]) == pytest.approx((1, 0), abs=0.05)
    assert "CelebA is first, alone, in 100 % of the resamples." in found["e_r_celeba_first"].sentence


def test_the_reverse_contradicts(runs: Path) -> None:
    found = checked(runs, cells({"celeba": 128, "div2k": 64, "manga109": 16, "urban100": 8}), "category")
    assert found["e_r_celeba_first"].verdict == "contradicted"
    assert found["e_r_simpler_later"].verdict == "contradicted"
    assert found["e_r_simpler_later"].numbers["spearman"]["mean"] == -1


def test_a_drop_of_div2k_alone_contradicts_that_of_celeba(runs: Path) -> None:
    found = checked(runs, cells({"celeba": 32, "div2k": 8}), "category")
    assert found["e_r_celeba_drops_at_16"].verdict == "contradicted"


def test_removal_itself_is_judged_apart(runs: Path) -> None:
    found = checked(runs, cells(LASTS, dict(zip(LASTS, reversed(LASTS.values()), strict=True))), "category")
    assert (found["e_r_celeba_first"].verdict, found["removal_share_celeba_first"].verdict) == (
        "supported",
        "contradicted",
    )
    assert found["er_versus_removal"].verdict == "contradicted"


def test_categories_that_are_missing_are_named(runs: Path) -> None:
    found = checked(runs, cells({"div2k": 16, "urban100": 128}), "category")
    assert found["e_r_celeba_first"].sentence == "There is no result for background celeba."
    assert found["e_r_celeba_drops_at_16"].sentence == "There is no result for background celeba."
    assert found["e_r_simpler_later"].sentence == "It takes 3 categories with results; there are 2."
    assert set(verdicts(found).values()) == {"not enough data"}


def test_one_category_alone_is_compared_with_nothing(runs: Path) -> None:
    claim = checked(runs, cells({"celeba": 8}), "category")["e_r_celeba_first"]
    assert (claim.verdict, claim.sentence) == ("not enough data", "There is no other category with results.")


def test_counts_that_are_missing_are_named(runs: Path) -> None:
    claim = checked(runs, cells(LASTS, counts=(8, 32, 64, 256)), "category")["e_r_celeba_drops_at_16"]
    assert claim.sentence == "There is no result at N = 16 for both."


def test_few_images_decide_nothing(runs: Path) -> None:
    made = cells(LASTS)
    for cell in made:
        cell.images = 3
    assert set(verdicts(checked(runs, made, "category")).values()) == {"not enough data"}


def test_each_category_may_have_test_images_of_its_own(runs: Path, edit_images: EditImages) -> None:
    made = cells(LASTS)
    study = write_study(runs, made, claims=["category"])
    for cell in made:
        name = cell.axes["background"]

        def renamed(rows: pd.DataFrame, name: str = name) -> pd.DataFrame:
            return rows.assign(image=name + "-" + rows["image"]).head(20 if name == "celeba" else 12)

        edit_images(cell, renamed)
    found = {claim.id: claim for claim in check(load(study)) if claim.family == "category"}
    assert set(verdicts(found).values()) == {"supported"}
    assert found["e_r_celeba_first"].numbers["images"] == 12


@pytest.mark.parametrize("same_images", [True, False])
def test_break_downs_are_paired_on_the_same_images_only(runs: Path, edit_images: EditImages, same_images: bool) -> None:
    """Two categories with the same values of E_R: their break-downs move together only on the same images."""
    made = cells({"celeba": 8, "div2k": 8}, counts=(8, 64, 1024))
    study = write_study(runs, made, claims=["category"])
    for cell in made:
        e_r = {8: 48.0, 64: 38.0, 1024: 28.0}[cell.axes["patch_count"]]
        noise = np.random.default_rng(cell.axes["patch_count"]).normal(size=20)
        prefix = "" if same_images else cell.axes["background"]

        def changed(rows: pd.DataFrame, e_r: float = e_r, noise: np.ndarray = noise, to: str = prefix) -> pd.DataFrame:
            return rows.assign(e_r=e_r + noise - noise.mean(), image=to + rows["image"])

        edit_images(cell, changed)
    found = break_downs(comparisons(load(study), "background")[0], ["celeba", "div2k"], "e_r")
    assert isinstance(found, BreakDowns)
    together = np.corrcoef(found.joint.draws.T)[0, 1]
    assert together == pytest.approx(1) if same_images else abs(together) < 0.06
