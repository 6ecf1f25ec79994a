"""Output that cannot be written neither ends a program nor changes its exit code."""

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
    console.print("x" * 10_000, soft_wrap=True)
    print("error", file=sys.stderr, flush=True)
sys.exit(13)
"""


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
@pytest.mark.parametrize(
    ("first", "code"),
    [("from slackoff.output import endure; endure()", 13), ("", 1)],
    ids=["endured", "as Python does"],
)
def test_a_program_whose_output_has_no_room_goes_on(first: str, code: int):
    with FULL.open("w") as full:
        command = [sys.executable, "-c", PROGRAM.format(first=first)]
        assert subprocess.run(command, stdout=full, stderr=full, check=False).returncode == code


def test_what_can_be_written_is_written():
    command = [sys.executable, "-c", PROGRAM.format(first="from slackoff.output import endure; endure()")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 13
    assert done.stdout.count("x") == 30_000
    assert done.stderr == "error\n" * 3
