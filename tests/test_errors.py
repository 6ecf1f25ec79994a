"""Why a cell failed, in one sentence with the cure; exit codes; output that cannot be written."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from slackoff.errors import EXIT_MISTAKE, EXIT_STOPPED, explain_death, explain_error, failure_exit_code

FOLDER = Path("runs/cells/abc")


FREE = "No space is left for runs/cells/abc: free some, then run the same command again; it goes on from there"
WRITABLE = "runs/cells/abc cannot be written (Read-only file system): make it writable, then run the same command again"
GPU = (
    "The memory of the GPU ran out: run fewer cells on it (hydra.launcher.slots_per_gpu=1) or lower schedule.batch_size"
)
HOST = "Memory ran out: run fewer cells at once (hydra.launcher.slots=N) or lower schedule.batch_size"


def system_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (system_error(errno.ENOSPC), FREE),
        (system_error(errno.EDQUOT), FREE),
        (system_error(errno.EROFS), f"{WRITABLE}; it goes on from there"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has 79 GiB"),
            f"{GPU} (OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 79 GiB)",
        ),
        (RuntimeError("CUDA error: out of memory"), f"{GPU} (RuntimeError: CUDA error: out of memory)"),
        (
            RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
            f"{GPU} (RuntimeError: cuDNN error: CUDNN_STATUS_ALLOC_FAILED)",
        ),
        (MemoryError(), f"{HOST} (MemoryError:)"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory"),
            f"{HOST} (RuntimeError: [enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory)",
        ),
        (system_error(errno.ENOMEM), f"{HOST} (OSError: [Errno 12] Cannot allocate memory)"),
        (
            ValueError("first\nsecond: out of memory"),
            "ValueError: first second: out of memory (traceback in runs/cells/abc/error.txt)",
        ),
    ],
)
def test_an_error_is_one_sentence_with_its_cure_or_the_place_of_its_traceback(error: Exception, words: str):
    assert explain_error(error, FOLDER) == words


def test_a_long_error_is_cut():
    long = explain_error(ValueError("x" * 5000), FOLDER)
    assert len(long) < 300
    assert long.endswith("... (traceback in runs/cells/abc/error.txt)")


def test_a_process_that_died_without_a_word_is_told_by_its_signal_and_its_log(tmp_path: Path):
    assert "memory runs out" in explain_death("signal 9", tmp_path)
    assert explain_death("signal 11", tmp_path) == (
        f"the process died (signal 11); its last words are in {tmp_path / 'log.txt'}"
    )
    (tmp_path / "log.txt").write_text("terminate called after throwing an instance of 'std::bad_alloc'")
    assert "Memory seems to have run out: run fewer cells at once" in explain_death("signal 6", tmp_path)


@pytest.mark.parametrize(("failed", "code"), [(0, 0), (1, 11), (3, 13), (100, 110), (108, 110)])
def test_the_exit_code_counts_failures(failed: int, code: int):
    assert failure_exit_code(failed) == code


def test_no_count_of_failures_is_a_code_with_another_meaning():
    counts = {failure_exit_code(failed) for failed in range(1, 1000)}
    assert len(counts) == 100
    assert counts.isdisjoint({0, 1, EXIT_MISTAKE, EXIT_STOPPED, 120, 127})
    assert max(counts) < 128  # from there on shells count signals


FULL = Path("/dev/full")
IGNORE = "from slackoff.errors import ignore_output_errors; ignore_output_errors()"
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
@pytest.mark.parametrize(("first", "codes"), [(IGNORE, {13}), ("", {1, 120})], ids=["ignored", "as Python does"])
def test_a_program_whose_output_has_no_room_goes_on(first: str, codes: set[int], unbuffered: str):
    with FULL.open("w") as full:
        command = [sys.executable, "-c", PROGRAM.format(first=first)]
        environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
        done = subprocess.run(command, stdout=full, stderr=full, env=environment, check=False)
    assert done.returncode in codes


def test_what_can_be_written_is_unchanged():
    command = [sys.executable, "-c", PROGRAM.format(first=IGNORE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 13
    assert done.stdout.count("x") == 30_000
    assert done.stderr == "error\n" * 3


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_name_that_the_terminal_cannot_show_is_escaped(encoding: str):
    program = f"{IGNORE}; print('\\udcff 巴黎')"
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environment, check=True)
    shown = {"utf-8": "巴黎", "ascii": "\\u5df4\\u9ece"}[encoding]
    assert done.stdout.decode(encoding) == f"\\udcff {shown}\n"
