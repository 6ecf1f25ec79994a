"""Cells that die without a word are failed cells, and the others go on."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from omegaconf import DictConfig
from rich.console import Console

from slackoff.handover import Exit
from slackoff.record.ledger import Watch, latest
from slackoff.sweep import processes
from slackoff.sweep.cell_folders import prepare
from slackoff.sweep.driver import run_cells
from slackoff.sweep.plan import Cell, plan
from slackoff.sweep.processes import LocalCells
from slackoff.sweep.site import Site
from slackoff.sweep.slots import Slot


@pytest.fixture
def cells(composed: Callable[..., DictConfig]) -> list[Cell]:
    return plan([composed(f"seed={seed}") for seed in (0, 1)], [[], []])


def fake_cell(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let the process of a cell run other code; ``sys.argv[1]`` is the cell's folder."""
    real = subprocess.Popen

    def popen(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        ours = [sys.executable, "-c", code, command[-1]] if "slackoff.cell" in command else command
        return real(ours, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(processes.subprocess, "Popen", popen)


def test_a_cell_killed_from_outside_is_failed_and_says_by_what(cells: list[Cell], monkeypatch: pytest.MonkeyPatch):
    fake_cell(monkeypatch, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    prepare(cells[0], Watch())
    process = LocalCells(warm=False).start(cells[0], Slot({}))
    while not process.ended():
        time.sleep(0.05)
    ended = process.settle()
    status = cells[0].status()
    assert status.state == "failed"
    assert ended == (Exit.FAILED, status.last_error)
    assert f"the process died (signal {int(signal.SIGKILL)})" in str(status.last_error)
    assert "when memory runs out: run fewer cells at once" in str(status.last_error)
    attempt = latest(cells[0].folder)
    assert attempt is not None
    assert (attempt.number, attempt.outcome, attempt.error) == (1, "failed", status.last_error)
    assert "signal 9" in (cells[0].folder / "error.txt").read_text()


def test_one_cell_that_dies_does_not_stop_the_other(cells: list[Cell], monkeypatch: pytest.MonkeyPatch):
    code = f"""
import json, sys, pathlib
path = pathlib.Path(sys.argv[1]) / "status.json"
if path.parent.name == "{cells[0].id}":
    sys.exit(7)
content = json.loads(path.read_text())
path.write_text(json.dumps({{**content, "state": "done", "step": content["steps_total"]}}))
"""
    fake_cell(monkeypatch, code)
    console = Console(record=True, width=300)
    statuses = run_cells(cells, Site([Slot({})], cells=LocalCells(warm=False)), console)
    assert [status.state for status in statuses] == ["failed", "done"]
    text = console.export_text()
    assert f"cell {cells[0].id} (patch_count 4) failed: the process died (exit code 7)" in text
    assert "1 done, 0 running, 0 left, 1 failed" in text


def test_slots_bound_how_many_run_at_once(composed: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch):
    code = """
import json, os, sys, time, pathlib
folder = pathlib.Path(sys.argv[1])
(folder / "start").write_text(str(time.monotonic()) + " " + os.environ["OMP_NUM_THREADS"])
time.sleep(0.4)
(folder / "end").write_text(str(time.monotonic()))
path = folder / "status.json"
path.write_text(json.dumps({**json.loads(path.read_text()), "state": "done"}))
"""
    fake_cell(monkeypatch, code)
    cells = plan([composed(f"seed={seed}") for seed in range(5)], [[]] * 5)
    slots = [Slot({"OMP_NUM_THREADS": "1"}, name) for name in ("a", "b")]
    run_cells(cells, Site(slots, cells=LocalCells(warm=False)), Console(quiet=True))
    times = []
    for cell in cells:
        start, threads = (cell.folder / "start").read_text().split()
        assert threads == "1"
        times.append((float(start), float((cell.folder / "end").read_text())))
    at_once = max(sum(start <= moment < end for start, end in times) for moment, _ in times)
    assert at_once == 2
