"""The verbs on a record with failed, interrupted and damaged cells."""

import errno
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch  # noqa: F401 - with it, configs are checked in this process, not in another one for each command
from omegaconf import OmegaConf
from typer.testing import CliRunner, Result

from slackoff.cli.app import app
from slackoff.record import files
from slackoff.record.files import Patience
from slackoff.record.ledger import claim
from slackoff.record.status import State, Status
from slackoff.sweep import driver as driver_module
from slackoff.sweep.cell_folders import CellFolders
from slackoff.sweep.plan import Cell

STATES: tuple[State, ...] = ("failed", "done", "interrupted", "pending")


@pytest.fixture
def record(planned: Callable[..., list[Cell]]) -> list[Cell]:
    """Four cells, one in each state."""
    cells = planned(*([f"seed={seed}"] for seed in range(4)))
    for cell, state in zip(cells, STATES, strict=True):
        cell.folder.mkdir(parents=True)
        (cell.folder / "config.yaml").write_text(OmegaConf.to_yaml(cell.config))
        Status(cell.id, cell.label, 20, state, last_error="no luck" if state == "failed" else None).write(cell.folder)
    return cells


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
    """The cells that a verb trains; each of them fails."""
    found: list[Cell] = []

    def run_cells(cells: Sequence[Cell], *_: object) -> list[Status]:
        found.extend(cells)
        return [Status(cell.id, cell.label, 20, "failed", last_error="no luck again") for cell in cells]

    monkeypatch.setattr(driver_module, "run_cells", run_cells)
    return found


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def runs(cells: Sequence[Cell]) -> Path:
    return cells[0].folder.parents[1]


def test_retry_takes_the_failed_cells_and_counts_those_that_fail_again(record: list[Cell], trained: list[Cell]):
    result = call("retry", "--runs", runs(record))
    assert result.exit_code == 11
    assert [cell.id for cell in trained] == [record[0].id]
    again = f"again: python -m slackoff retry --runs {runs(record)} {record[0].id}"
    assert f"no luck again | log: {record[0].folder}/log.txt | {again}" in result.stdout


def test_retry_takes_the_cells_that_are_named_once_each(record: list[Cell], trained: list[Cell]):
    named = [record[2].id, record[3].id, record[2].id]
    assert call("retry", "--runs", runs(record), *named).exit_code == 12
    assert [cell.id for cell in trained] == named[:2]
    assert [cell.folder for cell in trained] == [record[2].folder, record[3].folder]


def test_retry_keeps_the_record_where_it_is_now(record: list[Cell], trained: list[Cell]):
    moved = runs(record).with_name("moved")
    runs(record).rename(moved)
    assert call("retry", "--runs", moved).exit_code == 11
    assert trained[0].config.runs == str(moved)
    assert trained[0].folder == moved / "cells" / record[0].id


def test_retry_of_a_cell_that_is_not_there_is_a_mistake(record: list[Cell], trained: list[Cell]):
    result = call("retry", "--runs", runs(record), "nobody")
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: There is no cell nobody under {runs(record)}: slackoff status --runs {runs(record)} lists them\n"
    )
    assert trained == []


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        (errno.ENOSPC, "free space or make it writable"),
        (errno.ESTALE, "see that it can be read and written, then try again"),
    ],
)
def test_a_disk_that_cannot_be_used_is_said_in_one_sentence(record, monkeypatch: pytest.MonkeyPatch, number, cure):
    def unusable(*_: object) -> None:
        raise OSError(number, os.strerror(number), "somewhere")

    monkeypatch.setattr(driver_module, "run_cells", unusable)
    result = call("retry", "--runs", runs(record))
    assert result.exit_code == 2
    assert result.stderr == f"error: somewhere cannot be used ({os.strerror(number)}): {cure}\n"


