"""Fewer backgrounds and wider rain over all networks: on average, each with its own change, and what trains nothing."""

from pathlib import Path
from typing import Any

import pytest
from analysis_record import Cell, checked, verdicts

NETWORKS = ("first", "second", "third")


def cells(patches: dict[str, float], rain: dict[str, float], **more: Any) -> list[Cell]:
    """Two counts and two ranges for each network; its removal share with 64 patches and with large rain is higher by
    what is given, and E_R by 50 times that."""
    found = []
    for name in patches:
        for count in (64, 1024):
            for size in ("small", "large"):
                share = 0.4 + patches[name] * (count == 64) + rain[name] * (size == "large")
                axes = {"network": name, "patch_count": count, "rain": size}
                found.append(Cell(axes, e_r=50 * share, share=share, **more))
    return found


def test_what_holds_for_every_network(runs: Path) -> None:
    changes = dict(zip(NETWORKS, (0.1, 0.2, 0.3), strict=True))
    found = checked(runs, cells(changes, changes), "zoo", axis="network")
    assert set(verdicts(found).values()) == {"supported"}
    claim = found["removal_share_patch_count"]
    assert claim.numbers["changes"] == pytest.approx(changes)
    assert claim.effect is not None
    assert claim.effect.mean == pytest.approx(0.2)
    assert claim.effect.what == "N = 64 less N = 1024, mean of 3 networks"
    assert "is higher with N = 64 than with N = 1024 in 3 of 3 networks." in claim.sentence
    assert found["e_r_rain"].effect is not None
    assert found["e_r_rain"].effect.mean == pytest.approx(50 * 0.2)
    assert "rain = large less rain = small" in found["e_r_rain"].effect.what


def test_the_networks_that_go_the_other_way_are_named(runs: Path) -> None:
    patches = dict(zip(NETWORKS, (-0.3, -0.2, 0.1), strict=True))
    rain = dict.fromkeys(NETWORKS, 0.2)
    found = checked(runs, cells(patches, rain), "zoo", axis="network")
    assert found["removal_share_patch_count"].verdict == "contradicted"
    assert found["removal_share_rain"].verdict == "supported"
    sentence = found["removal_share_patch_count"].sentence
    assert "in 1 of 3 networks, but not in first (\N{MINUS SIGN}0.30) and second (\N{MINUS SIGN}0.20)" in sentence


def test_what_trains_nothing_is_left_out(runs: Path) -> None:
    changes = {"first": 0.2}
    same = [
        Cell({"network": "dsc", "patch_count": count, "rain": size}, share=0.1, noise=0.0)
        for count in (64, 1024)
        for size in ("small", "large")
    ]
    found = checked(runs, [*cells(changes, changes), *same], "zoo", axis="network")
    assert set(found["removal_share_patch_count"].numbers["changes"]) == {"first"}


def test_a_network_without_a_result_at_one_end_is_compared_where_it_has_both(runs: Path) -> None:
    written = cells({"first": 0.2, "second": 0.4}, {"first": 0.2, "second": 0.4})
    written[4].state = "failed"  # second, 64 patches, small rain
    found = checked(runs, written, "zoo", axis="network")
    assert found["removal_share_patch_count"].numbers["changes"] == pytest.approx({"first": 0.2, "second": 0.4})
    assert found["removal_share_rain"].numbers["changes"] == pytest.approx({"first": 0.2, "second": 0.4})
    assert "No result for" in found["removal_share_rain"].sentence
