"""The claims in every direction that the numbers can take."""

import json
from pathlib import Path

import numpy as np
import pytest
from analysis_record import Cell, EditImages, MakeFrames, by_id, counts, image_rows, write_study

from slackoff.analysis import load
from slackoff.analysis.statistics import difference_interval

FLAT = [0.6, 0.6, 0.6]

ENDS = ("e_r_falls", "removal_share_falls", "e_b_falls", "removal_or_damage")
"""The claims on what moves from the smallest to the largest count."""


def test_effect_in_both(frames_of: MakeFrames, effect_cells: list[Cell]) -> None:
    found = by_id(frames_of(effect_cells))
    assert {name: found[name].verdict for name in (*ENDS, "references")} == {
        "e_r_falls": "supported",
        "removal_share_falls": "supported",
        "e_b_falls": "supported",
        "removal_or_damage": "supported",
        "references": "supported",
    }
    answer = found["removal_or_damage"]
    few, many = image_rows(effect_cells[0]), image_rows(effect_cells[2])
    fall = difference_interval(few["e_r"], many["e_r"])
    assert answer.numbers["e_r_fall"] == pytest.approx({"mean": 12.0, "low": fall.low, "high": fall.high})
    assert answer.numbers["removal_share_fall"]["mean"] == pytest.approx(0.1)
    assert answer.numbers["removed_rain_fall"]["mean"] == pytest.approx(4.0)
    assert answer.numbers["part_of_e_r_fall"] == pytest.approx(1 / 3)
    start = f"From N = 8 to N = 1024 E_R falls by 12.0 grey levels (95 % interval {fall.low:.1f} to {fall.high:.1f})"
    assert answer.sentence.startswith(f"{start} and the removal share by 0.10 (")
    assert "really removes more of the unseen rain" in answer.sentence
    assert "33 % of the fall of E_R; the larger part is change that does not follow the rain" in answer.sentence


def test_mostly_rain_is_not_called_damage(frames_of: MakeFrames) -> None:
    answer = by_id(frames_of(counts(e_r=[40, 36, 32], share=[0.8, 0.7, 0.6])))["removal_or_damage"]
    assert answer.verdict == "supported"
    assert "100 % of the fall of E_R." in answer.sentence


def test_only_the_artefact(frames_of: MakeFrames) -> None:
    found = by_id(frames_of(counts(e_r=[48, 40, 36], share=FLAT)))
    assert found["e_r_falls"].verdict == "supported"
    assert found["removal_share_falls"].verdict == "not enough data"
    answer = found["removal_or_damage"]
    assert answer.verdict == "contradicted"
    assert "but the removal share shows no clear change" in answer.sentence
    assert "the higher E_R at N = 8 is background damage, not rain removal" in answer.sentence
    assert "really removes" not in answer.sentence


def test_a_share_that_is_only_uncertain_is_not_called_damage(runs: Path, edit_images: EditImages) -> None:
    cells = counts(e_r=[48, 40, 46], share=FLAT)
    study = write_study(runs, cells)
    wide = 0.3 * np.random.default_rng(2).normal(size=20)
    edit_images(cells[0], lambda rows: rows.assign(removal_share=0.6 + wide - wide.mean()))
    answer = by_id(load(study))["removal_or_damage"]
    assert answer.verdict == "not enough data"
    assert "too uncertain to say whether" in answer.sentence
    assert "not rain removal" not in answer.sentence


def test_e_r_falls_while_less_rain_is_removed(frames_of: MakeFrames) -> None:
    found = by_id(frames_of(counts(e_r=[48, 40, 36], share=[0.5, 0.6, 0.7])))
    assert found["removal_share_falls"].verdict == "contradicted"
    answer = found["removal_or_damage"]
    assert answer.verdict == "contradicted"
    assert "the removal share rises by 0.20" in answer.sentence
    assert "removes less of the unseen rain, not more; its higher E_R is background damage" in answer.sentence


def test_the_share_falls_and_e_r_does_not_show_it(frames_of: MakeFrames) -> None:
    answer = by_id(frames_of(counts(e_r=[40, 40, 40], share=[0.7, 0.65, 0.6])))["removal_or_damage"]
    assert answer.verdict == "not enough data"
    assert "really removes more of the unseen rain, though E_R does not show it" in answer.sentence


def test_nothing_moves(frames_of: MakeFrames) -> None:
    found = by_id(frames_of(counts(e_r=[40, 40, 40], share=FLAT, e_b=[10, 10, 10])))
    assert {found[name].verdict for name in ENDS} == {"not enough data"}
    assert "the effect does not show in this study" in found["removal_or_damage"].sentence
    assert "E_R shows no clear change" in found["e_r_falls"].sentence


def test_everything_reversed(frames_of: MakeFrames) -> None:
    found = by_id(frames_of(counts(e_r=[36, 40, 48], share=[0.5, 0.6, 0.7], e_b=[10, 12, 26])))
    assert {found[name].verdict for name in ENDS} == {"contradicted"}
    answer = found["removal_or_damage"].sentence
    assert "removes less of the unseen rain, not more, the opposite of the paper's finding" in answer
    assert "rises by 12.0 grey levels" in found["e_r_falls"].sentence