def test_a_damaged_status_is_named_and_hides_no_other_cell(record: list[Cell], trained: list[Cell]):
    path = record[1].folder / "status.json"
    path.write_bytes(b"")
    result = call("status", "--json", "--runs", runs(record))
    assert result.exit_code == 0
    assert f"{path} is damaged" in result.stderr
    assert "run the command of its study again, which makes it anew" in result.stderr
    assert [cell.id in result.stdout for cell in record] == [True, False, True, True]
    assert call("retry", "--runs", runs(record)).exit_code == 11
    assert [cell.id for cell in trained] == [record[0].id]


def leave_half_removed(cell: Cell) -> Path:
    """What a ``clean`` leaves that was killed while it deleted files."""
    doomed = cell.folder.with_name(f".{cell.folder.name}.removed")
    cell.folder.rename(doomed)
    (doomed / "status.json").unlink()
    return doomed


def test_a_clean_that_was_killed_stops_no_verb_and_the_next_one_finishes_it(record: list[Cell], trained: list[Cell]):
    doomed = leave_half_removed(record[2])
    result = call("status", "--json", "--runs", runs(record))
    assert (result.exit_code, result.stderr) == (0, "")
    assert [cell["id"] for cell in json.loads(result.stdout)].count(record[2].id) == 0
    assert call("retry", "--runs", runs(record)).exit_code == 11
    assert call("clean", "--yes", "--runs", runs(record)).exit_code == 0
    assert not doomed.exists()
    assert [path.name for path in (runs(record) / "cells").iterdir()] == [record[1].id]


def test_a_cell_is_removed_although_an_earlier_removal_of_it_was_killed(record: list[Cell]):
    (cell, *_) = record
    content = (cell.folder / "status.json").read_text()
    doomed = leave_half_removed(cell)
    (doomed / "log.txt").touch()
    cell.folder.mkdir()
    (cell.folder / "status.json").write_text(content)
    assert call("clean", "--yes", "--runs", runs(record)).exit_code == 0
    assert not doomed.exists()
    assert not cell.folder.exists()


def test_of_a_cell_that_is_a_link_only_the_link_is_removed(record: list[Cell], tmp_path: Path):
    elsewhere = tmp_path / "another disk"
    record[0].folder.rename(elsewhere)
    record[0].folder.symlink_to(elsewhere)
    result = call("clean", "--yes", "--runs", runs(record))
    assert result.exit_code == 0
    assert f"{elsewhere} was left: the cell was a link to it; remove it by hand" in result.stdout
    assert [path.name for path in (runs(record) / "cells").iterdir()] == [record[1].id]
    assert (elsewhere / "status.json").is_file()


def test_a_link_in_a_record_of_somebody_else_lets_clean_delete_nothing_of_ours(record: list[Cell], tmp_path: Path):
    """It is gone before the question is asked: as what a killed ``clean`` left."""
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "thesis.tex").touch()
    link = runs(record) / "cells" / ".x.removed"
    link.symlink_to(tmp_path / "ours")
    CliRunner().invoke(app, ["clean", "--runs", str(runs(record))], input="n\n")
    assert (tmp_path / "ours" / "thesis.tex").is_file()
    assert not link.is_symlink()


def test_a_clean_whose_folder_cannot_be_listed_at_once_asks_again(record: list[Cell], monkeypatch):
    monkeypatch.setattr(files, "_AGAIN_S", 0.0)
    left = [3]

    def failing(real: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def listed(path: Any = ".") -> Any:
            if str(path).endswith("cells") and left[0]:
                left[0] -= 1
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))
            return real(path)

        return listed

    monkeypatch.setattr(os, "listdir", failing(os.listdir))
    monkeypatch.setattr(os, "scandir", failing(os.scandir))
    assert call("clean", "--yes", "--runs", runs(record)).exit_code == 0
    assert left == [0]
    assert [path.name for path in (runs(record) / "cells").iterdir()] == [record[1].id]


def test_a_cell_whose_size_cannot_be_told_is_removed_all_the_same(record: list[Cell], monkeypatch):
    real = os.scandir

    def stale(path: object = ".") -> object:
        if str(path).startswith(str(record[0].folder)) and not str(path).endswith("attempts"):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", stale)
    result = call("clean", "--yes", "--runs", runs(record))
    assert result.exit_code == 0, result.output
    assert [path.name for path in (runs(record) / "cells").iterdir()] == [record[1].id]


