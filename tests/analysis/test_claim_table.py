"""The claims as the page shows them."""

from pathlib import Path

import pytest
from analysis_record import Cell, write_study

from slackoff.analysis.claim import Claim, Effect
from slackoff.analysis.claim_table import claim_tables
from slackoff.analysis.report import build


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
    assert [entry.group for entry in twins.entries] == ["unet", "resnet"]
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
