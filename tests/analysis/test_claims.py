"""From resampled numbers to a verdict, what a study is checked on, and the claims as the page shows them."""

from pathlib import Path

import numpy as np
import pytest
from analysis_record import Cell, EditImages, MakeFrames, by_id, checked, counts, image_rows, write_study

from slackoff.analysis import load
from slackoff.analysis.claims import FAMILIES, check
from slackoff.analysis.claims.check import claim_tables, e_r_versus_removal, with_disagreements
from slackoff.analysis.claims.claim import (
    Claim,
    Effect,
    difference,
    differences,
    share_of_resamples,
    verdict,
    within,
)
from slackoff.analysis.groups import Group, groups, means_at
from slackoff.analysis.report import build
from slackoff.analysis.statistics import Array, Joint, difference_interval, joint_means
from slackoff.errors import SlackoffError


def joint(means: list[float], noise: float = 1.0, images: int = 30) -> Joint:
    """Points with these means, each with its own noise over the images."""
    generator = np.random.default_rng(7)
    noisy = [generator.normal(size=images) for _ in means]
    return joint_means([mean + noise * (own - own.mean()) for mean, own in zip(means, noisy, strict=True)])


def group_of(runs: Path, name: str, cells: list[Cell]) -> Group:
    return groups(load(write_study(runs, cells, name)))[0]


def one(means: Array) -> Array:
    return means[..., 0]


@pytest.mark.parametrize(
    ("mean", "expected"),
    [(2.0, "supported"), (-2.0, "contradicted"), (0.1, "not enough data"), (0.0, "not enough data")],
)
def test_one_criterion_decides_by_the_side_of_its_interval(mean: float, expected: str) -> None:
    assert verdict(joint([mean]), one) == expected


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ([2.0, 3.0, 2.0], "supported"),
        ([2.0, 0.05, 2.0], "not enough data"),
        ([2.0, -2.0, 2.0], "contradicted"),
    ],
)
def test_a_statement_of_parts_needs_each_of_them(means: list[float], expected: str) -> None:
    assert verdict(joint(means), lambda points: points) == expected


def test_one_part_of_many_contradicts_only_where_it_is_clear_among_them() -> None:
    """The same part, low by 2.4 standard errors: clear alone, not among 40 (Bonferroni asks for 3.2)."""
    few = joint([-2.4 / np.sqrt(30)])
    many = few.beside(joint([5.0] * 39))
    assert verdict(few, one) == "contradicted"
    assert verdict(many, lambda points: points) == "not enough data"


def test_many_parts_that_barely_hold_are_hardly_ever_contradicted() -> None:
    """Of 100 draws of 25 true but tiny differences no more than about 2.5 may come out contradicted."""
    generator = np.random.default_rng(1)
    found = [verdict(joint_means(generator.normal(0.01, 1, size=(25, 60))), lambda points: points) for _ in range(100)]
    assert found.count("contradicted") <= 6


@pytest.mark.parametrize(
    ("mean", "expected"),
    [(0.0, "supported"), (-0.5, "supported"), (3.0, "contradicted"), (-3.0, "contradicted"), (1.0, "not enough data")],
)
def test_equivalence_is_two_tests(mean: float, expected: str) -> None:
    assert verdict(joint([mean]), lambda points: within(points[..., 0], 1.0)) == expected


def test_too_few_images_decide_nothing_however_clear() -> None:
    assert verdict(joint([9.0], images=4), one) == "not enough data"
    assert verdict(joint([9.0], images=5), one) == "supported"


def test_share_counts_the_resamples_in_which_all_parts_hold() -> None:
    found = joint([0.1, 0.2])
    assert share_of_resamples(found, differences([(0, 1)])) == pytest.approx(
        (found.draws[:, 0] > found.draws[:, 1]).mean()
    )
    assert share_of_resamples(found, lambda points: points) == pytest.approx((found.draws > 0).all(axis=1).mean())
    assert np.isnan(share_of_resamples(joint([1.0], images=1), one))


def test_points_on_the_same_images_are_paired(runs: Path) -> None:
    cells = [Cell({"patch_count": 8}, e_r=50), Cell({"patch_count": 64}, e_r=40)]
    group = group_of(runs, "one", cells)
    found = means_at([(group, 8, "e_r"), (group, 64, "e_r")])
    expected = difference_interval(*(image_rows(cell)["e_r"] for cell in cells))
    assert found.interval(difference(0, 1)) == expected


