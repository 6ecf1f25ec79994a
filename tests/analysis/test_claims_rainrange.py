"""The statements on the rain range, on records of both outcomes and of too little data."""

from pathlib import Path

import pytest
from analysis_record import Cell, checked, verdicts, write_study

from slackoff.analysis import load
from slackoff.analysis.claims import check

COUNTS = (8, 16, 32, 64, 512, 1024, 30000)
LASTS = {"small": 8, "medium": 32, "large": 512}


def cells(lasts: dict[str, int], shares: dict[str, int] | None = None, counts: tuple[int, ...] = COUNTS) -> list[Cell]:
    """Ranges whose E_R (and removal share) drops after the given count, from 48 to 28 (0.75 to 0.4)."""
    shares = shares or lasts
    return [
        Cell(
            {"patch_count": count, "rain": rain},
            e_r=48 if count <= last else 28,
            share=0.75 if count <= shares[rain] else 0.4,
        )
        for rain, last in lasts.items()
        for count in counts
    ]


def test_ranges_like_the_papers_support_everything(runs: Path) -> None:
    found = checked(runs, cells(LASTS), "rainrange")
    assert set(verdicts(found).values()) == {"supported"}
    claim = found["e_r_breaks_later"]
    assert claim.numbers["breaks_down_after"]["small"] == {"count": 8, "low": 8, "high": 8, "within_the_study": True}
    assert claim.numbers["breaks_down_after"]["large"]["count"] == 512
    assert claim.numbers["share_of_resamples"] == 1.0
    assert claim.effect is not None
    assert (claim.effect.mean, claim.effect.unit) == (2, "doublings of N")
    assert (
        "E_R breaks down after N = 8 for small, after N = 32 for medium and after N = 512 for large." in claim.sentence
    )


def test_the_reverse_order_contradicts(runs: Path) -> None:
    found = checked(runs, cells({"small": 1024, "medium": 64, "large": 16}), "rainrange")
    for measure in ("e_r", "removal_share"):
        assert found[f"{measure}_breaks_later"].verdict == "contradicted"
        assert found[f"{measure}_small_fails_at_16"].verdict == "contradicted"
        assert found[f"{measure}_large_holds_to_512"].verdict == "contradicted"
    assert found["e_r_breaks_later"].numbers["share_of_resamples"] == 0


def test_removal_may_break_down_elsewhere_than_e_r(runs: Path) -> None:
    found = checked(runs, cells(LASTS, {"small": 8, "medium": 32, "large": 16}), "rainrange")
    assert found["e_r_breaks_later"].verdict == "supported"
    assert found["removal_share_breaks_later"].verdict == "contradicted"
    for measure in ("e_r", "removal_share"):
        assert found[f"{measure}_breaks_later"].disagreement == "Holds for E_R, not for removal itself."


def test_ranges_that_break_down_together_are_told_apart_by_no_one(runs: Path) -> None:
    claim = checked(runs, cells({"small": 8, "medium": 32, "large": 32}), "rainrange")["e_r_breaks_later"]
    assert claim.verdict == "not enough data"
    assert "cannot be told apart with these counts" in claim.sentence


def test_a_break_down_that_the_images_leave_open_decides_nothing(runs: Path) -> None:
    made = cells(LASTS)
    for cell in made:
        if cell.axes["rain"] == "medium":
            cell.e_r = {8: 48, 16: 38.1, 32: 38, 64: 37.9, 512: 38, 1024: 37.9, 30000: 28}[cell.axes["patch_count"]]
    claim = checked(runs, made, "rainrange")["e_r_breaks_later"]
    assert claim.verdict == "not enough data"
    assert 0 < claim.numbers["share_of_resamples"] < 1
    place = claim.numbers["breaks_down_after"]["medium"]
    assert place["low"] < place["high"]
    assert f"({place['low']:g} to {place['high']:g}) for medium" in claim.sentence


