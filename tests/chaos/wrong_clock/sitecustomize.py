"""For processes of a machine whose clock is wrong by ``WRONG_BY_S`` seconds: Python imports this when it starts.

The clock that counts from the machine's start stays right, as it does when somebody sets the other one.
"""

import os
import time

_WRONG_BY_S = float(os.environ["WRONG_BY_S"])
_time, _utime = time.time, os.utime


def _wrong_time():
    return _time() + _WRONG_BY_S


def _wrong_utime(path, times=None, **options):
    """The time of a file that is touched comes from the same clock."""
    _utime(path, times or (_wrong_time(), _wrong_time()), **options)


time.time, os.utime = _wrong_time, _wrong_utime