def test_more_patches_remove_more_and_e_r_stays(frames_of: MakeFrames) -> None:
    answer = by_id(frames_of(counts(e_r=[40, 40, 40], share=[0.5, 0.6, 0.7])))["removal_or_damage"]
    assert answer.verdict == "contradicted"
    assert "E_R shows no clear change" in answer.sentence
    assert "removes less of the unseen rain, not more" in answer.sentence


def test_e_r_alone_reversed(frames_of: MakeFrames) -> None:
    answer = by_id(frames_of(counts(e_r=[36, 40, 48], share=FLAT)))["removal_or_damage"]
    assert answer.verdict == "contradicted"
    assert "the opposite of the paper's finding" in answer.sentence


def test_steps_against_the_trend_are_named(frames_of: MakeFrames) -> None:
    cells = counts(e_r=[48, 34, 36], share=FLAT)
    claim = by_id(frames_of(cells))["e_r_falls"]
    assert claim.verdict == "supported"
    assert claim.numbers["spearman"] == pytest.approx(-0.5)
    assert [step["mean"] for step in claim.numbers["steps"]] == pytest.approx([-14, 2])
    assert "It falls clearly at 1 of 2 steps; not from 64 to 1024 (+2.0, " in claim.sentence


def test_ends_that_the_values_between_contradict_decide_nothing(frames_of: MakeFrames) -> None:
    means = {8: 40, 16: 30, 32: 31, 64: 32, 128: 33, 256: 38}
    claim = by_id(frames_of([Cell({"patch_count": count}, e_r=mean) for count, mean in means.items()]))["e_r_falls"]
    assert claim.numbers["change"]["high"] < 0
    assert claim.numbers["spearman"] > 0
    assert claim.verdict == "not enough data"
    assert "disagree" in claim.sentence


def test_missing_counts_are_named_and_the_others_are_compared(frames_of: MakeFrames, effect_cells: list[Cell]) -> None:
    cells = [*effect_cells, Cell({"patch_count": 4}, state="failed"), Cell({"patch_count": 30000}, state="pending")]
    found = by_id(frames_of(cells))
    for claim in (found[name] for name in ENDS):
        assert claim.verdict == "supported"
        assert claim.sentence.startswith("From N = 8 to N = 1024")
        assert claim.sentence.endswith("No result for N = 4 (failed) and N = 30000 (pending).")


@pytest.mark.parametrize("states", [("done", "failed"), ("failed", "missing")])
def test_fewer_than_two_counts_decide_nothing(frames_of: MakeFrames, states: tuple[str, str]) -> None:
    cells = [Cell({"patch_count": count}, state=state) for count, state in zip((8, 64), states, strict=True)]
    found = by_id(frames_of(cells))
    assert {found[name].verdict for name in ENDS} == {"not enough data"}
    assert "N = 64" in found["e_r_falls"].sentence


@pytest.mark.parametrize("images", [1, 4])
def test_few_images_decide_nothing(frames_of: MakeFrames, images: int) -> None:
    cells = counts(e_r=[48, 40, 36], share=[0.7, 0.65, 0.6], e_b=[26, 12, 10])
    for cell in cells:
        cell.images = images
    found = by_id(frames_of(cells))
    assert {found[name].verdict for name in ENDS} == {"not enough data"}
    count = "1 test image " if images == 1 else "4 test images "
    assert f"With {count}nothing is decided" in found["removal_or_damage"].sentence
    json.dumps([claim.as_json() for claim in found.values()], allow_nan=False)


def test_images_without_rain_are_left_out(runs: Path, effect_cells: list[Cell], edit_images: EditImages) -> None:
    study = write_study(runs, effect_cells)
    masked = ["e_r", "e_r_oracle", "removal_share", "removal_share_oracle"]
    for cell in effect_cells:
        edit_images(cell, lambda rows: rows.assign(**{name: rows[name].where(rows.index >= 3) for name in masked}))
    found = by_id(load(study))
    claim = found["e_r_falls"]
    few, many = (image_rows(cell)["e_r"][3:] for cell in (effect_cells[0], effect_cells[2]))
    assert claim.numbers["change"]["mean"] == pytest.approx((many - few).mean())
    assert (claim.numbers["images"], claim.numbers["images_skipped"]) == (17, 3)
    assert found["references"].verdict == "supported"
    assert found["e_b_falls"].numbers["images"] == 20


def test_a_measure_that_was_not_recorded_decides_nothing(
    runs: Path, effect_cells: list[Cell], edit_images: EditImages
) -> None:
    study = write_study(runs, effect_cells)
    for cell in effect_cells:
        edit_images(cell, lambda rows: rows.drop(columns="removal_share"))
    found = by_id(load(study))
    assert found["e_r_falls"].verdict == "supported"
    assert found["removal_share_falls"].verdict == found["removal_or_damage"].verdict == "not enough data"
    assert "No test image has a value of removal share" in found["removal_share_falls"].sentence
