"""The directions of Table 2 and the published numbers, on records of both outcomes and of too little data."""

from pathlib import Path

import pytest
from analysis_record import INPUT_PSNR, Cell, checked, write_study

from slackoff.analysis import Frames, load
from slackoff.analysis.claims import check
from slackoff.analysis.claims.published import TABLE, published_table, readable_published
from slackoff.analysis.text import MINUS, NO_NUMBER

ROWS = {(1024, "medium"): (26.5, 5.4, 28.5), (64, "medium"): (45.5, 14.8, 25.3), (256, "large"): (40.4, 8.5, 29.1)}


def cells(rows: dict[tuple[int, str], tuple[float, float, float]], network: str = "rcdnet") -> list[Cell]:
    """Rows of E_R, E_B and PSNR; the removal share follows E_R."""
    return [
        Cell(
            {"network": network, "rain": rain, "patch_count": count},
            e_r=e_r,
            share=e_r / 80,
            e_b=e_b,
            psnr=psnr,
            label={"network": network, "rain": rain},
            test_set="r100",
        )
        for (count, rain), (e_r, e_b, psnr) in rows.items()
    ]


def frames(runs: Path, made: list[Cell], **more: str) -> Frames:
    return load(write_study(runs, made, claims=["table2"], **more))


def test_rows_like_the_published_support_everything(runs: Path) -> None:
    found = checked(runs, cells(ROWS), "table2")
    assert {claim.verdict for claim in found.values()} == {"supported"}
    claim = found["e_r_treated_higher"]
    assert claim.numbers["baseline"] == "1024 medium"
    assert claim.numbers["differences"]["256 large"]["mean"] == pytest.approx(13.9)
    assert claim.effect is not None
    assert claim.effect.mean == pytest.approx(13.9)
    order = found["e_r_ordered"].numbers["falls"]
    assert {step: fall["mean"] for step, fall in order.items()} == pytest.approx(
        {"64 medium to 256 large": 5.1, "256 large to 1024 medium": 13.9}
    )


def test_psnr_is_told_and_decides_nothing(runs: Path) -> None:
    better, worse = (ROWS | {(64, "medium"): (45.5, 14.8, psnr)} for psnr in (40.0, 10.0))
    claims = [
        checked(runs / name, cells(rows), "table2")["e_b_treated_price"] for name, rows in (("a", better), ("b", worse))
    ]
    assert [claim.verdict for claim in claims] == ["supported", "supported"]
    assert "PSNR, which decides nothing, changes at 64 medium (+11.50" in claims[0].sentence
    assert f"64 medium ({MINUS}18.50" in claims[1].sentence


def test_the_opposite_contradicts(runs: Path) -> None:
    rows = {(1024, "medium"): (45.0, 14.0, 27), (64, "medium"): (26.0, 5.0, 28), (256, "large"): (40.0, 8.0, 29)}
    found = checked(runs, cells(rows), "table2")
    assert {claim.verdict for name, claim in found.items() if name != "er_versus_removal"} == {"contradicted"}


@pytest.mark.parametrize("opposite", [False, True], ids=["like the published", "the opposite"])
def test_a_baseline_that_has_not_learned_to_restore_decides_nothing(runs: Path, opposite: bool) -> None:
    sign = -1 if opposite else 1
    rows = {key: (40 + sign * (e_r - 40), e_b, psnr) for key, (e_r, e_b, psnr) in ROWS.items()}
    base = (1024, "medium")
    found = checked(runs, cells(rows | {base: (*rows[base][:2], INPUT_PSNR - 2)}), "table2")
    assert {claim.verdict for claim in found.values()} == {"not enough data"}
    sentence = found["e_r_treated_higher"].sentence
    assert sentence.startswith("The baseline (1024 medium) has not learned to restore: its PSNR lies 2.00 (")
    assert "Against 1024 medium E_R changes at" in sentence


def test_one_row_that_is_not_higher_contradicts(runs: Path) -> None:
    found = checked(runs, cells(ROWS | {(256, "large"): (20.0, 8.5, 29.1)}), "table2")
    assert found["e_r_treated_higher"].verdict == found["e_r_ordered"].verdict == "contradicted"
    assert found["e_b_treated_price"].verdict == "supported"


def test_order_is_not_asked_of_spdnet(runs: Path) -> None:
    found = checked(runs, cells(ROWS, "spdnet"), "table2")
    assert "e_r_ordered" not in found
    assert found["e_r_treated_higher"].verdict == "supported"


def test_a_smaller_preset_counts_as_its_network(runs: Path) -> None:
    assert "e_r_ordered" in checked(runs, cells(ROWS, "resnet_small"), "table2")


