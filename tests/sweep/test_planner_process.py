"""The planner process: values, refusals and deaths come back; a process that has torch does it itself."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from slackoff.errors import SlackoffError
from slackoff.record.status import read_status
from slackoff.sweep import planner_process
from slackoff.sweep.planner_process import PlannerProcess


@pytest.fixture
def planner(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlannerProcess]:
    """One that uses its second process, also where another test has imported torch."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(planner_process, "PRELOADED", "json")
    with PlannerProcess() as found:
        found.start()
        yield found


def test_values_and_refusals_come_back_from_one_process_until_it_is_closed(
    planner: PlannerProcess, tmp_path: Path
) -> None:
    first = planner(os.getpid)
    assert first != os.getpid()
    assert planner(print, "hello") is None
    (tmp_path / "status.json").write_text("{")
    with pytest.raises(SlackoffError, match=r"status.json is damaged"):
        planner(read_status, tmp_path)
    with pytest.raises(FileNotFoundError, match="/nowhere/at/all"):
        planner(os.stat, "/nowhere/at/all")
    assert planner(os.getpid) == first
    planner.close()
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


def test_closing_does_not_wait_for_what_is_being_done(planner: PlannerProcess) -> None:
    planner._connection.send((time.sleep, (600,), {}))
    planner.close()


def test_it_ends_when_the_driver_is_killed() -> None:
    code = (
        "import os\n"
        "from slackoff.sweep import planner_process\n"
        "planner_process.PRELOADED = 'json'\n"
        "print(planner_process.PlannerProcess()(os.getpid), flush=True)\n"
        "os._exit(1)\n"
    )
    driver = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    with suppress(psutil.NoSuchProcess):
        psutil.Process(int(driver.stdout)).wait(60)


def test_a_process_that_dies_is_one_sentence(planner: PlannerProcess) -> None:
    with pytest.raises(SlackoffError, match="process that checks the configs died"):
        planner(os._exit, 1)


def test_a_process_with_torch_does_it_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", sys)
    with PlannerProcess() as here:
        assert here(os.getpid) == os.getpid()


def test_planning_and_checking_leave_the_driver_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys, psutil, slackoff.sweep.study as study\n"
        "from slackoff.__main__ import main\n"
        "study._write_study = lambda *rest: None\n"
        "study._report = lambda *rest: None\n"
        "import slackoff.sweep.driver as driver\n"
        "driver.Driver.run = lambda self: print('torch' in sys.modules, psutil.Process().memory_info().rss / 1e6)\n"
        "sys.argv[1:] = ['+experiment=patchcount', '-m', 'size=smoke', 'logger.wandb=false']\n"
        "main()\n"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    torch, megabytes = next(line.split() for line in run.stdout.splitlines() if line.startswith(("True", "False")))
    assert torch == "False", run.stderr
    assert float(megabytes) < 120


def test_it_says_nothing_when_the_driver_is_killed_before_its_answer() -> None:
    code = """
import os, signal, sys, time
from slackoff.sweep import planner_process
if __name__ == "__main__":
    planner_process.PRELOADED = "json"
    planner = planner_process.PlannerProcess()
    planner.start()
    planner._connection.send((time.sleep, (1,), {}))
    print(planner._process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        _, said = process.communicate(timeout=60)  # until the second process has closed it, too
    assert "Traceback" not in said
