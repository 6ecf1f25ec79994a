"""The verbs on a record with failed, interrupted and damaged cells."""

import errno
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from typer.testing import CliRunner, Result

from slackoff.cli.app import app
from slackoff.record.status import State, Status
from slackoff.sweep import driver as driver_module
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


def test_a_disk_that_is_full_is_said_in_one_sentence(record: list[Cell], monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "somewhere")

    monkeypatch.setattr(driver_module, "run_cells", full)
    result = call("retry", "--runs", runs(record))
    assert result.exit_code == 2
    assert result.stderr == (
        "error: somewhere cannot be used (No space left on device): free space or make it writable\n"
    )


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
