"""For processes of a machine with troubles: Python imports this when it starts, where this folder is on PYTHONPATH.

- ``WRONG_BY_S``: its clock is wrong by so many seconds. The clock that counts from the machine's start stays right, as
  it does when somebody sets the other one.
- ``FILES_FAIL``: this share of what the record's file layer does ends in an error of a network file system.
- ``PHASES``: a folder in which each cell's process says what it is doing, in a file with its number as name; and disks
  are slow, so that a kill finds a file that is written and has not got its name yet.
"""

import errno
import functools
import importlib.abc
import importlib.machinery
import os
import random
import sys
import time
from pathlib import Path

_WRONG_BY_S = float(os.environ.get("WRONG_BY_S", "0"))
_FILES_FAIL = float(os.environ.get("FILES_FAIL", "0"))
_PHASES = os.environ.get("PHASES")
_time, _utime, _fsync = time.time, os.utime, os.fsync


def _wrong_time():
    return _time() + _WRONG_BY_S


def _wrong_utime(path, times=None, **options):
    """The time of a file that is touched comes from the same clock."""
    _utime(path, times or (_wrong_time(), _wrong_time()), **options)


if _WRONG_BY_S:
    time.time, os.utime = _wrong_time, _wrong_utime


def _failing(function):
    @functools.wraps(function)
    def call(*given, **named):
        if random.random() < _FILES_FAIL:
            number = random.choice([errno.ESTALE, errno.EIO, errno.EACCES])
            raise OSError(number, os.strerror(number), str(given[0]))
        return function(*given, **named)

    return call


def _say(phase):
    with Path(_PHASES, str(os.getpid())).open("w") as file:
        file.write(phase)


def _during(phase, function, after="training"):
    @functools.wraps(function)
    def call(*given, **named):
        _say(phase)
        try:
            return function(*given, **named)
        finally:
            _say(after)

    return call


def _slow_fsync(file):
    _fsync(file)
    time.sleep(random.uniform(0, 0.03))


def _change(module):
    """Put the troubles into a module of slackoff that was just imported."""
    if module.__name__ == "slackoff.record.files" and _FILES_FAIL:
        for name in ("read_bytes", "write_whole", "create_text"):
            setattr(module, name, _failing(getattr(module, name)))
    if _PHASES and module.__name__ == "slackoff.cell.callbacks":
        module.TrainingLogger.on_train_start = _during("training", module.TrainingLogger.on_train_start)
    if _PHASES and module.__name__ == "slackoff.record.checkpoint":
        kind = module.WholeFileCheckpointIO
        kind.save_checkpoint = _during("checkpoint", kind.save_checkpoint)
    if _PHASES and module.__name__ == "slackoff.evaluation.evaluator":
        for name in ("quick_look", "evaluate"):
            setattr(module.Evaluator, name, _during("evaluation", getattr(module.Evaluator, name)))


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        spec = importlib.machinery.PathFinder.find_spec(name, path) if name in _CHANGED else None
        if spec is not None:
            run = spec.loader.exec_module

            def exec_module(module):
                run(module)
                _change(module)

            spec.loader.exec_module = exec_module
        return spec


_CHANGED = {
    f"slackoff.{name}" for name in ("record.files", "record.checkpoint", "cell.callbacks", "evaluation.evaluator")
}
if _PHASES or _FILES_FAIL:
    sys.meta_path.insert(0, _Finder())
if _PHASES:
    os.fsync = _slow_fsync
