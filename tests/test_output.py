"""Output that cannot be written neither ends a program nor changes its exit code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")
PROGRAM = """
import sys
from rich.console import Console
{first}
console = Console()
for _ in range(3):
    console.print("short")
    console.print("x" * 10_000, soft_wrap=True)
    print("error", file=sys.stderr, flush=True)
sys.exit(13)
"""


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
@pytest.mark.parametrize("unbuffered", ["", "1"])  # Python writes at a flush, or at once
@pytest.mark.parametrize(
    ("first", "codes"),
    [("from slackoff.output import endure; endure()", {13}), ("", {1, 120})],
    ids=["endured", "as Python does"],
)
def test_a_program_whose_output_has_no_room_goes_on(first: str, codes: set[int], unbuffered: str):
    with FULL.open("w") as full:
        command = [sys.executable, "-c", PROGRAM.format(first=first)]
        environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
        done = subprocess.run(command, stdout=full, stderr=full, env=environment, check=False)
    assert done.returncode in codes


def test_what_can_be_written_is_written():
    command = [sys.executable, "-c", PROGRAM.format(first="from slackoff.output import endure; endure()")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 13
    assert done.stdout.count("x") == 30_000
    assert done.stderr == "error\n" * 3
