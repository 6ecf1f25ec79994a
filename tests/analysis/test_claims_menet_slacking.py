"""Balanced against fixed weights at each number of patches: better, worse, mixed, and not comparable."""

from pathlib import Path

import pytest
from analysis_record import Cell, write_study

from slackoff.analysis import load
from slackoff.analysis.claims import Claim, check

COUNTS = (8, 64)


def claims(runs: Path, changes: dict[str, dict[int, float]]) -> dict[str, Claim]:
    """Fixed weights beside others, whose removal share is higher by so much, and whose E_B is lower by 10 times it."""
    cells = []
    for weighting, by_count in ({"fixed": dict.fromkeys(COUNTS, 0.0)} | changes).items():
        for count, change in by_count.items():
            share = 0.4 + change
            axes = {"patch_count": count, "weighting": weighting}
            cells.append(Cell(axes, e_r=50 * share, share=share, e_b=12 - 10 * change))
    folder = write_study(runs, cells, "slacking", "patch_count", claims=["menet_slacking"])
    return {claim.id: claim for claim in check(load(folder)) if claim.family == "menet_slacking"}


def test_weights_that_help_everywhere(runs: Path) -> None:
    found = claims(runs, {"gb": {8: 0.2, 64: 0.1}})
    assert {claim.verdict for claim in found.values()} == {"supported"}
    assert set(found) == {"e_r_gb_removed", "removal_share_gb_removed", "e_b_gb_background"}
    effect = found["e_b_gb_background"].effect
    assert effect is not None
    assert effect.mean == pytest.approx(-1.0)
    assert "N = 64" in effect.what


def test_weights_that_harm_at_one_count(runs: Path) -> None:
    found = claims(runs, {"lb": {8: 0.2, 64: -0.1}})
    assert {claim.verdict for claim in found.values()} == {"contradicted"}
    effect = found["removal_share_lb_removed"].effect
    assert effect is not None
    assert effect.mean == pytest.approx(-0.1)


def test_each_weighting_has_claims_of_its_own(runs: Path) -> None:
    found = claims(runs, {"gb": {8: 0.2, 64: 0.2}, "lb": {8: -0.2, 64: -0.2}})
    assert found["removal_share_gb_removed"].verdict == "supported"
    assert found["removal_share_lb_removed"].verdict == "contradicted"


def test_nothing_to_compare_with(runs: Path) -> None:
    cells = [Cell({"patch_count": count}) for count in COUNTS]
    folder = write_study(runs, cells, "slacking", "patch_count", claims=["menet_slacking"])
    found = [claim for claim in check(load(folder)) if claim.family == "menet_slacking"]
    assert {claim.verdict for claim in found} == {"not enough data"}
    assert "no networks with fixed and with balanced weights" in found[0].sentence