def test_one_cell_that_cannot_be_removed_is_named_and_the_others_are(record: list[Cell], monkeypatch):
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self == record[0].folder:
            raise OSError(errno.EIO, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    result = call("clean", "--yes", "--runs", runs(record))
    assert result.exit_code == 0
    assert f"{record[0].folder} was left ([Errno 5] Input/output error)" in result.stdout
    assert [cell.folder.exists() for cell in record] == [True, True, False, False]


@pytest.fixture
def lost(record: list[Cell]) -> Cell:
    """A cell that says that it runs, on a machine that has been silent for an hour."""
    cell = record[2]
    Status(cell.id, cell.label, 20, "running").write(cell.folder)
    attempt = claim(cell.folder, "gpu 0")
    content = json.loads(attempt.path.read_text())
    owner = {**content["owner"], "host": "node7", "place": "another boot"}
    attempt.path.write_text(json.dumps({**content, "owner": owner}))
    an_hour_ago = time.time() - 3600
    os.utime(attempt.path, (an_hour_ago, an_hour_ago))
    return cell


def test_status_names_a_lost_cell_and_who_had_it(record: list[Cell], lost: Cell):
    found = {cell["id"]: cell for cell in json.loads(call("status", "--json", "--runs", runs(record)).stdout)}
    assert [found[cell.id]["state"] for cell in record] == ["failed", "done", "lost", "pending"]
    assert found[lost.id]["where"] == "node7, gpu 0"
    assert found[lost.id]["last_error"] == f"no sign of life of process {os.getpid()} on node7 for 60 min"


def test_retry_takes_a_lost_cell(record: list[Cell], lost: Cell, trained: list[Cell]):
    assert call("retry", "--runs", runs(record)).exit_code == 12
    assert {cell.id for cell in trained} == {record[0].id, lost.id}


def test_clean_removes_a_lost_cell_and_leaves_one_that_came_back(record: list[Cell], lost: Cell, monkeypatch):
    folders = CellFolders(runs(record), Patience())
    found = folders.look(["lost"])
    assert [cell.status.id for cell in found] == [lost.id]
    os.utime(lost.folder / "attempts" / "0001.json")
    assert folders.remove(found) == [f"{lost.folder} was left: another process trains it now"]
    os.utime(lost.folder / "attempts" / "0001.json", (1, 1))
    assert call("clean", "--yes", "--runs", runs(record)).exit_code == 0
    assert not lost.folder.exists()


def test_a_damaged_config_keeps_no_other_cell_from_being_tried_again(record: list[Cell], trained: list[Cell]):
    Status(record[3].id, record[3].label, 20, "failed").write(record[3].folder)
    path = record[0].folder / "config.yaml"
    whole = path.read_text()
    deep = (whole.replace("steps: 20", "steps: many"), f"{whole}trainer: [1]\n")
    for content in ("", "a: [", "{}", "trainer: 3", *deep):
        path.write_text(content)
        trained.clear()
        result = call("retry", "--runs", runs(record))
        assert result.exit_code == 11, result.output
        assert result.stderr.startswith(f"{path} ")
        assert "run the command of its study again, which writes it anew" in result.stderr
        assert [cell.id for cell in trained] == [record[3].id]


def test_json_that_nests_without_end_stops_no_table(record: list[Cell]):
    """Python's own reader would leave with an error about its stack."""
    deep = "[" * 100_000
    for cell in record:
        Status(cell.id, record[0].label, 20, "failed").write(cell.folder)
        (cell.folder / "identity.json").write_text(deep)
        (cell.folder / "steps.jsonl").write_text(f'{{"step": 1}}\n{deep}\n')
    result = call("status", "--runs", runs(record))
    assert result.exit_code == 0, result.output
    assert all(cell.id in result.stdout for cell in record)
    assert files.read_lines(record[0].folder / "steps.jsonl") == [{"step": 1}]
