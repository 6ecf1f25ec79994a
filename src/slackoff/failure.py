"""Why a cell failed, in one sentence that says the cure where there is one."""

import errno
from pathlib import Path
from signal import SIGKILL

from slackoff.errors import SlackoffError

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_NO_MEMORY = (
    "out of memory",
    "can't allocate memory",  # torch's allocator
    "ALLOC_FAILED",  # cuBLAS, cuDNN
    "could not create a primitive",  # oneDNN
    "can't start new thread",  # its stack
    "Cannot allocate memory",
    "failed to map segment",  # of a library that is imported
    "bad_alloc",
    "MemoryError",
)
_FEWER_CELLS = "run fewer cells at once (hydra.launcher.slots=N) or lower schedule.batch_size"
_FEWER_ON_GPU = "run fewer cells on it (hydra.launcher.slots_per_gpu=1) or lower schedule.batch_size"
_LONGEST = 200
_LAST_WORDS = 2000


def sentence(error: Exception, folder: Path) -> str:
    """What to tell a person about the error that ended a cell.

    Args:
        error: what was raised.
        folder: the cell's folder.
    """
    if isinstance(error, SlackoffError):
        return str(error)
    if isinstance(error, OSError) and not may_pass(error):
        return unwritable(error, folder)
    text = " ".join(f"{type(error).__name__}: {error}".split())
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    if not isinstance(error, (MemoryError, RuntimeError, OSError)) or not _tells_of_memory(text):
        return f"{text} (traceback in {folder / 'error.txt'})"
    if "CUDA" in text or "CUBLAS" in text or "CUDNN" in text:
        return f"The memory of the GPU ran out: {_FEWER_ON_GPU} ({text})"
    return f"Memory ran out: {_FEWER_CELLS} ({text})"


def may_pass(error: OSError) -> bool:
    """Whether a file may be usable again soon: not on a disk that is full or read-only."""
    return error.errno not in (*_NO_SPACE, errno.EROFS)


def unusable(error: OSError, folder: Path) -> str:
    """What to tell a person when the record in ``folder`` could not be used, for a while where that may pass."""
    if not may_pass(error):
        return unwritable(error, folder)
    return (
        f"{error.filename or folder} could not be used for a while ({error.strerror or error}): see that {folder} can "
        "be read and written, then run the same command again; it goes on from there"
    )


def unwritable(error: OSError, folder: Path) -> str:
    """What to tell a person when the record in ``folder`` cannot be written."""
    if error.errno in _NO_SPACE:
        return f"No space is left for {folder}: free some, then run the same command again; it goes on from there"
    return (
        f"{folder} cannot be written ({error.strerror or error}): make it writable, then run the same command again; "
        "it goes on from there"
    )


def death(cause: str, folder: Path) -> str:
    """What to tell a person about a process that ended without a word of why.

    Args:
        cause: such as "signal 9".
        folder: the cell's folder.
    """
    log = folder / "log.txt"
    text = f"the process died ({cause}); its last words are in {log}"
    if cause == f"signal {SIGKILL:d}":
        return f"{text}. It is what the kernel sends when memory runs out: {_FEWER_CELLS}"
    return f"{text}. Memory seems to have run out: {_FEWER_CELLS}" if _tells_of_memory(_last_words(log)) else text


def _tells_of_memory(text: str) -> bool:
    return any(words in text for words in _NO_MEMORY)


def _last_words(log: Path) -> str:
    try:
        return log.read_text(encoding="utf-8", errors="replace")[-_LAST_WORDS:]
    except OSError:
        return ""
