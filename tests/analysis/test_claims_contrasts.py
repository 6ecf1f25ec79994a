"""Every row of the table of contrasts on a planted record of each outcome, and what single rows say beyond that."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from analysis_record import (
    INPUT_PSNR,
    ROWS_OF_TABLE2,
    Cell,
    EditImages,
    RowsOfTable2,
    checked,
    effect,
    image_rows,
    table2_cells,
    verdicts,
    write_study,
)

from slackoff.analysis import Frames, load
from slackoff.analysis.claims import Claim, check
from slackoff.analysis.claims.contrasts import CONTRASTS, DESIGNS, Contrast
from slackoff.analysis.claims.published import published_tables
from slackoff.analysis.statistics import difference_interval
from slackoff.analysis.text import MINUS

Means = dict[str, float]
Planted = tuple[dict[str, Any], str, Means]
"""Axes of a cell, a test set, and the means that it has there."""

BASE = {
    "e_r": 30.0,
    "removal_share": 0.5,
    "e_b": 12.0,
    "psnr_rgb": 28.0,
    "ssim_rgb": 0.85,
    "psnr_y": 30.0,
    "ssim_y": 0.9,
}
UNIT = {"e_r": 6.0, "removal_share": 0.1, "e_b": 2.0, "psnr_rgb": 1.0, "ssim_rgb": 0.02, "psnr_y": 1.0, "ssim_y": 0.02}
WELL, BADLY, UNCLEAR = 1.0, -1.0, 0.0
DESIGN = {id(design): name for name, design in DESIGNS.items()}


def means(row: Contrast, amount: float) -> Means:
    """The base, and `amount` times the unit in the direction that the row states of each of its measures."""
    signs = {m: -1 if stated == "lower" else 1 for m, stated in row.measures.items()}
    return {m: BASE[m] + signs.get(m, 0) * amount * UNIT[m] for m in BASE}


def alike(row: Contrast) -> bool:
    """Whether the row states that its measures are alike, within a margin."""
    return all(isinstance(stated, float) for stated in row.measures.values())


def planted(row: Contrast, by: float) -> Iterator[Planted]:
    """A record in which what should be better is better by `by` units everywhere, alike with much less."""
    name, test_set = DESIGN[id(row.design)], row.test_set or "own"
    if alike(row):
        by = {"variants": {WELL: 0.02, BADLY: 0.5, UNCLEAR: 0.1}, "transfer": {WELL: 0.05, BADLY: 3.0, UNCLEAR: 0.5}}[
            name
        ][by]
    if name == "variants":
        levels = dict.fromkeys(row.worse, 0.0) | dict.fromkeys(row.better, by)
        yield from (({"variant": variant}, test_set, means(row, level)) for variant, level in levels.items())
    elif name == "gains":
        assert row.gains is not None
        first, second = row.gains.values()
        levels = {pair[1]: 0.0 for gains in (first, second) for pair in gains.values()}
        levels |= {more: 1 + by for more, _ in first.values()} | {more: 1.0 for more, _ in second.values()}
        yield from (({"variant": variant}, test_set, means(row, level)) for variant, level in levels.items())
    elif name == "test_sets":
        assert row.gains is not None
        pairs = [(where, *pair) for where, gains in row.gains.items() for pair in gains.values()]
        for place, (where, more, less) in enumerate(pairs):
            yield {"variant": more}, where, means(row, by if place == 0 else 0)
            yield {"variant": less}, where, means(row, 0)
    elif name == "self_training":
        for share in (0.1, 0.6):
            for taught in (False, True):
                yield {"share": share, "self_training": taught}, test_set, means(row, taught * by)
    elif name == "weighting":
        for count in (8, 64):
            for weighting in ("fixed", "balanced"):
                yield {"patch_count": count, "weighting": weighting}, test_set, means(row, (weighting != "fixed") * by)
    elif name in ("baseline", "steps"):
        for rank, (count, rain) in enumerate([(1024, "medium"), (256, "large"), (64, "medium")]):
            yield {"patch_count": count, "rain": rain, "network": "rcdnet"}, "r100", means(row, by * rank)
    elif name == "transfer":
        for count in (8, 128, 1024):
            for category in (*row.better, *row.worse):
                axes = {"patch_count": count, "background": category}
                yield axes, "div2k", means(row, (category in row.better) * by)
    else:
        assert name == "average"
        for network in ("first", "second", "third"):
            for count, rain in ((64, "small"), (1024, "small"), (64, "large"), (1024, "large")):
                here = count == 64 if row.topic == "patch_count" else rain == "large"
                yield {"network": network, "patch_count": count, "rain": rain}, test_set, means(row, here * by)


def record(
    runs: Path, family: str, made: list[Planted], noise: float = 0.02, images: int = 10, psnr_input: float = 12.0
) -> Frames:
    """The cells of a study, each tested on the sets that it is planted on."""
    axis = next((axis for axis in ("variant", "share") if axis in made[0][0]), "patch_count")
    axis = "network" if family == "zoo" else axis
    rows: dict[str, list[pd.DataFrame]] = {}
    cells: dict[str, Cell] = {}
    for axes, test_set, own in made:
        cell = Cell(axes, own["e_r"], own["removal_share"], own["e_b"], own["psnr_rgb"], own["ssim_rgb"])
        cell.images, cell.noise, cell.test_set = images, noise, test_set
        cells.setdefault(cell.id, cell)
        table = image_rows(cell)
        spread = table["psnr_rgb"] - table["psnr_rgb"].mean()
        luma = {"psnr_y": own["psnr_y"] + spread, "ssim_y": own["ssim_y"] + 0 * spread}
        rows.setdefault(cell.id, []).append(table.assign(**luma, psnr_rgb_input=psnr_input))
    folder = write_study(runs, list(cells.values()), family, axis, claims=[family])
    for identity, tables in rows.items():
        pd.concat(tables).to_parquet(runs / "cells" / identity / "images.parquet")
    return load(folder)


def claims_of(row: Contrast, frames: Frames) -> list[Claim]:
    """What the row says of each of its measures."""
    topic, statements = row.topic.format(weighting="balanced"), set(row.measures)
    found = [claim for claim in check(frames) if claim.family == row.family and claim.topic == topic]
    return [c for c in found if c.measure in statements and not c.sentence.startswith("No network was tested on")]


ROWS = [pytest.param(row, id=f"{row.family}-{row.topic}-{row.test_set}") for row in CONTRASTS]
ONE_OF_EACH = [
    pytest.param(row, id=name)
    for name, row in {f"{DESIGN[id(row.design)]}{' alike' * alike(row)}": row for row in CONTRASTS}.items()
]


@pytest.mark.parametrize(
    ("by", "noise", "verdict"),
    [(WELL, 0.02, "supported"), (BADLY, 0.02, "contradicted"), (UNCLEAR, 3.0, "not enough data")],
)
@pytest.mark.parametrize("row", ROWS)
def test_every_row_on_a_record_of_each_outcome(
    runs: Path, row: Contrast, by: float, noise: float, verdict: str
) -> None:
    found = claims_of(row, record(runs, row.family, list(planted(row, by)), noise))
    assert [claim.measure for claim in found] == list(row.measures)
    assert [claim.verdict for claim in found] == [verdict] * len(found)
    size = {"variants": 0.02, "transfer": 0.05}[DESIGN[id(row.design)]] if alike(row) else 1.0
    for claim in found:
        assert not set("{}") & set(claim.statement + claim.sentence + effect(claim).what)
        assert claim.numbers["images"] == 10
        assert claim.numbers.get("margin") == (row.measures[claim.measure] if alike(row) else None)
        if by == WELL:
            turned = -1 if row.design.changes and row.measures[claim.measure] == "lower" else 1
            assert effect(claim).mean == pytest.approx(turned * size * UNIT[claim.measure], abs=1e-6)
            assert effect(claim).low <= effect(claim).mean <= effect(claim).high


@pytest.mark.parametrize("row", ONE_OF_EACH)
def test_few_images_decide_nothing(runs: Path, row: Contrast) -> None:
    found = claims_of(row, record(runs, row.family, list(planted(row, WELL)), images=4))
    assert {claim.verdict for claim in found} == {"not enough data"}
    assert all("With 4 test images nothing is decided" in claim.sentence for claim in found)


@pytest.mark.parametrize("row", ONE_OF_EACH)
def test_without_what_it_is_compared_with_nothing_is_said(runs: Path, row: Contrast) -> None:
    found = claims_of(row, record(runs, row.family, list(planted(row, WELL))[:1]))
    assert len(found) == len(row.measures)
    assert all((claim.verdict, claim.numbers, claim.effect) == ("not enough data", {}, None) for claim in found)
    assert all(
        "There is no" in one.sentence or "There are no" in one.sentence or "It takes" in one.sentence for one in found
    )


def planted_numbers(numbers: dict[str, Any]) -> list[Planted]:
    """Variants with these PSNR and SSIM on each test set, of RGB and luma."""
    return [
        ({"variant": variant}, test_set, {**BASE, "psnr_rgb": psnr, "ssim_rgb": ssim, "psnr_y": psnr, "ssim_y": ssim})
        for test_set, rows in numbers.items()
        for variant, (psnr, ssim) in rows.items()
    ]


def variants(runs: Path, family: str, numbers: dict[str, Any], **more: Any) -> dict[tuple[str, str], Claim]:
    """The claims of a family by id and group."""
    found = check(record(runs, family, planted_numbers(numbers), **more))
    return {(claim.id, claim.group): claim for claim in found if claim.family == family}


FAMILIES = {
    "moss_ablation": 20,
    "moss_tau": 4,
    "moss_nu": 4,
    "menet_ablation": 10,
    "menet_table2": 3,
    "menet_lossnet": 1,
    "published_weights": 8,
}
"""Families of variants whose numbers are published, and how many claims they make of them."""


@pytest.mark.parametrize("family", FAMILIES)
def test_the_published_numbers_support_what_is_stated(runs: Path, family: str) -> None:
    found = variants(runs, family, published_tables()[family].numbers)
    assert len(found) == FAMILIES[family]
    against = [identity for (identity, _), claim in found.items() if claim.verdict != "supported"]
    # The published SSIM of tau = 0 (0.876) lies below that without memory (0.888): against the supplement's own words.
    assert against == (["ssim_rgb_updated_memory"] if family == "moss_tau" else [])


HEAVY = published_tables()["menet_ablation"].numbers["rain100h"]


def menet(runs: Path, numbers: dict[str, Any] = HEAVY, test_set: str = "rain100h", **more: Any) -> dict[str, Claim]:
    return {
        identity: claim
        for (identity, _), claim in variants(runs, "menet_ablation", {test_set: numbers}, **more).items()
    }


def test_depth_stands_against_each_combination_of_losses(runs: Path) -> None:
    claim = menet(runs)["psnr_rgb_depth_over_losses"]
    depth = {w: HEAVY[f"Lp Le Lt {w} CA deep"][0] - HEAVY[f"Lp Le Lt {w} CA"][0] for w in ("GB", "LB")}
    losses = {
        name: HEAVY[name][0] - 27.5016
        for name in ("Lp Le fixed", *(f"Lp Le{t} {w}" for t in ("", " Lt") for w in depth))
    }
    expected = {f"depth ({w}) less {loss}": d - g for w, d in depth.items() for loss, g in losses.items()}
    gaps = claim.numbers["depth_less_losses"]
    assert {what: gap["mean"] for what, gap in gaps.items()} == pytest.approx(expected, abs=1e-6)
    assert effect(claim).what == "depth (LB) less Lp Le LB, the smallest"
    found = menet(runs / "more", HEAVY | {"Lp Le LB": (28.3, 0.84)})
    assert found["psnr_rgb_depth_over_losses"].verdict == "contradicted"  # one combination that gives more
    assert found["psnr_rgb_depth"].verdict == "supported"


def test_a_teacher_that_stays_as_it_was_is_told_with_both_gains(runs: Path) -> None:
    claim = variants(runs, "moss_nu", published_tables()["moss_nu"].numbers)["psnr_rgb_fixed_teacher", ""]
    assert claim.numbers["following"]["nu = 0.999"]["mean"] == pytest.approx(25.35 - 23.41, abs=1e-6)
    assert claim.numbers["fixed"]["nu = 1"]["mean"] == pytest.approx(24.15 - 23.41, abs=1e-6)
    assert (effect(claim).what, effect(claim).mean) == (
        "nu = 0.999 less nu = 1",
        pytest.approx(25.35 - 24.15, abs=1e-6),
    )
    assert "Over no self-training PSNR changes with nu = 0.999 (+1.94" in claim.sentence


def test_a_missing_variant_decides_nothing_of_it_alone(runs: Path) -> None:
    found = menet(runs, {name: numbers for name, numbers in HEAVY.items() if "deep" not in name})
    undecided = {name for name, claim in found.items() if claim.verdict == "not enough data"}
    assert undecided == {"psnr_rgb_depth", "ssim_rgb_depth", "psnr_rgb_depth_over_losses", "psnr_rgb_gb_lb_alike"}
    assert "There is no result for Lp Le Lt GB CA deep and Lp Le Lt LB CA deep" in found["psnr_rgb_depth"].sentence


def test_statements_are_made_of_their_test_set_only(runs: Path) -> None:
    found = menet(runs, test_set="rain100l")
    assert {claim.verdict for claim in found.values()} == {"not enough data"}
    assert {claim.sentence for claim in found.values()} == {"No network was tested on rain100h."}
    light = {"rain100l": published_tables()["published_weights"].numbers["rain100l"]}
    folder = record(runs / "weights", "published_weights", planted_numbers(light))
    verdicts_in_order = [claim.verdict for claim in check(folder) if claim.family == "published_weights"]
    assert verdicts_in_order == ["supported"] * 4 + ["not enough data"] * 4


def test_networks_that_only_damage_their_input_decide_nothing(runs: Path) -> None:
    found = variants(runs, "moss_ablation", published_tables()["moss_ablation"].numbers, psnr_input=30.0)
    assert {claim.verdict for claim in found.values()} == {"not enough data"}
    sentence = found["psnr_rgb_without_memory", "test set = sparse"].sentence
    assert "No variant gets better than its input (PSNR 27.78 dB at the best, input 30.00 dB)" in sentence


def slacking(runs: Path, changes: dict[str, dict[int, float]]) -> dict[str, Claim]:
    """Fixed weights beside others, whose removal share is higher by so much, and whose E_B is lower by 10 times it."""
    cells = [
        Cell({"patch_count": n, "weighting": w}, e_r=20 + 50 * change, share=0.4 + change, e_b=12 - 10 * change)
        for w, by_count in ({"fixed": {8: 0.0, 64: 0.0}} | changes).items()
        for n, change in by_count.items()
    ]
    return checked(runs, cells, "menet_slacking")


def test_each_weighting_has_claims_of_its_own_and_hurts_where_it_helps_least(runs: Path) -> None:
    found = slacking(runs, {"gb": {8: 0.2, 64: 0.1}, "lb": {8: 0.2, 64: -0.1}})
    assert found["removal_share_gb_removed"].verdict == "supported"
    assert found["removal_share_lb_removed"].verdict == found["e_b_lb_background"].verdict == "contradicted"
    effects = [effect(found[name]) for name in ("e_b_gb_background", "removal_share_lb_removed")]
    assert [one.mean for one in effects] == pytest.approx([-1.0, -0.1])
    assert effects[0].what == "gb less fixed at N = 64, where it helps least"


def test_self_training_that_turns_unlabelled_rain_into_seen_rain_does_not_generalise(runs: Path) -> None:
    taught = "many patches, self-training"
    shares = {"many patches": 0.40, "few patches": 0.60}
    made: list[Planted] = [
        ({"variant": variant}, test_set, {**BASE, "e_r": 50 * share, "removal_share": share})
        for test_set, reached in (("new_rain", 0.38), ("unlabelled_rain", 0.80))
        for variant, share in (shares | {taught: reached}).items()
    ]
    found = {claim.id: claim for claim in check(record(runs, "semi_generalisation", made))}
    expected = {"unlabelled_rain": "supported", "new_rain": "contradicted", "turns_into_seen": "supported"}
    assert {topic: found[f"removal_share_{topic}"].verdict for topic in expected} == expected
    assert effect(found["e_r_turns_into_seen"]).mean == pytest.approx(50 * (0.80 - 0.38))
    assert f"{taught} on new_rain 19.00" in found["e_r_turns_into_seen"].sentence


def test_one_share_at_which_images_without_truth_hurt_contradicts(runs: Path) -> None:
    cells = [
        Cell({"share": share, "self_training": taught}, psnr=25 + taught * gain, ssim=0.8 + 0.01 * taught * gain)
        for share, gain in {0.1: 2.0, 0.6: -1.0}.items()
        for taught in (False, True)
    ]
    found = checked(runs, cells, "limited_labels", axis="share")
    assert set(verdicts(found).values()) == {"contradicted"}
    smallest = effect(found["psnr_rgb_unlabelled"])
    assert (smallest.what, smallest.mean) == ("gain at a share of 0.6, the smallest", pytest.approx(-1.0))


def table2(runs: Path, change: RowsOfTable2, network: str = "rcdnet") -> dict[str, Claim]:
    return checked(runs, table2_cells(ROWS_OF_TABLE2 | change, network), "table2")


def test_table2_compares_each_row_with_the_baseline_and_each_step(runs: Path) -> None:
    found = table2(runs, {(64, "small"): (20.0, 5.0, 28.0)})  # a narrower range is no treatment
    assert found["e_r_treated_higher"].numbers["baseline"] == "1024 medium"
    gaps = found["e_r_treated_higher"].numbers["differences"]
    assert {row: gap["mean"] for row, gap in gaps.items()} == pytest.approx({"64 medium": 19.0, "256 large": 13.9})
    falls = table2(runs / "steps", {(256, "medium"): (30.0, 7.0, 29.0)})["e_r_ordered"].numbers["falls"]
    assert {step: fall["mean"] for step, fall in falls.items()} == pytest.approx(
        {  # rows of one count are not ordered among themselves
            "64 medium to 256 large": 5.1,
            "64 medium to 256 medium": 15.5,
            "256 large to 1024 medium": 13.9,
            "256 medium to 1024 medium": 3.5,
        }
    )


def test_psnr_is_told_and_decides_nothing(runs: Path) -> None:
    claims = [
        table2(runs / str(psnr), {(64, "medium"): (45.5, 14.8, psnr)})["e_b_treated_price"] for psnr in (40.0, 10.0)
    ]
    assert [claim.verdict for claim in claims] == ["supported", "supported"]
    assert "PSNR, which decides nothing, changes at 64 medium (+11.50" in claims[0].sentence
    assert f"64 medium ({MINUS}18.50" in claims[1].sentence


@pytest.mark.parametrize("sign", [1, -1], ids=["like the published", "the opposite"])
def test_a_baseline_that_has_not_learned_to_restore_decides_nothing(runs: Path, sign: int) -> None:
    rows = {key: (40 + sign * (e_r - 40), e_b, psnr) for key, (e_r, e_b, psnr) in ROWS_OF_TABLE2.items()}
    base = (1024, "medium")
    found = table2(runs, rows | {base: (*rows[base][:2], INPUT_PSNR - 2)})
    assert {claim.verdict for claim in found.values()} == {"not enough data"}
    sentence = found["e_r_treated_higher"].sentence
    assert sentence.startswith("The baseline (1024 medium) has not learned to restore: its PSNR lies 2.00 (")
    assert "Against 1024 medium E_R changes at" in sentence


def test_order_is_asked_of_two_networks_whatever_their_size(runs: Path) -> None:
    assert "e_r_ordered" not in table2(runs / "spdnet", {}, "spdnet")
    found = table2(runs / "small", {(256, "large"): (20.0, 8.5, 29.1)}, "resnet_small")
    assert found["e_r_treated_higher"].verdict == found["e_r_ordered"].verdict == "contradicted"
    assert found["e_b_treated_price"].verdict == "supported"


@pytest.mark.parametrize(
    ("kept", "higher", "ordered"),
    [
        ([(1024, "medium")], "There is no row beside the baseline (1024 medium) with results.", "there are 1."),
        ([(256, "large")], "A baseline at medium rain has no result.", "there are 1."),
        ([(64, "medium"), (256, "large")], "The baseline (1024 medium) has no result.", ""),
    ],
)
def test_rows_that_table2_lacks_are_named(runs: Path, kept: list[tuple[int, str]], higher: str, ordered: str) -> None:
    rows = zip(ROWS_OF_TABLE2, table2_cells(), strict=True)
    cells = [cell for key, cell in rows if key in kept or len(kept) == 2]
    if len(kept) == 2:
        cells[0].state = "failed"
    found = checked(runs, cells, "table2")
    assert found["e_r_treated_higher"].sentence.startswith(higher)
    assert found["e_r_ordered"].verdict == ("not enough data" if ordered else "supported")
    assert ordered in found["e_r_ordered"].sentence


def categories(manga: tuple[float, float, float] = (-4, -0.1, 3), **apart: float) -> list[Cell]:
    """Four categories alike but for manga, whose E_R, share and E_B are shifted; `apart` shifts E_R of others."""
    made = []
    for category in ("celeba", "div2k", "manga109", "urban100"):
        shift = manga if category == "manga109" else (apart.get(category, 0.0), 0.0, 0.0)
        for count, e_r in ((8, 48), (128, 40), (1024, 32)):
            cell = Cell({"patch_count": count, "background": category}, test_set="div2k")
            cell.e_r, cell.share, cell.e_b = e_r + shift[0], 0.6 + shift[1], 10 + shift[2]
            made.append(cell)
    return made


def test_transfer_compares_paired_at_every_count(runs: Path) -> None:
    made = categories()
    found = checked(runs, made, "transfer")
    claim = found["e_r_manga_worst"]
    by_axes = {tuple(cell.axes.values()): image_rows(cell)["e_r"] for cell in made}
    gap = difference_interval(by_axes[128, "celeba"], by_axes[128, "manga109"])
    assert claim.numbers["gaps"]["celeba at N = 128"] == pytest.approx({"mean": 4, "low": gap.low, "high": gap.high})
    assert len(claim.numbers["gaps"]) == 9
    assert "9 of 9 comparisons have the Manga-trained worse. The Manga-trained are the worst at every" in claim.sentence
    assert set(found["e_r_alike_from_128"].numbers["gaps"]) == {
        f"{category} at N = {count}" for category in ("celeba", "urban100") for count in (128, 1024)
    }


def test_counts_at_which_manga_is_not_worst_contradict(runs: Path) -> None:
    found = checked(runs / "better", categories(manga=(4, -0.1, 3)), "transfer")
    assert (found["e_r_manga_worst"].verdict, found["removal_share_manga_worst"].verdict) == (
        "contradicted",
        "supported",
    )
    assert found["e_r_manga_worst"].disagreement == "Holds for removal itself, not for E_R."
    assert found["e_b_manga_worst"].disagreement == ""
    sentence = found["e_r_manga_worst"].sentence
    assert f"0 of 9 comparisons have the Manga-trained worse; not celeba at N = 8 ({MINUS}4.0" in sentence
    assert "and 6 others" in sentence
    made = categories()
    next(one for one in made if one.axes == {"patch_count": 128, "background": "manga109"}).e_r += 9
    claim = checked(runs / "once", made, "transfer")["e_r_manga_worst"]
    assert claim.verdict == "contradicted"
    assert "6 of 9 comparisons" in claim.sentence


@pytest.mark.parametrize(
    ("shift", "verdict"), [(6.0, "contradicted"), (-6.0, "contradicted"), (3.0, "not enough data")]
)
def test_others_beyond_the_margin_contradict_on_either_side(runs: Path, shift: float, verdict: str) -> None:
    claim = checked(runs, categories(urban100=shift), "transfer")["e_r_alike_from_128"]
    assert claim.verdict == verdict
    assert effect(claim).mean == pytest.approx(shift)
    assert "urban100" in effect(claim).what


def test_transfer_is_of_its_test_set_only(runs: Path, edit_images: EditImages) -> None:
    made = categories()
    study = write_study(runs, made, claims=["transfer"])
    for cell in made:
        edit_images(cell, lambda rows: pd.concat([rows, rows.assign(test_set="own", e_r=1.0)]))
    claims = [claim for claim in check(load(study)) if claim.family == "transfer"]
    assert {claim.verdict for claim in claims} == {"supported"}
    assert all("own" not in claim.scope for claim in claims)
    for cell in made:
        edit_images(cell, lambda rows: rows[rows["test_set"] == "own"])
    expected = "There is no result on the test set div2k for celeba, div2k, manga109 and urban100."
    assert check(load(study))[0].sentence.startswith(expected)


def test_categories_and_counts_that_are_missing_are_named(runs: Path) -> None:
    two = [cell for cell in categories() if cell.axes["background"] in ("div2k", "manga109")]
    found = checked(runs / "two", two, "transfer")
    assert found["e_r_manga_worst"].verdict == "supported"
    assert "There is no result for celeba and urban100." in found["e_r_manga_worst"].sentence
    assert found["e_r_alike_from_128"].sentence.startswith("There is no result on the test set div2k for celeba and")
    few = [cell for cell in categories() if cell.axes["patch_count"] == 8]
    sentence = checked(runs / "few", few, "transfer")["e_b_alike_from_128"].sentence
    assert sentence == "There is no count from 128 on at which all three have results."


def networks(patches: dict[str, float], rain: dict[str, float]) -> list[Cell]:
    """Two counts and two ranges for each network, whose removal share is higher with 64 patches, or large rain."""
    found = []
    for name in patches:
        for count, size in ((64, "small"), (64, "large"), (1024, "small"), (1024, "large")):
            share = 0.4 + patches[name] * (count == 64) + rain[name] * (size == "large")
            found.append(Cell({"network": name, "patch_count": count, "rain": size}, e_r=50 * share, share=share))
    return found


def test_the_average_over_networks_names_those_that_go_the_other_way(runs: Path) -> None:
    patches = {"first": -0.3, "second": -0.2, "third": 0.1}
    found = checked(runs, networks(patches, dict.fromkeys(patches, 0.2)), "zoo", axis="network")
    claim, rain = found["removal_share_patch_count"], found["e_r_rain"]
    assert (claim.verdict, rain.verdict) == ("contradicted", "supported")
    assert claim.numbers["changes"] == pytest.approx(patches)
    sentence = "with N = 64 than with N = 1024 in 1 of 3 networks, but not in first (\N{MINUS SIGN}0.30) and second"
    assert sentence in claim.sentence
    assert effect(claim).what == "N = 64 less N = 1024, mean of 3 networks"
    assert effect(claim).mean == pytest.approx(-0.4 / 3)
    assert effect(rain).mean == pytest.approx(50 * 0.2)


def test_the_average_leaves_out_what_trains_nothing_and_ends_without_results(runs: Path) -> None:
    written = networks({"first": 0.2, "second": 0.4}, {"first": 0.2, "second": 0.4})
    written[4].state = "failed"  # second, 64 patches, small rain
    same = [
        Cell({"network": "dsc", "patch_count": count, "rain": size}, share=0.1, noise=0.0)
        for count in (64, 1024)
        for size in ("small", "large")
    ]
    found = checked(runs, [*written, *same], "zoo", axis="network")
    assert found["removal_share_patch_count"].numbers["changes"] == pytest.approx({"first": 0.2, "second": 0.4})
    assert found["removal_share_rain"].numbers["changes"] == pytest.approx({"first": 0.2, "second": 0.4})
    assert "No result for" in found["removal_share_rain"].sentence
