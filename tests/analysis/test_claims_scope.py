"""What the claims rest on: seeds, photographs, groups, references; and claims.json."""

import json
from pathlib import Path

import pytest
from analysis_record import Cell, EditImages, MakeFrames, by_id, write_study

from slackoff.analysis import load
from slackoff.analysis.claims import Claim, check


def test_scope_says_that_one_seed_holds_nothing_about_others(frames_of: MakeFrames, effect_cells: list[Cell]) -> None:
    for claim in check(frames_of(effect_cells)):
        assert "over the 20 test images of R100-like, for the trained networks at hand" in claim.scope
        assert "with one training seed per N they hold nothing about other training seeds" in claim.scope


def test_scope_counts_seeds_and_photographs(runs: Path, edit_images: EditImages) -> None:
    cells = [Cell({"patch_count": count, "seed": seed}) for count in (8, 64) for seed in (0, 1, 2)]
    study = write_study(runs, cells)
    for cell in cells:
        edit_images(cell, lambda rows: rows.assign(source=rows.index // 2))
    scope = check(load(study))[0].scope
    assert "over the 20 test images from 10 photographs of R100-like and over 3 training seeds per N" in scope


def test_crops_of_few_photographs_decide_nothing(runs: Path, effect_cells: list[Cell], edit_images: EditImages) -> None:
    study = write_study(runs, effect_cells)
    for cell in effect_cells:
        edit_images(cell, lambda rows: rows.assign(source=rows.index % 3))
    answer = by_id(load(study))["removal_or_damage"]
    assert answer.verdict == "not enough data"
    assert "With 3 test images (crops of one photograph count once) nothing is decided" in answer.sentence


def test_seeds_widen_the_interval(frames_of: MakeFrames) -> None:
    cells = [
        Cell({"patch_count": count, "seed": seed}, e_r=mean + 8 * (seed - 1), share=0.6)
        for count, mean in ((8, 44), (64, 40))
        for seed in (0, 1, 2)
    ]
    claim = by_id(frames_of(cells))["e_r_falls"]
    assert claim.numbers["change"]["mean"] == pytest.approx(-4)
    assert claim.verdict == "not enough data"
    assert "over 3 training seeds" in claim.scope


def test_groups_are_judged_apart(frames_of: MakeFrames) -> None:
    means = {("small", 8): 48, ("small", 64): 36, ("large", 8): 36, ("large", 64): 48}
    cells = [Cell({"patch_count": count, "rain": rain}, e_r=mean) for (rain, count), mean in means.items()]
    found = {claim.group: claim.verdict for claim in check(frames_of(cells)) if claim.id == "e_r_falls"}
    assert found == {"rain = small": "supported", "rain = large": "contradicted"}


def test_references_say_what_doing_nothing_and_perfection_give(frames_of: MakeFrames, effect_cells: list[Cell]) -> None:
    sentence = by_id(frames_of(effect_cells))["references"].sentence
    assert "Doing nothing gives E_R 0, removal share 0 and PSNR 25.50 dB" in sentence
    assert "the perfect output gives E_R 40.0, removal share 0.96 and E_B 0" in sentence
    assert "E_R exceeds its oracle at N = 8 by 8.0 (" in sentence
    assert "PSNR is below that of the untouched input at N = 8 by 4.50 (" in sentence
    assert "N = 64" not in sentence


def test_cells_with_another_test_set_are_told(runs: Path, effect_cells: list[Cell], edit_images: EditImages) -> None:
    study = write_study(runs, effect_cells)
    edit_images(effect_cells[1], lambda rows: rows.assign(psnr_rgb_input=rows["psnr_rgb_input"] + 0.5))
    claim = by_id(load(study))["references"]
    assert claim.verdict == "contradicted"
    assert "differ by up to 0.5 in the same image" in claim.sentence
    edit_images(effect_cells[1], lambda rows: rows.head(12))
    assert "different test images" in by_id(load(study))["references"].sentence


def test_json_holds_every_claim(frames_of: MakeFrames, effect_cells: list[Cell]) -> None:
    claims = check(frames_of([*effect_cells, Cell({"patch_count": 16}, state="failed")]))
    text = json.dumps([claim.as_json() for claim in claims], allow_nan=False)
    assert [entry["id"] for entry in json.loads(text)] == [claim.id for claim in claims]
    assert json.loads(text)[0]["numbers"]["values"] == [8, 64, 1024]
    empty = Claim("x", "y", "not enough data", {"a": [float("nan"), 1.0], "b": {"c": float("inf")}}, "z").as_json()
    assert empty["numbers"] == {"a": [None, 1.0], "b": {"c": None}}
