"""Published numbers beside measured ones, and the page that shows them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from analysis_record import ROWS_OF_TABLE2, Cell, MakeFrames, image_rows, table2_cells, write_study

from slackoff.analysis import Frames, load
from slackoff.analysis.claims.published import (
    published_beside,
    published_table2,
    published_tables,
    readable_table2,
    readable_variants,
    variant_table,
)
from slackoff.analysis.report import build
from slackoff.analysis.tables import readable_teachers, teacher_table
from slackoff.analysis.text import NO_NUMBER
from slackoff.sweep.manifest import read_manifest

TABLES = published_tables()
WEIGHTS = TABLES["published_weights"].numbers
HEAVY = TABLES["menet_ablation"].numbers["rain100h"]


def record(runs: Path, family: str, numbers: dict[str, dict[str, tuple[float, float]]], **more: Any) -> Path:
    """A study of variants with these PSNR and SSIM on each test set; sirr is dense and sparse as one."""
    joined = {"sirr": ["dense", "sparse"]}
    variants = list(dict.fromkeys(variant for rows in numbers.values() for variant in rows))
    cells = [Cell({"variant": variant}) for variant in variants]
    options = {"joined_test_sets": joined} if "sirr" in numbers else {}
    about = {"claims": [family], "test_sets": list(numbers), "options": options, **more}
    folder = write_study(runs, cells, name=family, axis="variant", **about)
    for cell in cells:
        tables = []
        parts = [(test_set, part) for test_set in numbers for part in joined.get(test_set, [test_set])]
        for whole, part in parts:
            if cell.axes["variant"] in numbers[whole]:
                psnr, ssim = numbers[whole][cell.axes["variant"]]
                rows = image_rows(Cell(cell.axes, psnr=psnr, ssim=ssim, images=10, test_set=part, noise=0.02))
                rows = rows.assign(image=part + "-" + rows["image"], psnr_rgb_input=10.0)
                if family == "published_weights":
                    rows = rows.assign(
                        psnr_y=rows["psnr_rgb"], ssim_y=rows["ssim_rgb"], psnr_y_input=26.0, ssim_y_input=0.83
                    )
                tables.append(rows)
        pd.concat(tables).to_parquet(runs / "cells" / cell.id / "images.parquet")
    return folder


@pytest.mark.parametrize("family", [family for family in TABLES if family.startswith(("moss", "menet"))])
def test_every_table_of_variants_stands_beside_its_study_with_its_source(runs: Path, family: str) -> None:
    published = TABLES[family]
    beside = published_beside(load(record(runs, family, published.numbers)))
    assert beside is not None
    assert beside.source == published.source
    assert ("546 scenes" in beside.source and "five crops" in beside.source) == family.startswith("menet")
    table, reference = beside.table, published.reference
    for test_set, rows in table.groupby("test_set", sort=False):
        of_paper = published.numbers[str(test_set)]
        wanted = [variant for variant in published.variants if variant in {*of_paper, *rows["variant"]}]
        assert list(rows["variant"]) == wanted
        for place, measure in enumerate(("psnr_rgb", "ssim_rgb")):
            expected = [of_paper[variant][place] if variant in of_paper else np.nan for variant in wanted]
            np.testing.assert_array_equal(rows[f"{measure}_published"], expected)
            np.testing.assert_allclose(rows[measure], expected, atol=1e-6)
            if reference in of_paper:
                others = [variant != reference for variant in wanted]
                gaps = np.array(expected) - of_paper[reference][place]
                np.testing.assert_allclose(rows[f"{measure}_gap_published"], gaps)
                np.testing.assert_allclose(rows[f"{measure}_gap"][others], gaps[others], atol=1e-6)
    assert [column for column in beside.text if "less" in column] == [
        f"PSNR less {reference}",
        f"SSIM less {reference}",
    ]


def test_published_numbers_and_differences_as_text(runs: Path) -> None:
    table = variant_table(load(record(runs, "moss_ablation", TABLES["moss_ablation"].numbers)), TABLES["moss_ablation"])
    text = readable_variants(table, TABLES["moss_ablation"])
    assert len(text) == 12
    assert text["PSNR"][0].startswith("19.99 / 19.99\n")
    assert text["PSNR less full"][0].startswith("\N{MINUS SIGN}2.92 / \N{MINUS SIGN}2.92\n")
    assert set(text["remark"]) == {"not comparable: not the paper's size but laptop"}


def test_published_rows_that_a_study_lacks_are_named(runs: Path) -> None:
    numbers = {
        name: {"full": rows["full"], "mine": (20.0, 0.8)} for name, rows in TABLES["moss_ablation"].numbers.items()
    }
    table = variant_table(load(record(runs, "moss_ablation", numbers)), TABLES["moss_ablation"])
    remarks = table.set_index(["test_set", "variant"])["remark"]
    assert remarks["dense", "without TV"] == "not in this study"
    assert remarks["dense", "mine"] == "not in the paper"


def test_what_is_lost_of_table_1_stays_empty(runs: Path) -> None:
    loaded = load(record(runs, "menet_ablation", {"rain100l": dict.fromkeys(HEAVY, (30.0, 0.9))}, size="paper"))
    table = variant_table(loaded, TABLES["menet_ablation"]).set_index("variant")
    lost = ["Lp Le GB", "Lp Le LB", "Lp Le Lt GB", "Lp Le Lt LB"]
    assert list(table.index[table["psnr_rgb_published"].isna()]) == lost
    assert set(table.loc[lost, "remark"]) == {"no published number for rain100l"}
    assert set(table.drop(lost)["remark"]) == {""}
    text = readable_variants(table.reset_index(), TABLES["menet_ablation"]).set_index("variant")
    assert text.loc["Lp Le GB", "PSNR"].startswith("\N{EN DASH} / 30.00")
    assert text.loc["Lp Le Lt GB CA", "PSNR less Lp"].startswith("0.64 / 0.00")


def test_the_tables_agree_where_they_print_the_same_network() -> None:
    """Tables I, II and IV to the last digit of the shorter, plus or minus one: the paper rounds and cuts off."""
    same = {
        "Lp Le Lt GB CA": "MENET-GB",
        "Lp Le Lt LB CA": "MENET-LB",
        "Lp Le Lt GB CA deep": "MENET-GB-deep",
        "Lp Le Lt LB CA deep": "MENET-LB-deep",
    }
    ablation, second, fourth = (
        TABLES[family].numbers for family in ("menet_ablation", "menet_table2", "menet_lossnet")
    )
    pairs = [(ablation[on][a], second[on][b]) for on in ablation for a, b in same.items()]
    pairs += [(ablation[on][name], fourth[on][name]) for on in ablation for name in fourth[on]]
    assert len(pairs) == 14
    table = pd.DataFrame([(*first, *other) for first, other in pairs])
    assert (table[0] - table[2]).abs().max() < 1.01e-4
    assert (table[1] - table[3]).abs().max() < 1.01e-4


def test_joined_test_sets_count_as_one(runs: Path) -> None:
    loaded = load(record(runs, "moss_tau", TABLES["moss_tau"].numbers))
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


def test_a_teacher_is_paired_with_its_student_image_by_image(frames_of: MakeFrames, runs: Path) -> None:
    """Where cells have other numbers of images, and where two images of one name are told apart by their digests."""
    taught, alone = Cell({"variant": "taught"}, images=6), Cell({"variant": "alone"}, images=8)
    edits = {
        0: lambda rows: rows.assign(digest="aa"),
        1: lambda rows: rows.assign(digest=["bb"] + ["aa"] * (len(rows) - 1)),
    }
    frames_of([taught, alone], "variant", edits)
    students = pd.read_parquet(runs / "cells" / taught.id / "images.parquet")
    students.assign(psnr_rgb=students["psnr_rgb"] + 0.5).to_parquet(
        runs / "cells" / taught.id / "images_teacher.parquet"
    )
    (row,) = teacher_table(load("patchcount", runs)).to_dict("records")
    assert row["psnr_rgb"] == pytest.approx(students["psnr_rgb"].mean() + 0.5)
    assert row["psnr_rgb_gap"] == row["psnr_rgb_gap_low"] == pytest.approx(0.5)


@pytest.mark.usefixtures("without_figures")
def test_a_study_without_teachers_has_no_table_of_them(runs: Path) -> None:
    folder = record(runs, "moss_ablation", TABLES["moss_ablation"].numbers)
    assert teacher_table(load(folder)).empty
    assert "Teacher and student" not in build(folder).read_text()
    assert not (folder / "tables" / "teacher.csv").exists()


def test_what_is_published_stands_beside_what_was_measured(runs: Path) -> None:
    measured = {"rain100l": {"PReNet (Rain100L)": (37.0, 0.981), "PReNet (Rain100H)": (30.0, 0.9)}}
    beside = published_beside(load(record(runs, "published_weights", measured)))
    assert beside is not None
    own, other = (beside.table.set_index("variant").loc[name] for name in measured["rain100l"])
    assert own[["psnr_y", "psnr_y_published", "ssim_y"]].tolist() == pytest.approx([37.0, 37.48, 0.981])
    assert own["psnr_y_low"] < 37.0 < own["psnr_y_high"]
    assert own["remark"] == "not comparable: 10 of 100 images"
    assert pd.isna(other["psnr_y_published"])
    text = beside.text.set_index("variant")
    assert text.loc["PReNet (Rain100L)", "PSNR (Y)"].startswith("37.48 / 37.00\n")
    assert text.loc["PReNet (Rain100H)", "PSNR (Y)"].startswith("\N{EN DASH} / 30.00\n")


def test_the_manifest_measures_each_file_on_both_sets_and_names_those_of_the_table(conf: Path) -> None:
    rows = read_manifest("published_weights")
    assert {row.assignments["schedule.steps"] for row in rows} == {"schedule.steps=0"}
    found = {(row.assignments["evaluation"].partition("=")[2], _text(row.assignments["study.variant"])) for row in rows}
    assert len(found) == len(rows) == 24
    assert {(test_set, name) for test_set, names in WEIGHTS.items() for name in names} <= found
    files = {_text(row.assignments["+start_from"]): _text(row.assignments["study.variant"]) for row in rows}
    assert len(files) == 12  # each under one name
    for path, name in files.items():
        for trained_on in ("Rain100L", "Rain100H"):
            assert (trained_on.lower() in path.lower()) == (trained_on in name)
    assert yaml.safe_load((conf / "experiment" / "published_weights.yaml").read_text())["study"]["claims"] == [
        "published_weights"
    ]


def _text(assignment: str) -> str:
    return assignment.partition("=")[2].strip("'")


def table2(runs: Path, made: list[Cell], **more: str) -> Frames:
    return load(write_study(runs, made, claims=["table2"], **more))


def test_table2_stands_beside_the_measured(runs: Path) -> None:
    table = published_table2(table2(runs, table2_cells(), size="laptop"))
    rows = table.set_index(["background_count", "rain"])
    assert list(rows.index) == [(1024, "medium"), (64, "medium"), (512, "large"), (256, "large"), (128, "large")]
    base = rows.loc[(1024, "medium")]
    assert (base["e_r_published"], base["e_b_published"], base["psnr_rgb_published"]) == (26.55, 5.41, 28.54)
    assert (base["e_r"], base["e_b"], base["psnr_rgb"]) == pytest.approx((26.5, 5.4, 28.5))
    assert base["e_r_low"] < 26.5 < base["e_r_high"]
    assert base["remark"] == "not comparable: N = 30000 in the paper and not the paper's size but laptop"
    assert rows.loc[(512, "large"), "remark"] == "not in this study"
    text = readable_table2(table)
    assert text.loc[1, "E_R"].startswith("45.5 / 45.5\n")
    assert text.loc[2, "E_R"] == f"37.5 / {NO_NUMBER}"


def test_remarks_tell_rows_and_test_sets_apart(runs: Path) -> None:
    made = table2_cells(ROWS_OF_TABLE2 | {(32, "large"): (50.0, 20.0, 20.0)})
    for cell in made:
        cell.test_set = "own"
    made[1].state = "failed"
    table = published_table2(table2(runs, made, size="paper"))
    remarks = table.set_index(["background_count", "rain"])["remark"]
    assert remarks[256, "large"] == "not comparable: tested on own instead of R100"
    assert remarks[64, "medium"] == "no result"
    assert remarks[32, "large"] == "not in the paper"


def test_the_papers_own_rows_at_its_size_need_no_remark(runs: Path) -> None:
    rows = {(count, rain): tuple(means) for count, rain, *means in TABLES["table2"].numbers["rcdnet"]}
    table = published_table2(table2(runs, table2_cells(rows), size="paper"))
    assert set(table["remark"]) == {""}
    assert table["e_r"].tolist() == pytest.approx(table["e_r_published"].tolist())