def test_a_range_that_does_not_fall_has_no_break_down(runs: Path) -> None:
    made = cells(LASTS)
    for cell in made:
        if cell.axes["rain"] == "large":
            cell.e_r = 40
    found = checked(runs, made, "rainrange")
    for name in ("e_r_breaks_later", "e_r_large_holds_to_512"):
        assert found[name].verdict == "not enough data"
        assert "E_R shows no clear change" in found[name].sentence
        assert "for large: there is no break-down to place" in found[name].sentence
    assert found["removal_share_breaks_later"].verdict == "supported"


def test_a_rise_is_no_break_down(runs: Path) -> None:
    made = cells(LASTS)
    for cell in made:
        if cell.axes["rain"] == "small":
            cell.e_r = 76 - cell.e_r
    claim = checked(runs, made, "rainrange")["e_r_small_fails_at_16"]
    assert claim.verdict == "not enough data"
    assert "rises" in claim.sentence


def test_a_range_that_is_missing_is_named(runs: Path) -> None:
    found = checked(runs, cells({"small": 8, "medium": 32}), "rainrange")
    assert found["e_r_breaks_later"].sentence == "There is no result for rain large."
    assert found["e_r_large_fails_at_most"].verdict == "not enough data"
    assert found["e_r_small_fails_at_16"].verdict == "supported"


def test_one_range_that_is_no_axis_is_known_by_its_label(runs: Path) -> None:
    made = [
        Cell({"patch_count": count}, e_r=48 - 5 * place, label={"rain": "small"}) for place, count in enumerate(COUNTS)
    ]
    made.append(Cell({"patch_count": 128}, state="missing"))
    found = checked(runs, made, "rainrange")
    expected = "There is no result for rain medium and large. No result for N = 128 (missing)."
    assert found["e_r_breaks_later"].sentence == expected
    assert found["e_r_small_fails_at_16"].verdict == "contradicted"


def test_failed_cells_of_one_range_are_left_out_of_all(runs: Path) -> None:
    made = cells(LASTS)
    failed = next(cell for cell in made if cell.axes == {"patch_count": 64, "rain": "medium"})
    failed.state = "failed"
    claim = checked(runs, made, "rainrange")["e_r_breaks_later"]
    assert claim.verdict == "supported"
    assert claim.sentence.endswith("No result for rain = medium, N = 64 (failed).")


def test_nothing_at_all_gives_reasons(runs: Path) -> None:
    made = cells(LASTS)
    for cell in made:
        cell.state = "failed"
    found = checked(runs, made, "rainrange")
    assert set(verdicts(found).values()) == {"not enough data"}
    assert all(claim.sentence for claim in found.values())


def test_two_counts_have_no_break_down(runs: Path) -> None:
    claim = checked(runs, cells(LASTS, counts=(8, 1024)), "rainrange")["e_r_breaks_later"]
    assert claim.sentence == "It takes results at 3 counts in each group; they share 2."


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
    made = cells({"large": last}, counts=(8, 16, 64, most))
    claim = checked(runs, made, "rainrange")["e_r_large_fails_at_most"]
    assert claim.verdict == verdict
    if verdict == "not enough data":
        assert "the paper says it of 30000" in claim.sentence.replace("The paper", "the paper")


def test_few_images_decide_nothing(runs: Path) -> None:
    made = cells(LASTS)
    for cell in made:
        cell.images = 4
    assert set(verdicts(checked(runs, made, "rainrange")).values()) == {"not enough data"}


def test_comparisons_are_made_for_each_network(runs: Path) -> None:
    made = [
        Cell({**cell.axes, "network": network}, e_r=cell.e_r, share=cell.share)
        for network, lasts in (("unet", LASTS), ("resnet", {"small": 512, "medium": 32, "large": 8}))
        for cell in cells(lasts)
    ]
    found = check(load(write_study(runs, made, claims=["rainrange"])))
    order = {claim.group: claim.verdict for claim in found if claim.id == "e_r_breaks_later"}
    assert order == {"network = unet": "supported", "network = resnet": "contradicted"}


def test_ranges_are_normalised_over_the_counts_that_they_share(runs: Path) -> None:
    alone = Cell({"patch_count": 4, "rain": "large"}, e_r=100)
    claim = checked(runs, [*cells(LASTS), alone], "rainrange")["e_r_breaks_later"]
    assert claim.numbers["breaks_down_after"]["large"]["count"] == 512
