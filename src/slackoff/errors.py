"""What goes wrong: the error that a person can cure, one sentence for each trouble, the exit codes of the commands."""

import errno
import io
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from signal import SIGKILL
from typing import Any, Literal, TextIO, get_args, get_origin, get_type_hints

EXIT_MISTAKE = 2
"""Exit code of a command: a mistake, or a folder that cannot be used."""
EXIT_WITHOUT_ONNX = 3
"""Exit code of ``export``: exported, but without an ONNX file."""
EXIT_STOPPED = 130
"""Exit code of a command that Ctrl-C stopped."""
_FIRST_FAILURE, _MOST_FAILURES = 10, 100

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
_LOG_TAIL = 2000


class SlackoffError(Exception):
    """A mistake in a config, a folder or a file: one sentence that names it and says the cure.

    The command line prints the sentence without a traceback; anything else that is raised is a defect of slackoff.
    Whatever names and values stand in it, it is one line that can be printed.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(printable(sentence))


def one_line(error: BaseException, longest: int | None = None) -> str:
    """What an error says, on one line and no longer than so many letters; its kind where it says nothing."""
    return " ".join(str(error).split())[:longest] or type(error).__name__


def printable(text: str) -> str:
    """A text as one line for any terminal and file: line breaks become spaces, what has no form is escaped.

    The bytes of a file name that is not UTF-8 (Python has them as surrogates) become ``\\xff``.
    """
    if text.isprintable():
        return text
    return "".join(_printable(letter) for letter in text)


def _printable(letter: str) -> str:
    if letter.isprintable():
        return letter
    if letter.isspace():
        return " "
    if "\udc80" <= letter <= "\udcff":
        return f"\\x{ord(letter) - 0xDC00:x}"
    return letter.encode("unicode_escape").decode()


def check_choice(value: object, key: str, choices: Sequence[object]) -> None:
    """Raise a ``SlackoffError`` that names the key and its choices for a value that is none of them."""
    if value not in choices:
        raise SlackoffError(f"{key}={value} is not known: choose one of {', '.join(map(str, choices))}")


def check_choices(kind: type, /, **given: Any) -> None:
    """Raise a ``SlackoffError`` for the first argument of a class that is none of those that its annotation lists.

    Args:
        kind: annotates these arguments as ``Literal``, or as a sequence of such.
        given: the arguments by their names.
    """
    hints = get_type_hints(kind.__init__)  # type: ignore[misc]
    for name, value in given.items():
        hint, values = hints[name], [value]
        if get_origin(hint) is not Literal:
            (hint,), values = get_args(hint), value
        for each in values:
            check_choice(each, f"{kind.__name__}: {name}", get_args(hint))


def failure_exit_code(failed: int) -> int:
    """The exit code of a command that trains or derains, where so many cells, or photos, failed.

    0: all are done. 11 to 110: so many failed, plus 10 (110: a hundred or more).
    """
    return _FIRST_FAILURE + min(failed, _MOST_FAILURES) if failed else 0


def explain_error(error: Exception, folder: Path) -> str:
    """Why a cell failed, in one sentence that says the cure where there is one.

    Args:
        error: what was raised.
        folder: the cell's folder.
    """
    if isinstance(error, SlackoffError):
        return str(error)
    if isinstance(error, OSError) and not is_temporary(error):
        return explain_unwritable(error, folder)
    text = " ".join(f"{type(error).__name__}: {error}".split())
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    if not isinstance(error, (MemoryError, RuntimeError, OSError)) or not _is_about_memory(text):
        return f"{text} (traceback in {folder / 'error.txt'})"
    if "CUDA" in text or "CUBLAS" in text or "CUDNN" in text:
        return f"The memory of the GPU ran out: {_FEWER_ON_GPU} ({text})"
    return f"Memory ran out: {_FEWER_CELLS} ({text})"


def explain_death(cause: str, folder: Path) -> str:
    """What to tell a person about a cell's process that ended without saying why.

    Args:
        cause: such as "signal 9".
        folder: the cell's folder.
    """
    log = folder / "log.txt"
    text = f"the process died ({cause}); its last words are in {log}"
    if cause == f"signal {SIGKILL:d}":
        return f"{text}. It is what the kernel sends when memory runs out: {_FEWER_CELLS}"
    with suppress(OSError):
        if _is_about_memory(log.read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL:]):
            return f"{text}. Memory seems to have run out: {_FEWER_CELLS}"
    return text


def is_temporary(error: OSError) -> bool:
    """Whether a file may be usable again soon: not on a disk that is full or read-only."""
    return error.errno not in (*_NO_SPACE, errno.EROFS)


def explain_unusable(error: OSError, folder: Path) -> str:
    """What to tell a person when the record in ``folder`` could not be used, for a while where that may pass."""
    if not is_temporary(error):
        return explain_unwritable(error, folder)
    return (
        f"{error.filename or folder} could not be used for a while ({error.strerror or error}): see that {folder} can "
        "be read and written, then run the same command again; it goes on from there"
    )


def explain_unwritable(error: OSError, folder: Path) -> str:
    """What to tell a person when the record in ``folder`` cannot be written."""
    trouble = f"{folder} cannot be written ({error.strerror or error}): make it writable"
    if error.errno in _NO_SPACE:
        trouble = f"No space is left for {folder}: free some"
    return f"{trouble}, then run the same command again; it goes on from there"


def _is_about_memory(text: str) -> bool:
    return any(words in text for words in _NO_MEMORY)


class _LossyOutput:
    """A text stream that loses what cannot be written, instead of raising."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def ignore_output_errors() -> None:
    """Let this process go on when its standard output or error cannot be written: they may go to the full disk, or
    not take a letter of a file's name.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be in the terminal's alphabet
    sys.stdout, sys.stderr = _LossyOutput(sys.stdout), _LossyOutput(sys.stderr)  # type: ignore[assignment]


def did_you_mean(wrong: object, known: Iterable[str], otherwise: str = "") -> str:
    """The known name that comes closest to a wrong one, as the end of a sentence; ``otherwise`` where none is close."""
    close = get_close_matches(str(wrong), list(known), n=1, cutoff=0.4)
    return f"did you mean '{close[0]}'?" if close else otherwise
