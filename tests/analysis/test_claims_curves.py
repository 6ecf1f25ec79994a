"""The statements on curves over N: what falls, rain removal or damage, single counts, and where removal breaks down."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from analysis_record import (
    ORACLE_E_R,
    Cell,
    EditImages,
    MakeFrames,
    by_id,
    checked,
    counts,
    effect,
    image_rows,
    verdicts,
    write_study,
)
from scipy import stats

from slackoff.analysis import load
from slackoff.analysis.claims import check
from slackoff.analysis.claims.break_downs import break_downs
from slackoff.analysis.claims.claim import comparisons
from slackoff.analysis.claims.curves import rank_correlation
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


NO, UNSURE, YES = "contradicted", "not enough data", "supported"
MORE, LESS = "really removes more of the unseen rain", "removes less of the unseen rain, not more"


@pytest.mark.parametrize(
    ("e_r", "share", "expected", "words"),
    [
        ([40, 36, 32], [0.8, 0.7, 0.6], (YES, YES, YES), ["100 % of the fall of E_R."]),
        ([48, 40, 36], FLAT, (YES, UNSURE, NO), ["but the removal share shows no clear change", "not rain removal ("]),
        (
            [48, 40, 36],
            [0.5, 0.6, 0.7],
            (YES, NO, NO),
            ["the removal share rises by 0.20", f"{LESS}; its higher E_R is"],
        ),
        ([40, 40, 40], [0.7, 0.65, 0.6], (UNSURE, YES, UNSURE), [f"{MORE}, though E_R does not show it"]),
        ([40, 40, 40], FLAT, (UNSURE, UNSURE, UNSURE), ["the effect does not show in this study"]),
        ([36, 40, 48], [0.5, 0.6, 0.7], (NO, NO, NO), [f"{LESS}, the opposite of the paper's finding"]),
        ([36, 40, 48], [0.7, 0.65, 0.6], (NO, YES, NO), [f"{MORE}, though E_R does not show it"]),
        ([40, 40, 40], [0.5, 0.6, 0.7], (UNSURE, NO, NO), ["E_R shows no clear change", LESS]),
        ([36, 40, 48], FLAT, (NO, UNSURE, NO), ["the opposite of the paper's finding"]),
    ],
)
def test_removal_or_damage_in_every_direction(
    frames_of: MakeFrames, e_r: list[float], share: list[float], expected: tuple[str, str, str], words: list[str]
) -> None:
    """Verdicts on E_R (and on E_B, which moves alike), on the removal share, and on what they mean together."""
    found = by_id(frames_of(counts(e_r=e_r, share=share, e_b=e_r)))
    answer = found["removal_or_damage"]
    assert (found["e_r_falls"].verdict, found["removal_share_falls"].verdict, answer.verdict) == expected
    assert found["e_b_falls"].verdict == expected[0]
    assert all(part in answer.sentence for part in words)
    assert (MORE in answer.sentence) == (expected[1] == YES)
    moves = {YES: "falls by", NO: "rises by", UNSURE: "shows no clear change"}
    assert f"E_R {moves[expected[0]]}" in found["e_r_falls"].sentence


def test_a_share_that_is_only_uncertain_is_not_called_damage(runs: Path, edit_images: EditImages) -> None:
    cells = counts(e_r=[48, 40, 46], share=FLAT)
    study = write_study(runs, cells)
    wide = 0.3 * np.random.default_rng(2).normal(size=20)
    edit_images(cells[0], lambda rows: rows.assign(removal_share=0.6 + wide - wide.mean()))
    answer = by_id(load(study))["removal_or_damage"]
    assert answer.verdict == "not enough data"
    assert "too uncertain to say whether" in answer.sentence
    assert "not rain removal" not in answer.sentence


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


PATCHES = (8, 64, 256, 1024, 30000)
STATED = ("rank", "handled_at_8", "gone_at_256", "settled_at_1024")


def patches(
    e_r: list[float],
    share: list[float] | None = None,
    e_b: list[float] | None = None,
    counts: tuple[int, ...] = PATCHES,
) -> list[Cell]:
    """One cell per count with these means."""
    rows = zip(counts, e_r, share or [value / 80 for value in e_r], e_b or [10.0] * len(counts), strict=True)
    return [Cell({"patch_count": count}, e_r=of_r, share=part, e_b=of_b) for count, of_r, part, of_b in rows]


def test_a_curve_like_the_papers_supports_everything(runs: Path) -> None:
    found = checked(runs, patches([48, 40, 32, 30, 30], e_b=[30, 14, 8, 7, 7]), "patchcount")
    wanted = [f"{measure}_{topic}" for measure in ("e_r", "removal_share") for topic in STATED]
    for name in (*wanted, "e_b_rank", "e_b_near_at_256", "e_b_flattens_at_256"):
        assert found[name].verdict == "supported", name


def test_numbers_are_the_paired_differences(runs: Path) -> None:
    made = patches([48, 40, 32, 30, 30], e_b=[30, 14, 8, 7, 7])
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
    found = checked(runs, patches([40] * 5, e_b=[60, 40, at_256, 21, 20]), "patchcount")["e_b_near_at_256"]
    assert (found.verdict, found.numbers["margin"]) == (verdict, pytest.approx(5))


def test_rank_correlation_is_that_of_scipy_in_every_row() -> None:
    means = np.random.default_rng(3).normal(size=(20, 7))
    expected = [stats.spearmanr(range(7), row).statistic for row in means]
    np.testing.assert_allclose(rank_correlation(means), expected)
    assert rank_correlation(np.ones(4)) == 0


def test_rank_has_an_interval_over_the_images(runs: Path) -> None:
    made = patches([40.3, 40.2, 40.1, 40.2, 40.0])
    claim = checked(runs, made, "patchcount")["e_r_rank"]
    assert claim.numbers["spearman"]["mean"] == pytest.approx(stats.spearmanr(range(5), [4, 2.5, 1, 2.5, 0]).statistic)
    assert claim.numbers["spearman"]["low"] < claim.numbers["spearman"]["mean"] < claim.numbers["spearman"]["high"]
    assert claim.verdict == "not enough data"


def test_an_e_b_that_keeps_falling_does_not_flatten(runs: Path) -> None:
    e_b = [40 - 2.5 * float(np.log2(count)) for count in PATCHES]
    found = checked(runs, patches([48, 40, 32, 30, 30], e_b=e_b), "patchcount")
    assert found["e_b_falls"].verdict == "supported"
    assert found["e_b_flattens_at_256"].verdict == "contradicted"
    assert found["e_b_flattens_at_256"].numbers["fall_per_doubling_beyond"]["mean"] == pytest.approx(2.5)


CATEGORY_COUNTS = (8, 16, 32, 64, 128, 256)
CATEGORY_LASTS = {"celeba": 8, "div2k": 16, "manga109": 64, "urban100": 128}
RAIN_COUNTS = (8, 16, 32, 64, 512, 1024, 30000)
RAIN_LASTS = {"small": 8, "medium": 32, "large": 512}


def breaking(axis: str, lasts: dict[str, int], shares: dict[str, int] | None, counts: tuple[int, ...]) -> list[Cell]:
    """Groups whose E_R (and removal share) drops after the given count, from 48 to 28 (0.75 to 0.4)."""
    return [
        Cell(
            {"patch_count": count, axis: label},
            e_r=48 if count <= last else 28,
            share=0.75 if count <= (shares or lasts)[label] else 0.4,
            test_set="own",
        )
        for label, last in lasts.items()
        for count in counts
    ]


def ranges(
    lasts: dict[str, int], shares: dict[str, int] | None = None, counts: tuple[int, ...] = RAIN_COUNTS
) -> list[Cell]:
    return breaking("rain", lasts, shares, counts)


def categories(
    lasts: dict[str, int], shares: dict[str, int] | None = None, counts: tuple[int, ...] = CATEGORY_COUNTS
) -> list[Cell]:
    return breaking("background", lasts, shares, counts)


TURNED = dict(zip(CATEGORY_LASTS, reversed(CATEGORY_LASTS.values()), strict=True))
OPPOSITE = patches([10, 12, 30, 32, 48], e_b=[7, 7, 20, 15, 8])
TOGETHER = ranges({"small": 8, "medium": 32, "large": 32})


@pytest.mark.parametrize(
    ("family", "made", "topics", "e_r", "share"),
    [
        ("patchcount", OPPOSITE, ("rank", "handled_at_8", "gone_at_256"), NO, NO),
        ("patchcount", OPPOSITE, ("settled_at_1024",), UNSURE, UNSURE),
        ("patchcount", patches([48, 47, 46, 44, 30]), ("falls",), YES, YES),
        ("patchcount", patches([48, 47, 46, 44, 30]), ("gone_at_256", "settled_at_1024"), NO, NO),
        ("patchcount", patches([48, 40, 32, 24, 34]), ("settled_at_1024",), NO, NO),
        (
            "rainrange",
            ranges({"small": 1024, "medium": 64, "large": 16}),
            ("breaks_later", "small_fails_at_16", "large_holds_to_512"),
            NO,
            NO,
        ),
        ("rainrange", ranges(RAIN_LASTS, {"small": 8, "medium": 32, "large": 16}), ("breaks_later",), YES, NO),
        ("rainrange", TOGETHER, ("breaks_later",), UNSURE, UNSURE),
        ("rainrange", ranges({"small": 8, "medium": 32}), ("small_fails_at_16",), YES, YES),
        ("category", categories(TURNED), ("celeba_first", "simpler_later"), NO, NO),
        ("category", categories(CATEGORY_LASTS, TURNED), ("celeba_first",), YES, NO),
        ("category", categories({"celeba": 32, "div2k": 8}), ("celeba_drops_at_16",), NO, NO),
    ],
)
def test_curves_unlike_the_papers(
    runs: Path, family: str, made: list[Cell], topics: tuple[str, ...], e_r: str, share: str
) -> None:
    found = checked(runs, made, family)
    assert [found[f"e_r_{topic}"].verdict for topic in topics] == [e_r] * len(topics)
    assert [found[f"removal_share_{topic}"].verdict for topic in topics] == [share] * len(topics)
    if (e_r, share) == (YES, NO):
        assert {found[f"{m}_{topics[0]}"].disagreement for m in ("e_r", "removal_share")} == {
            "Holds for E_R, not for removal itself."
        }
        assert found["er_versus_removal"].verdict == NO


def test_numbers_behind_curves_unlike_the_papers(runs: Path) -> None:
    found = checked(runs / "opposite", OPPOSITE, "patchcount")
    assert found["e_b_near_at_256"].verdict == found["e_b_flattens_at_256"].verdict == NO
    assert "Without a clear fall there is nothing to compare with" in found["e_r_settled_at_1024"].sentence
    late = effect(checked(runs / "late", patches([48, 47, 46, 44, 30]), "patchcount")["e_r_gone_at_256"])
    assert late.mean == pytest.approx(2 / 18)
    turned = checked(runs / "turned", categories(TURNED), "category")["e_r_simpler_later"]
    assert turned.numbers["spearman"]["mean"] == -1
    together = checked(runs / "together", TOGETHER, "rainrange")["e_r_breaks_later"]
    assert "cannot be told apart with these counts" in together.sentence


FEWER = patches([48, 40, 30], counts=(16, 64, 256))


@pytest.mark.parametrize(
    ("family", "made", "reasons"),
    [
        (
            "patchcount",
            FEWER,
            {
                "e_r_handled_at_8": "There is no result at N = 8.",
                "e_r_gone_at_256": "There is no result beyond N = 256.",
                "e_r_settled_at_1024": "There is no result at N = 1024.",
                "e_b_near_at_256": "There is no result beyond N = 256.",
                "e_b_flattens_at_256": "There is no result beyond N = 256.",
            },
        ),
        ("patchcount", FEWER[:2], {"e_r_rank": "A rank correlation takes results at 3 values of N; there are 2."}),
        ("patchcount", FEWER[:1], {"e_r_rank": "A rank correlation takes results at 3 values of N; there are 1."}),
        (
            "rainrange",
            ranges({"small": 8, "medium": 32}),
            {
                "e_r_breaks_later": "There is no result for rain large.",
                "e_r_large_fails_at_most": "There is no result for rain large.",
            },
        ),
        (
            "rainrange",
            ranges(RAIN_LASTS, counts=(8, 1024)),
            {"e_r_breaks_later": "It takes results at 3 counts in each group; they share 2."},
        ),
        (
            "category",
            categories({"div2k": 16, "urban100": 128}),
            {
                "e_r_celeba_first": "There is no result for background celeba.",
                "e_r_celeba_drops_at_16": "There is no result for background celeba.",
                "e_r_simpler_later": "It takes 3 categories with results; there are 2.",
            },
        ),
        ("category", categories({"celeba": 8}), {"e_r_celeba_first": "There is no other category with results."}),
        (
            "category",
            categories(CATEGORY_LASTS, counts=(8, 32, 64, 256)),
            {"e_r_celeba_drops_at_16": "There is no result at N = 16 for both."},
        ),
    ],
)
def test_results_that_are_missing_are_named(runs: Path, family: str, made: list[Cell], reasons: dict[str, str]) -> None:
    found = checked(runs, made, family)
    assert {name: found[name].sentence for name in reasons} == reasons
    assert {found[name].verdict for name in reasons} == {UNSURE}


def test_ranges_like_the_papers_support_everything(runs: Path) -> None:
    found = checked(runs, ranges(RAIN_LASTS), "rainrange")
    assert set(verdicts(found).values()) == {"supported"}
    claim = found["e_r_breaks_later"]
    assert claim.numbers["breaks_down_after"]["small"] == {"count": 8, "low": 8, "high": 8, "within_the_study": True}
    assert claim.numbers["breaks_down_after"]["large"]["count"] == 512
    assert claim.numbers["share_of_resamples"] == 1.0
    assert (effect(claim).mean, effect(claim).unit) == (2, "doublings of N")
    assert (
        "E_R breaks down after N = 8 for small, after N = 32 for medium and after N = 512 for large." in claim.sentence
    )


def test_a_break_down_that_the_images_leave_open_decides_nothing(runs: Path) -> None:
    made = ranges(RAIN_LASTS)
    for cell in made:
        if cell.axes["rain"] == "medium":
            cell.e_r = {8: 48, 16: 38.1, 32: 38, 64: 37.9, 512: 38, 1024: 37.9, 30000: 28}[cell.axes["patch_count"]]
    claim = checked(runs, made, "rainrange")["e_r_breaks_later"]
    assert claim.verdict == "not enough data"
    assert 0 < claim.numbers["share_of_resamples"] < 1
    place = claim.numbers["breaks_down_after"]["medium"]
    assert place["low"] < place["high"]
    assert f"({place['low']:g} to {place['high']:g}) for medium" in claim.sentence


@pytest.mark.parametrize(
    ("rain", "topics", "e_r", "words"),
    [
        ("large", ("breaks_later", "large_holds_to_512"), {48: 40, 28: 40}, "E_R shows no clear change"),
        ("small", ("small_fails_at_16",), {48: 28, 28: 48}, "E_R rises by 20.0"),
    ],
)
def test_a_range_that_does_not_fall_has_no_break_down(
    runs: Path, rain: str, topics: tuple[str, ...], e_r: dict[float, float], words: str
) -> None:
    made = ranges(RAIN_LASTS)
    for cell in made:
        cell.e_r = e_r[cell.e_r] if cell.axes["rain"] == rain else cell.e_r
    found = checked(runs, made, "rainrange")
    for name in (f"e_r_{topic}" for topic in topics):
        assert found[name].verdict == "not enough data"
        assert words in found[name].sentence
        assert f"for {rain}: there is no break-down to place" in found[name].sentence
    assert found["removal_share_breaks_later"].verdict == "supported"


def test_one_range_that_is_no_axis_is_known_by_its_label(runs: Path) -> None:
    made = [
        Cell({"patch_count": count}, e_r=48 - 5 * place, label={"rain": "small"})
        for place, count in enumerate(RAIN_COUNTS)
    ]
    made.append(Cell({"patch_count": 128}, state="missing"))
    found = checked(runs, made, "rainrange")
    expected = "There is no result for rain medium and large. No result for N = 128 (missing)."
    assert found["e_r_breaks_later"].sentence == expected
    assert found["e_r_small_fails_at_16"].verdict == "contradicted"


def test_failed_cells_of_one_range_are_left_out_of_all(runs: Path) -> None:
    made = ranges(RAIN_LASTS)
    failed = next(cell for cell in made if cell.axes == {"patch_count": 64, "rain": "medium"})
    failed.state = "failed"
    claim = checked(runs, made, "rainrange")["e_r_breaks_later"]
    assert claim.verdict == "supported"
    assert claim.sentence.endswith("No result for rain = medium, N = 64 (failed).")


@pytest.mark.parametrize(
    ("last", "most", "verdict"),
    [
        (512, 1024, "supported"),
        (2048, 2048, "not enough data"),
        (30000, 30000, "contradicted"),
        (64, 512, "not enough data"),
    ],
)
def test_large_fails_at_the_most_only_where_there_are_enough(runs: Path, last: int, most: int, verdict: str) -> None:
    made = ranges({"large": last}, counts=(8, 16, 64, most))
    claim = checked(runs, made, "rainrange")["e_r_large_fails_at_most"]
    assert claim.verdict == verdict
    if verdict == "not enough data":
        assert "the paper says it of 30000" in claim.sentence.replace("The paper", "the paper")


def test_comparisons_are_made_for_each_network(runs: Path) -> None:
    made = [
        Cell({**cell.axes, "network": network}, e_r=cell.e_r, share=cell.share)
        for network, lasts in (("unet", RAIN_LASTS), ("resnet", {"small": 512, "medium": 32, "large": 8}))
        for cell in ranges(lasts)
    ]
    found = check(load(write_study(runs, made, claims=["rainrange"])))
    order = {claim.group: claim.verdict for claim in found if claim.id == "e_r_breaks_later"}
    assert order == {"network = unet": "supported", "network = resnet": "contradicted"}


def test_ranges_are_normalised_over_the_counts_that_they_share(runs: Path) -> None:
    alone = Cell({"patch_count": 4, "rain": "large"}, e_r=100, test_set="own")
    claim = checked(runs, [*ranges(RAIN_LASTS), alone], "rainrange")["e_r_breaks_later"]
    assert claim.numbers["breaks_down_after"]["large"]["count"] == 512


def test_categories_like_the_papers_support_everything(runs: Path) -> None:
    found = checked(runs, categories(CATEGORY_LASTS), "category")
    assert set(verdicts(found).values()) == {"supported"}
    assert found["e_r_simpler_later"].numbers["spearman"]["mean"] == 1
    drop = found["e_r_celeba_drops_at_16"].numbers
    assert (drop["celeba"]["mean"], drop["div2k"]["mean"]) == pytest.approx((1, 0), abs=0.05)
    assert "CelebA is first, alone, in 100 % of the resamples." in found["e_r_celeba_first"].sentence


def test_each_category_may_have_test_images_of_its_own(runs: Path, edit_images: EditImages) -> None:
    made = categories(CATEGORY_LASTS)
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
    made = categories({"celeba": 8, "div2k": 8}, counts=(8, 64, 1024))
    study = write_study(runs, made, claims=["category"])
    for cell in made:
        e_r = {8: 48.0, 64: 38.0, 1024: 28.0}[cell.axes["patch_count"]]
        noise = np.random.default_rng(cell.axes["patch_count"]).normal(size=20)
        prefix = "" if same_images else cell.axes["background"]

        def changed(rows: pd.DataFrame, e_r: float = e_r, noise: np.ndarray = noise, to: str = prefix) -> pd.DataFrame:
            return rows.assign(e_r=e_r + noise - noise.mean(), image=to + rows["image"])

        edit_images(cell, changed)
    found = break_downs(comparisons(load(study), "background")[0].groups, "e_r")
    together = np.corrcoef(found.joint.draws.T)[0, 1]
    assert together == pytest.approx(1) if same_images else abs(together) < 0.06


@pytest.mark.parametrize("family", ["patchcount", "rainrange", "category"])
def test_curves_over_few_images_decide_nothing(runs: Path, family: str) -> None:
    made = {
        "patchcount": patches([48, 40, 32, 30, 30], e_b=[30, 14, 8, 7, 7]),
        "rainrange": ranges(RAIN_LASTS),
        "category": categories(CATEGORY_LASTS),
    }[family]
    for cell in made:
        cell.images = 4
    found = checked(runs, made, family)
    assert set(verdicts(found).values()) == {"not enough data"}
    assert any("With 4 test images nothing is decided" in claim.sentence for claim in found.values())