def test_groups_on_the_same_images_are_paired_and_others_are_not(runs: Path, edit_images: EditImages) -> None:
    """Two groups with the same values: paired their difference has no spread, unpaired that of two means."""
    cells = [Cell({"patch_count": 8, "rain": rain}, noise=0) for rain in ("small", "large")]
    write_study(runs, cells, "both")
    small, large = groups(load(runs / "studies" / "both"))
    paired = means_at([(small, 8, "e_r"), (large, 8, "e_r")]).interval(difference(0, 1))
    assert (paired.low, paired.high) == pytest.approx((0, 0), abs=1e-9)
    edit_images(cells[1], lambda rows: rows.assign(image="other-" + rows["image"]))
    small, large = groups(load(runs / "studies" / "both"))
    unpaired = means_at([(small, 8, "e_r"), (large, 8, "e_r")])
    values = image_rows(cells[0])["e_r"].to_numpy()
    generator = np.random.default_rng(2)
    drawn = generator.choice(values, (4000, 2, 20)).mean(axis=2)
    low, high = np.percentile(drawn[:, 0] - drawn[:, 1], [2.5, 97.5])
    interval = unpaired.interval(difference(0, 1))
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.1 * (high - low))
    assert abs(np.corrcoef(unpaired.draws.T)[0, 1]) < 0.06


def test_points_keep_their_order_when_blocks_alternate(runs: Path, edit_images: EditImages) -> None:
    cells = [
        Cell({"patch_count": count, "rain": rain}, e_r=10.0 * place + count)
        for place, rain in enumerate(("small", "large"), 1)
        for count in (1, 2)
    ]
    study = write_study(runs, cells)
    for cell in cells[2:]:
        edit_images(cell, lambda rows: rows.assign(image="other-" + rows["image"]).head(12))
    small, large = groups(load(study))
    found = means_at([(large, 1, "e_r"), (small, 1, "e_r"), (large, 2, "e_r"), (small, 2, "e_r")])
    expected = [image_rows(cells[2])["e_r"].head(12).mean(), 11, image_rows(cells[3])["e_r"].head(12).mean(), 12]
    np.testing.assert_allclose(found.means, expected)
    np.testing.assert_allclose(found.draws.mean(axis=0), expected, atol=0.2)
    assert found.images == 12


def twins(*verdicts: tuple[str, str], group: str = "") -> list[Claim]:
    """Statements a, b ... with the verdicts for E_R and for the removal share."""
    found = []
    for topic, pair in zip("abcdef", verdicts, strict=False):
        for measure, found_so in zip(("e_r", "removal_share"), pair, strict=True):
            claim = Claim(f"{measure}_{topic}", f"Statement {topic}.", found_so, {}, "", topic=topic, measure=measure)  # type: ignore[arg-type]
            found.append(Claim(**{**vars(claim), "group": group}))
    return found


def test_a_study_is_checked_on_the_families_that_it_names(runs: Path) -> None:
    cells = [Cell({"patch_count": count, "rain": rain}) for count in (8, 64) for rain in ("small", "large")]
    found = check(load(write_study(runs, cells, claims=["table2", "rainrange", "references"])))
    assert list(dict.fromkeys(claim.family for claim in found)) == ["table2", "rainrange", "summary", "references"]
    assert len([claim for claim in found if claim.family == "references"]) == 2


def test_without_names_the_axis_decides(frames_of: MakeFrames, effect_cells: list[Cell]) -> None:
    families = {claim.family for claim in check(frames_of(effect_cells))}
    assert families == {"patchcount", "summary", "references"}
    other = [Cell({"rain": name}) for name in ("small", "large")]
    assert {claim.family for claim in check(frames_of(other, axis="rain"))} == {"references"}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_answers_on_a_study_that_has_nothing_of_it(runs: Path, family: str) -> None:
    cells = [Cell({"rain": "small"}, state="failed"), Cell({"rain": "large"}, state="missing")]
    found = check(load(write_study(runs, cells, axis="rain", claims=[family])))
    assert {claim.verdict for claim in found} == {"not enough data"}
    assert all(claim.sentence and claim.scope for claim in found)
    assert {claim.family for claim in found} >= {family}


