"""Published weights: records like the authors' table, their opposite, and what stands beside the measured numbers."""

from pathlib import Path

import pandas as pd
import pytest
import yaml
from analysis_record import Cell, image_rows, write_study

from slackoff.analysis import Frames, load
from slackoff.analysis.claims import check
from slackoff.analysis.claims.published_tables import published_beside
from slackoff.analysis.claims.weights_published import FAMILY, TABLE, variant
from slackoff.analysis.report import build
from slackoff.sweep.manifest import read_manifest

NUMBERS = {
    test_set: {variant(network, test_set): found for network, found in rows.items()} for test_set, rows in TABLE.items()
}


def frames(runs: Path, numbers: dict[str, dict[str, tuple[float, float]]]) -> Frames:
    """A study in which each set of weights has these PSNR and SSIM on luma, and less on RGB."""
    cells = [
        Cell({"variant": name}, psnr=psnr - 1.4, images=6, test_set=test_set, noise=0.02)
        for test_set, rows in numbers.items()
        for name, (psnr, _) in rows.items()
    ]
    folder = write_study(runs, cells, name=FAMILY, axis="variant", claims=[FAMILY], test_sets=list(numbers))
    for cell in cells:
        psnr, ssim = numbers[cell.test_set][cell.axes["variant"]]
        rows = image_rows(cell)
        spread = rows["psnr_rgb"] - rows["psnr_rgb"].mean()
        luma = {"psnr_y": psnr + spread, "ssim_y": ssim + 0 * spread, "psnr_y_input": 26.0, "ssim_y_input": 0.83}
        rows.assign(psnr_rgb_input=10.0, **luma).to_parquet(runs / "cells" / cell.id / "images.parquet")
    return load(folder)


def test_the_published_numbers_support_what_the_table_shows(runs: Path) -> None:
    found = [claim for claim in check(frames(runs, NUMBERS)) if claim.family == FAMILY]
    assert len(found) == 8
    against = [(claim.id, claim.group) for claim in found if claim.verdict != "supported"]
    # On Rain100L the table has 0.977 for PReNet_r and for PRN, and PReNet_r over PRN_r and PRN is what decides.
    assert against == []


def test_the_opposite_contradicts(runs: Path) -> None:
    turned = {
        test_set: {name: (60 - psnr, 1.8 - ssim) for name, (psnr, ssim) in rows.items()}
        for test_set, rows in NUMBERS.items()
    }
    assert {claim.verdict for claim in check(frames(runs, turned)) if claim.family == FAMILY} == {"contradicted"}


def test_of_one_test_set_nothing_is_said_about_the_other(runs: Path) -> None:
    found = [claim for claim in check(frames(runs, {"rain100l": NUMBERS["rain100l"]})) if claim.family == FAMILY]
    assert [claim.verdict for claim in found] == ["supported"] * 4 + ["not enough data"] * 4
    assert found[-1].sentence == "No network was tested on rain100h."


def test_what_is_published_stands_beside_what_was_measured(runs: Path) -> None:
    measured = {"rain100l": {"PReNet (Rain100L)": (37.0, 0.981), "PReNet (Rain100H)": (30.0, 0.9)}}
    beside = published_beside(frames(runs, measured))
    assert beside is not None
    own, other = (beside.table.set_index("variant").loc[name] for name in measured["rain100l"])
    assert own[["images", "psnr_y", "psnr_y_published", "psnr_y_gap", "psnr_y_input"]].tolist() == pytest.approx(
        [6, 37.0, 37.48, -0.48, 26.0]
    )
    assert own["ssim_y_gap"] == pytest.approx(0.002)
    assert own["psnr_y_low"] < 37.0 < own["psnr_y_high"]
    assert pd.isna(other["psnr_y_published"])
    text = beside.text.set_index("weights")
    assert text.loc["PReNet (Rain100L)", "images"] == "6 of 100"
    assert text.loc["PReNet (Rain100L)", "PSNR (Y), difference"] == "\N{MINUS SIGN}0.48"
    assert text.loc["PReNet (Rain100L)", "SSIM (Y), difference"] == "+0.002"
    assert text.loc["PReNet (Rain100H)", "PSNR (Y), published"] == "\N{EN DASH}"


def test_the_report_of_published_weights_is_drawn(runs: Path) -> None:
    page = build(frames(runs, NUMBERS).study.folder).read_text(encoding="utf-8")
    assert "PReNet&#39;s published weights" in page or "PReNet's published weights" in page
    assert "37.48" in page
    assert "the difference is measured less published" in page
    assert "then the measured one" not in page


def test_the_manifest_measures_each_file_on_both_sets_and_names_those_of_the_table(conf: Path) -> None:
    rows = read_manifest("published_weights")
    assert {row.assignments["schedule.steps"] for row in rows} == {"schedule.steps=0"}
    found = {(row.assignments["evaluation"].partition("=")[2], _text(row.assignments["study.variant"])) for row in rows}
    assert len(found) == len(rows) == 24
    assert {(test_set, name) for test_set, names in NUMBERS.items() for name in names} <= found
    files = {_text(row.assignments["+start_from"]): _text(row.assignments["study.variant"]) for row in rows}
    assert len(files) == 12  # each under one name
    for path, name in files.items():
        for trained_on in ("Rain100L", "Rain100H"):
            assert (trained_on.lower() in path.lower()) == (trained_on in name)
    assert yaml.safe_load((conf / "experiment" / "published_weights.yaml").read_text())["study"]["claims"] == [FAMILY]


def _text(assignment: str) -> str:
    return assignment.partition("=")[2].strip("'")