def test_rows_of_one_count_are_not_ordered_among_themselves(runs: Path) -> None:
    rows = ROWS | {(256, "medium"): (30.0, 7.0, 29.0)}
    claim = checked(runs, cells(rows), "table2")["e_r_ordered"]
    assert claim.verdict == "supported"
    assert "256 large to 256 medium" not in claim.numbers["falls"]
    assert len(claim.numbers["falls"]) == 4


def test_a_narrower_range_is_no_treatment(runs: Path) -> None:
    claim = checked(runs, cells(ROWS | {(64, "small"): (20.0, 5.0, 28.0)}), "table2")["e_r_treated_higher"]
    assert claim.verdict == "supported"
    assert "64 small" not in claim.numbers["differences"]


def test_without_its_baseline_nothing_is_decided(runs: Path) -> None:
    made = cells(ROWS)
    made[0].state = "failed"
    found = checked(runs, made, "table2")
    assert found["e_r_treated_higher"].verdict == "not enough data"
    assert found["e_r_treated_higher"].sentence.startswith("The baseline (1024 medium) has no result.")
    assert found["e_r_ordered"].verdict == "supported"
    only_large = [cell for cell in cells(ROWS) if cell.axes["rain"] == "large"]
    found = checked(runs / "large", only_large, "table2")
    assert found["e_r_treated_higher"].sentence == "A baseline at medium rain has no result."
    assert found["e_r_ordered"].sentence == "It takes rows of two N with results; there are 1."


def test_a_baseline_alone_is_compared_with_nothing(runs: Path) -> None:
    claim = checked(runs, cells({(1024, "medium"): (26.5, 5.4, 28.5)}), "table2")["e_b_treated_price"]
    assert claim.verdict == "not enough data"
    assert claim.sentence == "There is no row beside the baseline (1024 medium) with results."


def test_few_images_decide_nothing(runs: Path) -> None:
    made = cells(ROWS)
    for cell in made:
        cell.images = 4
    assert {claim.verdict for claim in checked(runs, made, "table2").values()} == {"not enough data"}


def test_each_network_is_judged_apart(runs: Path) -> None:
    worse = {key: (70 - e_r, e_b, psnr) for key, (e_r, e_b, psnr) in ROWS.items()}
    found = check(frames(runs, cells(ROWS) + cells(worse, "resnet")))
    higher = {claim.group: claim.verdict for claim in found if claim.id == "e_r_treated_higher"}
    assert higher == {"network = rcdnet": "supported", "network = resnet": "contradicted"}


def test_published_numbers_stand_beside_the_measured(runs: Path) -> None:
    table = published_table(frames(runs, cells(ROWS), size="laptop"))
    assert table is not None
    rows = table.set_index(["background_count", "rain"])
    assert list(rows.index) == [(1024, "medium"), (64, "medium"), (512, "large"), (256, "large"), (128, "large")]
    base = rows.loc[(1024, "medium")]
    assert (base["e_r_published"], base["e_b_published"], base["psnr_rgb_published"]) == (26.55, 5.41, 28.54)
    assert (base["e_r"], base["e_b"], base["psnr_rgb"]) == pytest.approx((26.5, 5.4, 28.5))
    assert base["e_r_low"] < 26.5 < base["e_r_high"]
    assert base["remark"] == "not comparable: N = 30000 in the paper and not the paper's size but laptop"
    assert rows.loc[(512, "large"), "remark"] == "not in this study"
    text = readable_published(table)
    assert text.loc[1, "E_R"].startswith("45.5 / 45.5\n")
    assert text.loc[2, "E_R"] == f"37.5 / {NO_NUMBER}"


def test_remarks_tell_rows_and_test_sets_apart(runs: Path) -> None:
    made = cells(ROWS | {(32, "large"): (50.0, 20.0, 20.0)})
    for cell in made:
        cell.test_set = "own"
    made[1].state = "failed"
    table = published_table(frames(runs, made, size="paper"))
    assert table is not None
    remarks = table.set_index(["background_count", "rain"])["remark"]
    assert remarks[256, "large"] == "not comparable: tested on own instead of R100"
    assert remarks[64, "medium"] == "no result"
    assert remarks[32, "large"] == "not in the paper"


def test_the_papers_own_rows_at_its_size_need_no_remark(runs: Path) -> None:
    rows = {(row.count, row.rain): (row.e_r, row.e_b, row.psnr_rgb) for row in TABLE["rcdnet"]}
    table = published_table(frames(runs, cells(rows), size="paper"))
    assert table is not None
    assert set(table["remark"]) == {""}
    assert table["e_r"].tolist() == pytest.approx(table["e_r_published"].tolist())


def test_other_studies_have_no_published_numbers(runs: Path) -> None:
    assert published_table(load(write_study(runs, cells(ROWS)))) is None
