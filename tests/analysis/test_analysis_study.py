"""Finding and reading study.json."""

import json
from pathlib import Path

import pytest
from analysis_record import Cell, write_study

from slackoff.analysis.study import find_study
from slackoff.errors import SlackoffError

CELLS = [Cell({"patch_count": 8, "rain": "small"}, state="pending"), Cell({"patch_count": 64}, state="pending")]


def test_is_found_by_name_and_by_folder(runs: Path) -> None:
    folder = write_study(runs, CELLS)
    by_name, by_folder = find_study("patchcount", runs), find_study(folder)
    assert by_name.cells == by_folder.cells == tuple((cell.id, cell.axes) for cell in CELLS)
    assert by_folder.runs.resolve() == runs.resolve()
    assert (by_name.axis, by_name.axes) == ("patch_count", ["patch_count", "rain"])
    assert by_name.title == "Patch count"
    assert by_name.size == "laptop"


@pytest.mark.parametrize(("asked", "meant"), [("patchcuont", "patchcount"), ("rain", "rain-range-paper-1a2b3c")])
def test_unknown_study_is_answered_with_a_suggestion_and_the_list(runs: Path, asked: str, meant: str) -> None:
    for name in ("patchcount", "rain-range-paper-1a2b3c"):
        write_study(runs, CELLS, name)
    with pytest.raises(SlackoffError) as caught:
        find_study(asked, runs)
    message = str(caught.value)
    assert f"did you mean '{meant}'?" in message
    assert "patchcount, rain-range-paper-1a2b3c" in message
    assert str(runs / "studies") in message


def test_unknown_study_without_any_says_how_to_make_one(runs: Path) -> None:
    with pytest.raises(SlackoffError, match="run one first"):
        find_study("patchcount", runs)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "damaged"),
        (json.dumps({"axis": "patch_count"}), "damaged"),
        (json.dumps({"axis": "patch_count", "cells": []}), "lists no cells"),
        (
            json.dumps({"axis": "patch_count", "cells": [{"id": "a", "axes": {"rain": "small"}}]}),
            "no axis 'patch_count'",
        ),
    ],
)
def test_damaged_study_file_is_named(runs: Path, content: str, reason: str) -> None:
    path = write_study(runs, CELLS) / "study.json"
    path.write_text(content)
    with pytest.raises(SlackoffError, match=reason) as caught:
        find_study("patchcount", runs)
    assert str(path) in str(caught.value)


def test_claims_and_test_sets_are_names_and_need_not_be_given(runs: Path) -> None:
    plain = find_study(write_study(runs, CELLS))
    assert (plain.claims, plain.test_sets) == ((), ())
    named = find_study(write_study(runs, CELLS, claims=["transfer", "table2"], test_sets=["div2k"]))
    assert (named.claims, named.test_sets) == (("transfer", "table2"), ("div2k",))
    assert find_study(write_study(runs, CELLS, claims=None, test_sets=[])).claims == ()


@pytest.mark.parametrize("key", ["claims", "test_sets"])
def test_names_that_are_no_list_are_damage(runs: Path, key: str) -> None:
    folder = write_study(runs, CELLS, **{key: "div2k"})
    with pytest.raises(SlackoffError, match=f"damaged.*{key} is not a list"):
        find_study(folder)


def test_axis_values_that_are_lists_become_texts(runs: Path) -> None:
    write_study(runs, [Cell({"patch_count": 8, "width": [5, 7]}, state="missing")])
    assert find_study("patchcount", runs).cells[0][1]["width"] == "[5, 7]"
