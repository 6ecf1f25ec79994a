"""Why a cell failed, in one sentence with the cure."""

import errno
import os
from pathlib import Path

import pytest
import torch

from slackoff.failure import death, sentence

FOLDER = Path("runs/cells/abc")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "No space is left for runs/cells/abc: free some, then run the same command again"),
        (errno.EDQUOT, "No space is left for runs/cells/abc: free some, then run the same command again"),
        (errno.EROFS, "runs/cells/abc cannot be written (Read-only file system): make it writable, then run the same"),
    ],
)
def test_a_disk_that_cannot_be_written_is_named_with_the_cure(number: int, words: str):
    found = sentence(OSError(number, os.strerror(number)), FOLDER)
    assert found.startswith(words)
    assert found.endswith("it goes on from there")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has 79 GiB"),
            "The memory of the GPU ran out: run fewer cells on it (hydra.launcher.slots_per_gpu=1) or lower "
            "schedule.batch_size (OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 79 GiB)",
        ),
        (RuntimeError("CUDA error: out of memory"), "The memory of the GPU ran out: run fewer cells on it"),
        (
            RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
            "The memory of the GPU ran out: run fewer cells on it (hydra.launcher.slots_per_gpu=1)",
        ),
        (
            MemoryError(),
            "Memory ran out: run fewer cells at once (hydra.launcher.slots=N) or lower schedule.batch_size",
        ),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory"),
            "Memory ran out: run fewer cells at once",
        ),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "Memory ran out: run fewer cells at once"),
    ],
)
def test_memory_that_ran_out_says_what_to_change(error: Exception, words: str):
    assert sentence(error, FOLDER).startswith(words)


def test_any_other_error_is_one_line_that_names_the_traceback():
    assert sentence(ValueError("first\nsecond: out of memory"), FOLDER) == (
        "ValueError: first second: out of memory (traceback in runs/cells/abc/error.txt)"
    )
    long = sentence(ValueError("x" * 5000), FOLDER)
    assert len(long) < 300
    assert long.endswith("... (traceback in runs/cells/abc/error.txt)")


def test_a_process_that_died_without_a_word_is_told_by_its_signal_and_its_log(tmp_path: Path):
    assert "memory runs out" in death("signal 9", tmp_path)
    assert death("signal 11", tmp_path) == (
        f"the process died (signal 11); its last words are in {tmp_path / 'log.txt'}"
    )
    (tmp_path / "log.txt").write_text("terminate called after throwing an instance of 'std::bad_alloc'")
    assert "Memory seems to have run out: run fewer cells at once" in death("signal 6", tmp_path)
