"""The ablations of MOSS: records like the published numbers, their opposite, and too little."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from analysis_record import Cell, image_rows, write_study

from slackoff.analysis import Frames, load
from slackoff.analysis.claims import check
from slackoff.analysis.claims.moss_published import TABLES
from slackoff.analysis.claims.published_tables import published_beside
from slackoff.analysis.claims.variant_tables import readable_variants, variant_table
from slackoff.analysis.report import build
from slackoff.analysis.tables import readable_teachers, teacher_table

SETS = {"dense": 10, "sparse": 10}


def record(runs: Path, family: str, numbers: dict[str, dict[str, tuple[float, float]]], **more: Any) -> Path:
    """A study whose cells have these PSNR and SSIM on each test set; joined ones are the mean of equal halves."""
    test_sets = list(numbers)
    variants = list(dict.fromkeys(variant for rows in numbers.values() for variant in rows))
    cells = [Cell({"variant": variant}) for variant in variants]
    options = {"joined_test_sets": {"sirr": ["dense", "sparse"]}} if test_sets == ["sirr"] else {}
    folder = write_study(
        runs, cells, name=family, axis="variant", claims=[family], test_sets=test_sets, options=options, **more
    )
    for cell in cells:
        rows = []
        for number, (name, count) in enumerate(SETS.items()):
            psnr, ssim = numbers["sirr" if "sirr" in numbers else name][cell.axes["variant"]]
            own = image_rows(Cell(cell.axes, psnr=psnr, ssim=ssim, images=count, test_set=name, noise=0.02))
            rows.append(own.assign(image=[f"{number}{place:02d}" for place in range(count)], psnr_rgb_input=10.0))
        pd.concat(rows).to_parquet(runs / "cells" / cell.id / "images.parquet")
    return folder


def frames(runs: Path, family: str, numbers: dict[str, dict[str, tuple[float, float]]] | None = None) -> Frames:
    return load(record(runs, family, numbers or TABLES[family].numbers))


@pytest.mark.parametrize(("family", "claims"), [("moss_ablation", 20), ("moss_tau", 4), ("moss_nu", 4)])
def test_the_published_numbers_support_what_the_supplement_states(runs: Path, family: str, claims: int) -> None:
    found = [claim for claim in check(frames(runs, family)) if claim.family == family]
    assert len(found) == claims
    against = [claim.id for claim in found if claim.verdict != "supported"]
    # The published SSIM of tau = 0 (0.876) lies below that without memory (0.888): against the supplement's own words.
    assert against == (["ssim_rgb_updated_memory"] if family == "moss_tau" else [])


@pytest.mark.parametrize("family", ["moss_ablation", "moss_tau", "moss_nu"])
def test_the_opposite_contradicts(runs: Path, family: str) -> None:
    turned = {
        name: {variant: (40 - psnr, 1.7 - ssim) for variant, (psnr, ssim) in rows.items()}
        for name, rows in TABLES[family].numbers.items()
    }
    found = [claim for claim in check(frames(runs, family, turned)) if claim.family == family]
    assert {claim.verdict for claim in found} == {"contradicted"}


def test_a_claim_gives_the_difference_that_decides(runs: Path) -> None:
    claims = check(frames(runs, "moss_ablation"))
    (claim,) = (c for c in claims if c.id == "psnr_rgb_without_memory" and c.group == "test set = dense")
    assert claim.effect is not None
    assert claim.effect.mean == pytest.approx(22.91 - 22.21, abs=1e-6)
    assert claim.numbers["images"] == 10
    assert "full over without memory (+0.70" in claim.sentence


def test_a_variant_without_result_decides_nothing(runs: Path) -> None:
    numbers = {
        name: {"full": rows["full"], "basic": rows["basic"]} for name, rows in TABLES["moss_ablation"].numbers.items()
    }
    found = [claim for claim in check(frames(runs, "moss_ablation", numbers)) if claim.family == "moss_ablation"]
    assert {claim.verdict for claim in found} == {"not enough data"}
    assert any("There is no result for without memory." in claim.sentence for claim in found)


def test_networks_that_only_damage_their_input_decide_nothing(runs: Path) -> None:
    numbers = {
        name: {variant: (psnr - 20, ssim) for variant, (psnr, ssim) in rows.items()}
        for name, rows in TABLES["moss_ablation"].numbers.items()
    }
    found = [claim for claim in check(frames(runs, "moss_ablation", numbers)) if claim.family == "moss_ablation"]
    assert {claim.verdict for claim in found} == {"not enough data"}
    assert any(
        "No variant gets better than its input (PSNR 7.78 dB at the best, input 10.00 dB)" in c.sentence for c in found
    )


def test_published_numbers_stand_beside_the_measured(runs: Path) -> None:
    table = variant_table(frames(runs, "moss_ablation"), TABLES["moss_ablation"])
    assert list(table["variant"][:6]) == list(TABLES["moss_ablation"].numbers["dense"])
    assert len(table) == 12
    for measure in ("psnr_rgb", "ssim_rgb"):
        assert table[measure].tolist() == pytest.approx(table[f"{measure}_published"].tolist(), abs=1e-6)
        gaps = table.dropna(subset=[f"{measure}_gap"])
        assert len(gaps) == 10
        assert gaps[f"{measure}_gap"].tolist() == pytest.approx(gaps[f"{measure}_gap_published"].tolist(), abs=1e-6)
    text = readable_variants(table, "full")
    assert text["PSNR"][0].startswith("19.99 / 19.99\n")
    assert text["PSNR less full"][0].startswith("\N{MINUS SIGN}2.92 / \N{MINUS SIGN}2.92\n")
    assert set(text["remark"]) == {"not comparable: not the paper's size but laptop"}


def test_published_rows_that_a_study_lacks_are_named(runs: Path) -> None:
    numbers = {
        name: {"full": rows["full"], "mine": (20.0, 0.8)} for name, rows in TABLES["moss_ablation"].numbers.items()
    }
    table = variant_table(frames(runs, "moss_ablation", numbers), TABLES["moss_ablation"]).set_index(
        ["test_set", "variant"]
    )
    assert table.loc[("dense", "without TV"), "remark"] == "not in this study"
    assert table.loc[("dense", "mine"), "remark"] == "not in the paper"


def test_joined_test_sets_count_as_one(runs: Path) -> None:
    loaded = frames(runs, "moss_tau")
    assert loaded.images.groupby("variant")["image"].nunique().eq(20).all()
    assert set(loaded.images["test_set"]) == {"sirr"}


@pytest.mark.usefixtures("without_figures")
def test_the_page_has_the_published_table_and_its_source(runs: Path) -> None:
    folder = record(runs, "moss_nu", TABLES["moss_nu"].numbers)
    page = build(folder).read_text()
    assert "Table 5 of the supplement of MOSS" in page
    assert "25.35 / 25.35" in page
    assert len(pd.read_csv(folder / "tables" / "published.csv")) == 7
    assert published_beside(load(write_study(runs, [Cell({"patch_count": 8})]))) is None


@pytest.mark.usefixtures("without_figures")
def test_teachers_stand_beside_their_students(runs: Path) -> None:
    folder = record(runs, "moss_ablation", TABLES["moss_ablation"].numbers)
    cells = {axes["variant"]: runs / "cells" / identity for identity, axes in load(folder).study.cells}
    students = pd.read_parquet(cells["full"] / "images.parquet")
    students.assign(psnr_rgb=students["psnr_rgb"] + 0.5).to_parquet(cells["full"] / "images_teacher.parquet")
    loaded = load(folder)
    assert len(loaded.teachers) == 20
    table = teacher_table(loaded)
    assert list(table["variant"]) == ["full", "full"]
    assert list(table["test set"]) == ["dense", "sparse"]
    assert table["psnr_rgb_gap"].tolist() == pytest.approx([0.5, 0.5])
    assert table["psnr_rgb"].tolist() == pytest.approx([22.91 + 0.5, 27.78 + 0.5], abs=1e-6)
    assert table["ssim_rgb_gap"].tolist() == pytest.approx([0, 0])
    assert readable_teachers(table, "variant")["PSNR"][0] == "23.41 (+0.50)\n0.50 to 0.50"
    assert "Teacher and student" in build(folder).read_text()


@pytest.mark.usefixtures("without_figures")
def test_a_study_without_teachers_has_no_table_of_them(runs: Path) -> None:
    folder = record(runs, "moss_ablation", TABLES["moss_ablation"].numbers)
    assert teacher_table(load(folder)).empty
    assert "Teacher and student" not in build(folder).read_text()
    assert not (folder / "tables" / "teacher.csv").exists()
