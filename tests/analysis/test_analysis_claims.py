"""The claims in every direction that the numbers can take."""

import json
from pathlib import Path

import numpy as np
import pytest
from analysis_record import Cell, EditImages, MakeFrames, counts, image_rows, write_study

from slackoff.analysis import Frames, load
from slackoff.analysis.claims import Claim, check
from slackoff.analysis.statistics import difference_interval

FLAT = [0.6, 0.6, 0.6]


def by_id(frames: Frames) -> dict[str, Claim]:
    return {claim.id: claim for claim in check(frames)}


def verdicts(frames: Frames) -> dict[str, str]:
    return {name: claim.verdict for name, claim in by_id(frames).items()}


def test_effect_in_both(frames_of: MakeFrames, effect_cells: list[Cell]) -> None:
    found = by_id(frames_of(effect_cells))
    assert {name: claim.verdict for name, claim in found.items()} == {
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
    assert found["removal_share_falls"].verdict == "undecided"
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
    assert answer.verdict == "undecided"
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
    assert answer.verdict == "undecided"
    assert "really removes more of the unseen rain, though E_R does not show it" in answer.sentence


def test_nothing_moves(frames_of: MakeFrames) -> None:
    found = by_id(frames_of(counts(e_r=[40, 40, 40], share=FLAT, e_b=[10, 10, 10])))
    assert {claim.verdict for name, claim in found.items() if name != "references"} == {"undecided"}
    assert "the effect does not show in this study" in found["removal_or_damage"].sentence
    assert "E_R shows no clear change" in found["e_r_falls"].sentence


def test_everything_reversed(frames_of: MakeFrames) -> None:
    found = by_id(frames_of(counts(e_r=[36, 40, 48], share=[0.5, 0.6, 0.7], e_b=[10, 12, 26])))
    decided = {name: claim.verdict for name, claim in found.items() if name != "references"}
    assert set(decided.values()) == {"contradicted"}
    assert "the opposite of the paper's finding" in found["removal_or_damage"].sentence
    assert "rises by 12.0 grey levels" in found["e_r_falls"].sentence


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
    assert claim.verdict == "undecided"
    assert "disagree" in claim.sentence


def test_missing_counts_are_named_and_the_others_are_compared(frames_of: MakeFrames, effect_cells: list[Cell]) -> None:
    cells = [*effect_cells, Cell({"patch_count": 4}, state="failed"), Cell({"patch_count": 30000}, state="pending")]
    for name, claim in by_id(frames_of(cells)).items():
        if name != "references":
            assert claim.verdict == "supported"
            assert claim.sentence.startswith("From N = 8 to N = 1024")
            assert claim.sentence.endswith("No result for N = 4 (failed) and N = 30000 (pending).")


@pytest.mark.parametrize("states", [("done", "failed"), ("failed", "missing")])
def test_fewer_than_two_counts_decide_nothing(frames_of: MakeFrames, states: tuple[str, str]) -> None:
    cells = [Cell({"patch_count": count}, state=state) for count, state in zip((8, 64), states, strict=True)]
    found = by_id(frames_of(cells))
    assert {claim.verdict for name, claim in found.items() if name != "references"} == {"undecided"}
    assert "N = 64" in found["e_r_falls"].sentence


@pytest.mark.parametrize("images", [1, 4])
def test_few_images_decide_nothing(frames_of: MakeFrames, images: int) -> None:
    cells = counts(e_r=[48, 40, 36], share=[0.7, 0.65, 0.6], e_b=[26, 12, 10])
    for cell in cells:
        cell.images = images
    found = by_id(frames_of(cells))
    assert {claim.verdict for name, claim in found.items() if name != "references"} == {"undecided"}
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
    assert found["removal_share_falls"].verdict == found["removal_or_damage"].verdict == "undecided"
    assert "No test image has a value of removal share" in found["removal_share_falls"].sentence


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
    assert answer.verdict == "undecided"
    assert "With 3 test images (crops of one photograph count once) nothing is decided" in answer.sentence


def test_seeds_widen_the_interval(frames_of: MakeFrames) -> None:
    cells = [
        Cell({"patch_count": count, "seed": seed}, e_r=mean + 8 * (seed - 1), share=0.6)
        for count, mean in ((8, 44), (64, 40))
        for seed in (0, 1, 2)
    ]
    claim = by_id(frames_of(cells))["e_r_falls"]
    assert claim.numbers["change"]["mean"] == pytest.approx(-4)
    assert claim.verdict == "undecided"


def test_groups_are_judged_apart(frames_of: MakeFrames) -> None:
    means = {("small", 8): 48, ("small", 64): 36, ("large", 8): 36, ("large", 64): 48}
    cells = [Cell({"patch_count": count, "rain": rain}, e_r=mean) for (rain, count), mean in means.items()]
    found = {claim.group: claim.verdict for claim in check(frames_of(cells)) if claim.id == "e_r_falls"}
    assert found == {"rain = small": "supported", "rain = large": "contradicted"}


def test_other_axes_have_no_claims_of_the_paper(frames_of: MakeFrames) -> None:
    frames = frames_of([Cell({"rain": name}, e_r=mean) for name, mean in (("small", 30), ("large", 40))], axis="rain")
    assert [claim.id for claim in check(frames)] == ["references"]


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
    empty = Claim("x", "y", "undecided", {"a": [float("nan"), 1.0], "b": {"c": float("inf")}}, "z").as_json()
    assert empty["numbers"] == {"a": [None, 1.0], "b": {"c": None}}