@pytest.mark.parametrize(("name", "meant"), [("rainranges", "rainrange"), ("tabel2", "table2")])
def test_an_unknown_family_is_answered_with_a_suggestion(runs: Path, name: str, meant: str) -> None:
    frames = load(write_study(runs, [Cell({"patch_count": 8})], claims=["patchcount", name]))
    with pytest.raises(SlackoffError) as caught:
        check(frames)
    message = str(caught.value)
    assert "study.claims" in message
    assert f"names '{name}'" in message
    assert f"did you mean '{meant}'?" in message
    assert "transfer" in message


def test_every_statement_on_e_r_has_its_twin(runs: Path) -> None:
    cells = [
        Cell({"patch_count": count, "rain": rain, "background": background, "network": "resnet"}, test_set="div2k")
        for count in (8, 16, 64, 256, 1024, 2048)
        for rain in ("small", "medium", "large")
        for background in ("celeba", "div2k", "manga109", "urban100")
    ]
    found = check(load(write_study(runs, cells, claims=list(FAMILIES))))
    of_e_r = {(claim.family, claim.topic, claim.group) for claim in found if claim.measure == "e_r"}
    of_share = {(claim.family, claim.topic, claim.group) for claim in found if claim.measure == "removal_share"}
    assert of_e_r == of_share
    assert len({topic for _, topic, _ in of_e_r}) == 26


@pytest.mark.parametrize(
    ("e_r", "share", "line"),
    [
        ("supported", "supported", ""),
        ("contradicted", "contradicted", ""),
        ("supported", "contradicted", "Holds for E_R, not for removal itself."),
        ("supported", "not enough data", "Shown for E_R, not for removal itself."),
        ("contradicted", "supported", "Holds for removal itself, not for E_R."),
        ("not enough data", "supported", "Shown for removal itself, not for E_R."),
        ("contradicted", "not enough data", "Contradicted for E_R; for removal itself there is not enough data."),
    ],
)
def test_twins_that_come_out_differently_say_so(e_r: str, share: str, line: str) -> None:
    other = Claim("e_b_a", "Statement a.", "supported", {}, "", topic="a", measure="e_b")
    found = with_disagreements([*twins((e_r, share)), other])
    assert [claim.disagreement for claim in found] == [line, line, ""]


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([("supported", "supported"), ("contradicted", "supported")], "supported"),
        ([("supported", "supported"), ("supported", "contradicted")], "contradicted"),
        ([("supported", "supported"), ("supported", "not enough data")], "not enough data"),
        ([("contradicted", "supported")], "not enough data"),
    ],
)
def test_the_summary_follows_what_is_supported_for_e_r(verdicts: list[tuple[str, str]], expected: str) -> None:
    summary = e_r_versus_removal(twins(*verdicts))
    assert summary is not None
    assert summary.verdict == expected


def test_the_summary_lists_what_holds_for_which() -> None:
    found = twins(
        ("supported", "supported"),
        ("supported", "contradicted"),
        ("supported", "not enough data"),
        ("contradicted", "supported"),
        ("not enough data", "supported"),
        ("contradicted", "not enough data"),
    )
    summary = e_r_versus_removal([*found, *twins(("supported", "supported"), group="unet")])
    assert summary is not None
    assert summary.numbers == {
        "both": ["a", "a (unet)"],
        "only_e_r": ["b"],
        "shown_for_e_r": ["c"],
        "only_removal": ["d"],
        "shown_for_removal": ["e"],
        "neither": ["f"],
    }
    both = "For both hold: \N{LEFT DOUBLE QUOTATION MARK}Statement a\N{RIGHT DOUBLE QUOTATION MARK} (in 2 of 2 groups)."
    assert summary.sentence.startswith(both)
    assert summary.sentence.endswith("Supported for neither: 1 of 7.")


def test_no_twins_no_summary() -> None:
    assert e_r_versus_removal([Claim("references", "x", "supported", {}, "y")]) is None


def test_a_study_of_damage_only_says_that_removal_does_not_follow(frames_of: MakeFrames) -> None:
    found = by_id(frames_of(counts(e_r=[48, 40, 36], share=[0.5, 0.6, 0.7])))
    assert found["e_r_falls"].disagreement == "Holds for E_R, not for removal itself."
    assert found["er_versus_removal"].verdict == "contradicted"
    assert "falls" in found["er_versus_removal"].numbers["only_e_r"]
    assert found["er_versus_removal"].scope == found["e_r_falls"].scope


