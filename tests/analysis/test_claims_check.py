"""Which claims a study is checked on, and where E_R and the removal share disagree."""

from pathlib import Path

import pytest
from analysis_record import Cell, MakeFrames, by_id, checked, counts, write_study

from slackoff.analysis import load
from slackoff.analysis.claim import Claim
from slackoff.analysis.claims import FAMILIES, check
from slackoff.analysis.claims.versus import e_r_versus_removal, with_disagreements
from slackoff.errors import SlackoffError


def twins(*verdicts: tuple[str, str], group: str = "") -> list[Claim]:
    """Statements a, b ... with the verdicts for E_R and for the removal share."""
    found = []
    for topic, pair in zip("abcdef", verdicts, strict=False):
        for measure, verdict in zip(("e_r", "removal_share"), pair, strict=True):
            claim = Claim(f"{measure}_{topic}", f"Statement {topic}.", verdict, {}, "", topic=topic, measure=measure)  # type: ignore[arg-type]
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
    assert len({topic for _, topic, _ in of_e_r}) == 24


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
