"""The freeze of what a tree shows: it masks what must differ, finds what must not, and knows what is meant."""

import json
import sys
from pathlib import Path

import pytest
import yaml

import freeze

ROOT = Path(__file__).parents[1]

PAGE = """<html><style>p {}</style><h1>Study patchcount-smoke-builtin-8755d5</h1><p>E<sub>R</sub> falls by 0.5</p>
<img alt="curves"><p>0.01 device-hours over 2 cells; made 2026-11-30T18:54:23+00:00</p>
<table><tr><th>id</th><th>photos</th><th>rounds</th></tr><tr><td>346c78ed45d8</td><td>backgrounds</td><td>7<br>8</td></tr>
<tr><th>git_commit</th><td>94e2f0928c95d237f89d39a75f62d03b363336e1</td></tr></table>
<script>var x;</script><p>task._target_ slackoff.tasks.A</p></html>"""


def test_the_text_of_a_page_leaves_out_what_must_differ() -> None:
    lines = freeze.page_text(PAGE)
    assert lines[:4] == ["Study patchcount-smoke-builtin-<id>", "ER falls by 0.5", "[curves]", lines[3]]
    assert lines[3] == "# device-hours over 2 cells; made <date>"
    assert lines[-1] == "git_commit | <measured>"
    assert len(lines) == 7
    assert lines[-2] == "<measured> | backgrounds | <measured>"


def test_times_and_identities_are_masked_and_numbers_are_not() -> None:
    row = {"id": "346c78ed45d8", "train_seconds": 0.6, "ratio": 2.0, "generation": 1, "backgrounds": 4, "e_r": 56.8204}
    assert freeze.rows([row]) == {"row 0, generation": "1", "row 0, backgrounds": "4", "row 0, e_r": "56.8204"}
    assert freeze.masked("cell 346c78ed45d8 at 2026-11-30T18:54:23+00:00, patch_count 16384") == (
        "cell <id> at <date>, patch_count 16384"
    )


def test_every_difference_is_said_once() -> None:
    before: freeze.Snapshot = {"a": {"x": 1, "y": 2}, "text": ["one", "two"], "b": [], "f": ["FAILED with 2", "no"]}
    after: freeze.Snapshot = {"a": {"x": 1.5, "z": 3}, "text": ["one", "too"], "c": [], "f": ["FAILED with 2", "no"]}
    assert freeze.differences(before, after) == [
        "a: x was 1, is 1.5",
        "a: y is gone, it was 2",
        "a: z is new: 3",
        "b: only before",
        "c: only after",
        "f: failed in both trees: FAILED with 2 / no",
        "text: was two",
        "text: is  too",
    ]
    assert freeze.differences(before | {"f": []}, before | {"f": []}) == []


def test_changes_that_are_meant_are_no_differences() -> None:
    before: freeze.Snapshot = {"config of x": {"old.key": 1, "gone": 2, "kept": 3}, "table a.csv": {"old.key": 1}}
    after: freeze.Snapshot = {"config of x": {"new.key": 1, "kept": 3, "other": 4}, "table b.csv": {"old.key": 1}}
    after["verb"] = ["help"]
    changes: list[freeze.Change] = [
        {"where": "config of", "before": None, "after": "^other:", "why": "wanted"},
        {"where": "^item$", "before": None, "after": "^verb$", "why": "wanted"},
        {"where": "config of", "before": r"^old\.(\w+):", "after": r"new.\1:", "why": "clearer"},
        {"where": "config of", "before": "^gone:", "after": None, "why": "unused"},
        {"where": "^item$", "before": r"a\.csv", "after": "b.csv", "why": "renamed"},
    ]
    old, new, used = freeze.expected(before, after, changes)
    assert freeze.differences(old, new) == []
    assert used == [1, 1, 1, 1, 1]


def test_the_changes_that_are_meant_have_reasons() -> None:
    for change in yaml.safe_load(freeze.INTENDED.read_text(encoding="utf-8")):
        assert change.keys() == {"where", "before", "after", "why"}
        assert change["why"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_tree_is_the_same_as_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    (tmp_path / "nothing.yaml").write_text("[]")
    monkeypatch.setattr(freeze, "INTENDED", tmp_path / "nothing.yaml")
    parts = ["--only", "help", "configs", "studies", "--studies", "patchcount", "--sizes", "smoke"]
    monkeypatch.setattr(sys, "argv", ["freeze.py", str(ROOT), str(ROOT), "--keep", str(tmp_path), *parts])
    assert freeze.main() == 0, capsys.readouterr().out
    kept = json.loads((tmp_path / "after.json").read_text(encoding="utf-8"))
    assert len(kept["claims.json of patchcount"]) > 100
    assert "help of slackoff user-study show" in kept
    assert kept["config of +experiment=patchcount size=smoke"]["schedule.steps"] == 20