def test_the_main_axis_need_not_be_the_patch_count(runs: Path) -> None:
    cells = [
        Cell({"rain": rain, "patch_count": count}, e_r=48 if count <= last else 28)
        for rain, last in (("small", 8), ("medium", 32), ("large", 64))
        for count in (8, 16, 32, 64, 128)
    ]
    assert checked(runs, cells, "rainrange", axis="rain")["e_r_breaks_later"].verdict == "supported"


def claim(topic: str, measure: str, verdict: str, group: str, mean: float = 1.0, **more: str) -> Claim:
    effect = Effect("a fall", mean, mean - 1, mean + 1, "grey levels")
    return Claim(
        f"{measure}_{topic}",
        f"{topic} of {measure}.",
        verdict,  # type: ignore[arg-type]
        {},
        f"It is {mean}.",
        group=group,
        family="patchcount",
        topic=topic,
        measure=measure,
        effect=effect,
        **more,
    )


def test_twins_share_a_row_and_groups_are_counted() -> None:
    line = "Holds for E_R, not for removal itself."
    found = [
        claim("falls", "e_r", "supported", "unet", 5.0, disagreement=line),
        claim("falls", "removal_share", "contradicted", "unet", disagreement=line),
        claim("falls", "e_b", "supported", "unet"),
        claim("falls", "e_r", "supported", "resnet", 14.0),
        claim("falls", "removal_share", "supported", "resnet"),
        claim("falls", "e_b", "not enough data", "resnet"),
    ]
    (table,) = claim_tables(found)
    assert (table.title, table.has_twins) == ("Number of backgrounds", True)
    twins, single = table.rows
    assert [of_one.group for of_one, _ in twins.entries] == ["unet", "resnet"]
    assert twins.verdicts == [[("supported", 2)], [("contradicted", 1), ("supported", 1)]]
    assert twins.disagreements == [(line, 1)]
    assert twins.spans[0] == ("E_R", "5.0 to 14.0 grey levels over 2 groups")
    assert single.verdicts == [[("supported", 1), ("not enough data", 1)]]
    assert single.spans == [("", "1.0 grey levels over 2 groups")]


def test_families_keep_the_order_of_the_page() -> None:
    found = [
        Claim("x", "x", "supported", {}, "y", family="references"),
        Claim("x", "x", "supported", {}, "y", family="table2"),
    ]
    tables = claim_tables(found)
    assert [table.title for table in tables] == ["Table 2", "Are the cells comparable?"]
    assert not tables[0].has_twins


@pytest.mark.usefixtures("without_figures")
def test_the_page_shows_effects_disagreements_and_published_numbers(runs: Path) -> None:
    rows = {(1024, "medium"): 26.0, (64, "medium"): 45.0, (128, "large"): 42.0}
    cells = [
        Cell({"network": network, "rain": rain, "patch_count": count}, e_r=e_r, share=0.9 - e_r / 80, e_b=e_r / 3)
        for network in ("rcdnet", "resnet")
        for (count, rain), e_r in rows.items()
    ]
    folder = write_study(runs, cells, claims=["table2"])
    text = build(folder).read_text(encoding="utf-8")
    assert "Fewer backgrounds or a wider rain range raise <i>E<sub>R</sub></i> over the baseline." in text
    assert text.count('<span class="verdict supported">supported 2</span>') == 3
    assert text.count('<span class="verdict contradicted">contradicted 2</span>') == 2
    assert "Holds for <i>E<sub>R</sub></i>, not for removal itself. (2 of 2)" in text
    assert "128 large above the baseline, the smallest difference: 16.0 grey levels (" in text
    assert "Published numbers beside the measured ones" in text
    assert "not comparable: N = 30000 in the paper" in text
    assert (folder / "tables" / "published.csv").is_file()


@pytest.mark.usefixtures("without_figures")
def test_a_page_of_one_group_says_each_effect_openly(runs: Path) -> None:
    cells = [
        Cell({"rain": rain, "patch_count": count}, e_r=48 if count <= last else 28, share=0.6)
        for rain, last in (("small", 8), ("medium", 32), ("large", 64))
        for count in (8, 16, 32, 64, 128)
    ]
    text = build(write_study(runs, cells, claims=["rainrange"])).read_text(encoding="utf-8")
    assert (
        "step from medium to large, the smallest: <b><i>E<sub>R</sub></i></b> 1.0 doublings of N (1.0 to 1.0)" in text
    )
    assert "Shown for <i>E<sub>R</sub></i>, not for removal itself." in text
    assert '<span class="verdict not-enough-data">not enough data</span>' in text
    assert "there is no break-down to place" in text
