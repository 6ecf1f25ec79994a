"""Work aside: values, refusals and deaths come back; a process that has torch does it itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from slackoff.errors import SlackoffError
from slackoff.record.status import read_status
from slackoff.sweep import aside as module
from slackoff.sweep.aside import Aside


@pytest.fixture
def aside():
    """One that uses its second process, though the tests have imported torch."""
    with Aside() as found:
        found._process = module._start()
        yield found


def test_the_second_process_stays_the_same_until_closed(aside):
    first = aside(os.getpid)
    assert first != os.getpid()
    assert aside(os.getpid) == first
    aside.close()
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


def test_a_refusal_comes_back_as_it_is(aside, tmp_path: Path):
    (tmp_path / "status.json").write_text("{")
    with pytest.raises(SlackoffError, match=r"status.json is damaged"):
        aside(read_status, tmp_path)


def test_a_defect_comes_back_with_its_traceback(aside):
    with pytest.raises(RuntimeError, match=r"(?s)Traceback.*FileNotFoundError.*/nowhere/at/all"):
        aside(os.stat, "/nowhere/at/all")


def test_a_process_that_dies_is_one_sentence(aside):
    with pytest.raises(SlackoffError, match="process that checks the configs died"):
        aside(os._exit, 1)


def test_what_is_printed_does_not_disturb(aside):
    assert aside(print, "hello") is None
    assert aside(os.getpid) > 0


def test_a_process_with_torch_does_it_itself():
    assert "torch" in sys.modules
    with Aside() as here:
        assert here(os.getpid) == os.getpid()


def test_planning_and_checking_leave_the_driver_without_torch(tmp_path: Path):
    code = (
        "import sys, psutil, slackoff.sweep.study as study\n"
        "from slackoff.__main__ import main\n"
        "study._write_study = lambda cells: None\n"
        "study._report = lambda *rest: None\n"
        "import slackoff.sweep.driver as driver\n"
        "driver.Driver.run = lambda self: print('torch' in sys.modules, psutil.Process().memory_info().rss / 1e6)\n"
        "sys.argv[1:] = ['+experiment=patchcount', '-m', 'size=smoke', 'logger.wandb=false']\n"
        "main()\n"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    torch, megabytes = next(line.split() for line in run.stdout.splitlines() if line.startswith(("True", "False")))
    assert torch == "False", run.stderr
    assert float(megabytes) < 200
