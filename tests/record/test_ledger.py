"""The ledger: one process holds a cell, a dead one loses it, nobody else gets it twice."""

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from slackoff.record import files, ledger
from slackoff.record.ledger import (
    Attempt,
    Claim,
    ClaimedError,
    HeartbeatMonitor,
    Owner,
    attempts,
    claim,
    end_attempt,
    latest,
)
from wait import wait_for

HOLD = "import sys, time; from pathlib import Path; from slackoff.record.ledger import claim; "
HOLD += "claim(Path(sys.argv[1]), 'cpu 0'); print('held', flush=True); time.sleep(600)"


def holder(folder: Path) -> subprocess.Popen[str]:
    """A process that holds the cell."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def elsewhere(attempt: Attempt) -> Attempt:
    """The same attempt by a process of another machine."""
    assert attempt.owner is not None
    owner = replace(attempt.owner, host="other", place="another boot")
    content = json.loads(attempt.path.read_text())
    attempt.path.write_text(json.dumps({**content, "owner": asdict(owner)}))
    found = latest(attempt.path.parents[1])
    assert found is not None
    return found


def test_a_claim_is_written_and_read(tmp_path: Path):
    assert latest(tmp_path) is None
    attempt = claim(tmp_path, "gpu 0")
    assert (attempt.number, attempt.slot, attempt.outcome) == (1, "gpu 0", None)
    assert attempt.owner == Owner.this()
    assert attempts(tmp_path) == [attempt]
    end_attempt(attempt, "failed", "why")
    (found,) = attempts(tmp_path)
    assert (found.outcome, found.error, found.owner) == ("failed", "why", attempt.owner)
    assert [path.name for path in (tmp_path / "attempts").iterdir()] == ["0001.json"]


def test_a_held_cell_is_refused_and_a_free_one_is_claimed_under_the_next_number(tmp_path: Path):
    first = claim(tmp_path)
    with pytest.raises(ClaimedError, match=rf"process {os.getpid()} on "):
        claim(tmp_path)
    end_attempt(first, "interrupted")
    assert claim(tmp_path).number == 2


def test_who_knows_of_an_older_attempt_only_is_refused(tmp_path: Path):
    end_attempt(claim(tmp_path, after=0), "failed")
    with pytest.raises(ClaimedError):
        claim(tmp_path, after=0)
    assert claim(tmp_path, after=1).number == 2


def test_a_killed_process_holds_nothing_even_before_it_is_waited_for(tmp_path: Path):
    process = holder(tmp_path)
    watch = HeartbeatMonitor()
    held = watch.holder(tmp_path)
    assert held is not None
    assert held.owner is not None
    assert held.owner.pid == process.pid
    process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while watch.holder(tmp_path) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.wait()
    assert claim(tmp_path).number == 2


def test_another_process_with_the_same_number_is_not_taken_for_the_owner(tmp_path: Path):
    attempt = claim(tmp_path)
    assert attempt.owner is not None
    assert attempt.owner.is_alive()
    assert not replace(attempt.owner, started=attempt.owner.started + 500).is_alive()
    assert not replace(attempt.owner, pid=2**22 + 1).is_alive()


def test_another_machine_is_dead_when_its_heartbeat_stood_still_for_long_enough_of_our_own_clock(tmp_path: Path):
    attempt = elsewhere(claim(tmp_path))
    clock = SimpleNamespace(time=1000.0)
    watch = HeartbeatMonitor(stale_after_s=180, clock=lambda: clock.time)
    assert watch.holds(attempt)
    clock.time += 179
    assert watch.holds(attempt)
    os.utime(attempt.path, (1, 1))  # its clock was set back by decades: a beat all the same
    assert watch.holds(attempt)
    clock.time += 179
    assert watch.holds(attempt)
    clock.time += 2
    assert not watch.holds(attempt)
    assert claim(tmp_path, after=attempt.number).number == 2


def test_an_attempt_cut_short_by_a_full_disk_is_held_until_it_is_stale(tmp_path: Path):
    path = claim(tmp_path).path
    path.write_text('{"owner": {"ho')
    found = latest(tmp_path)
    assert found is not None
    assert found.owner is None
    clock = SimpleNamespace(time=1000.0)
    watch = HeartbeatMonitor(stale_after_s=10, clock=lambda: clock.time)
    assert watch.holds(found)
    clock.time += 11
    assert not watch.holds(found)


def test_the_heartbeat_moves_the_time_of_the_file(tmp_path: Path):
    attempt = claim(tmp_path)
    before = attempt.beat()
    with Claim(attempt, lost=lambda: None, heartbeat_s=0.02):
        deadline = time.monotonic() + 10
        while attempt.beat() == before:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_who_was_taken_over_is_told(tmp_path: Path):
    told = threading.Event()
    attempt = claim(tmp_path)
    with Claim(attempt, lost=told.set, heartbeat_s=0.02):
        assert not told.wait(0.2)
        claim(tmp_path, after=attempt.number)
        assert told.wait(10)


@pytest.mark.parametrize("linked", [True, False], ids=["hard links", "no hard links"])
def test_of_many_processes_one_gets_the_cell(tmp_path: Path, linked: bool, monkeypatch: pytest.MonkeyPatch):
    if not linked:
        refused = PermissionError(1, "no hard links here")
        monkeypatch.setattr(files.os, "link", Mock(side_effect=refused))
    context = multiprocessing.get_context("fork")
    folders = [tmp_path / str(number) for number in range(8)]
    for folder in folders:
        (folder / "attempts").mkdir(parents=True)
    barrier, wins = context.Barrier(8), context.Array("i", len(folders))
    processes = [context.Process(target=_race, args=(folders, barrier, wins)) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert list(wins) == [1] * len(folders)
    assert all(len(attempts(folder)) == 1 for folder in folders)


def _race(folders: list[Path], barrier, wins) -> None:
    for number, folder in enumerate(folders):
        barrier.wait()
        try:
            claim(folder, after=0)
        except ClaimedError:
            continue
        with wins.get_lock():
            wins[number] += 1


def test_where_an_attempt_runs_is_said_in_few_words(tmp_path: Path):
    here = claim(tmp_path / "here", slot="cpu 1")
    assert here.place() == "cpu 1"
    far = replace(here, owner=Owner("node7", "another boot", 12, 3.0))
    assert far.place() == "node7, cpu 1"


def test_silence_is_told_by_the_clock_of_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    here, far = claim(tmp_path / "here"), elsewhere(claim(tmp_path / "far"))
    an_hour_ago = time.time() - 3600
    for attempt in (here, far):
        os.utime(attempt.path, (an_hour_ago, an_hour_ago))
    with monkeypatch.context() as clock:
        clock.setattr(time, "time", lambda: 0.0)
        assert HeartbeatMonitor().silence(far) == pytest.approx(3600, abs=60)
    assert HeartbeatMonitor().silence(here) == 0
    assert sorted(path.name for path in far.path.parent.iterdir()) == ["0001.json"]
    with monkeypatch.context() as disk:  # nothing can be written there: the clock of this machine must do
        disk.setattr(ledger, "TemporaryFile", Mock(side_effect=OSError(30, "Read-only file system")))
        disk.setattr(time, "time", lambda: an_hour_ago + 100)
        assert HeartbeatMonitor().silence(far) == pytest.approx(100, abs=60)


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "null",
        '{"owner": 3}',
        '{"owner": null, "claimed_at": "\\ud800"}',
        "\xff",
        '{"outcome": "won"}',
        "9" * 5000,
    ],
)
def test_a_damaged_attempt_is_of_somebody_unknown(tmp_path: Path, content: str):
    path = claim(tmp_path).path
    path.write_text(content, encoding="latin-1")
    found = latest(tmp_path)
    assert found == Attempt(path, 1, None, "", "")
    assert HeartbeatMonitor().holds(found)


def test_one_heartbeat_that_fails_does_not_end_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    attempt = claim(tmp_path)
    before, beats, utime = attempt.beat(), threading.Semaphore(0), os.utime

    def failing_at_first(path: Path) -> None:
        monkeypatch.setattr(ledger.os, "utime", utime)
        beats.release()
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(ledger.os, "utime", failing_at_first)
    with Claim(attempt, lost=lambda: None, heartbeat_s=0.02):
        assert beats.acquire(timeout=10)
        wait_for(lambda: attempt.beat() != before, seconds=10)
