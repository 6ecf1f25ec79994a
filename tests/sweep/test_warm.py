"""Cells that are forked from a warm server: the same results, the same ends as cells started from nothing."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from omegaconf import DictConfig

from slackoff.handover import Exit
from slackoff.record.ledger import Watch, attempts
from slackoff.sweep.cell_folders import prepare
from slackoff.sweep.plan import Cell, plan
from slackoff.sweep.processes import CellProcess, LocalCells
from slackoff.sweep.slots import Slot

SLOT = Slot({"OMP_NUM_THREADS": "1"}, "cpu 0")
SHORT = ("schedule.steps=4", "schedule.evaluate_every=4", "schedule.checkpoint_every=4", "evaluation.count=2")
RESULTS = ("network.safetensors", "images.parquet")


@pytest.fixture
def planned(composed: Callable[..., DictConfig]) -> Callable[..., Cell]:
    """A prepared smoke cell."""

    def make(runs: Path, *overrides: str) -> Cell:
        (cell,) = plan([composed(f"runs={runs}", "logger.wandb=false", *overrides)], [[]])
        prepare(cell, Watch())
        return cell

    return make


@pytest.fixture(scope="module")
def warm() -> Iterator[LocalCells]:
    cells = LocalCells()
    yield cells
    cells.close()


def end(process: CellProcess, seconds: float = 120) -> Exit:
    wait_for(process.ended, seconds)
    return process.settle().exit


def wait_for(what: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_results_are_those_of_a_process_started_from_nothing(planned, warm: LocalCells, tmp_path: Path):
    found = {}
    for name, cells in (("warm", warm), ("again", warm), ("cold", LocalCells(warm=False))):
        cell = planned(tmp_path / name, *SHORT)
        assert end(cells.start(cell, SLOT)) == Exit.DONE
        found[name] = [(cell.folder / result).read_bytes() for result in RESULTS]
    assert found["warm"] == found["again"] == found["cold"]


def test_a_forked_cell_is_a_process_and_a_session_of_its_own(planned, warm: LocalCells, tmp_path: Path):
    process = warm.start(planned(tmp_path, "schedule.steps=2000"), SLOT)
    wait_for(lambda: attempts(process.cell.folder) and process.process.pid)
    (attempt,) = attempts(process.cell.folder)
    assert attempt.owner is not None
    assert attempt.owner.pid == process.process.pid
    assert os.getsid(attempt.owner.pid) == attempt.owner.pid
    process.end_now()
    assert end(process) == Exit.FAILED
    assert "signal 9" in str(attempts(process.cell.folder)[0].error)


def test_a_forked_cell_stops_when_asked(planned, warm: LocalCells, tmp_path: Path):
    cell = planned(tmp_path, "schedule.steps=5000", "schedule.checkpoint_every=10")
    process = warm.start(cell, SLOT)
    wait_for(lambda: (cell.folder / "checkpoints/last.ckpt").exists())
    process.ask_to_stop()
    assert end(process) == Exit.INTERRUPTED
    assert 0 < cell.status().step < 5000


@pytest.mark.slow
def test_a_cell_outlives_its_server_and_the_next_gets_a_new_one(planned, warm: LocalCells, tmp_path: Path):
    cell = planned(tmp_path, "schedule.steps=30", *SHORT[1:])
    process = warm.start(cell, SLOT)
    wait_for(lambda: attempts(cell.folder))
    (server,) = warm.servers.values()
    os.kill(server.process.pid, signal.SIGKILL)
    wait_for(lambda: process.ended() or not server.alive)
    assert not process.ended()
    assert end(process) == Exit.DONE
    assert [attempt.outcome for attempt in attempts(cell.folder)] == ["done"]
    second = planned(tmp_path, "seed=1", *SHORT)
    assert end(warm.start(second, SLOT)) == Exit.DONE
    assert server not in warm.servers.values()


def test_a_server_that_dies_before_it_forked_is_a_failure_with_a_reason(planned, tmp_path: Path):
    cells = LocalCells()
    process = cells.start(planned(tmp_path), SLOT)
    (server,) = cells.servers.values()
    os.kill(server.process.pid, signal.SIGKILL)
    assert end(process) == Exit.FAILED
    assert "the process died" in str(process.cell.status().last_error)
    cells.close()


def test_slots_with_gpus_and_several_ranks_start_from_nothing(planned, tmp_path: Path, monkeypatch):
    started = []
    monkeypatch.setattr("slackoff.sweep.processes._start", lambda folder, slot, handover: started.append(slot.name))
    cells = LocalCells()
    for slot in (Slot({"CUDA_VISIBLE_DEVICES": "0"}, "gpu 0"), Slot({}, "cpu 0", ranks=2)):
        cells.start(planned(tmp_path), slot)
    assert started == ["gpu 0", "cpu 0"]
    assert not cells.servers


def test_a_forked_cell_that_ends_leaves_the_others_what_wandb_is_about_to_upload():
    script = """
import atexit, os
from pathlib import Path
from slackoff.fork_server import own_media_folder
from wandb.sdk.data_types._private import MEDIA_TMP
if (child := os.fork()) == 0:
    own_media_folder()
    assert Path(MEDIA_TMP.name).is_dir()
    atexit._run_exitfuncs()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(Path(MEDIA_TMP.name).is_dir())
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert found.stdout.strip() == "True"
