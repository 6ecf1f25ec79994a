"""What the exit code of a command that trains says; the same rule for all of them.

0: every cell is done. 11 to 110: so many cells failed, plus 10 (110: a hundred or more). 2: a mistake, or a folder that
cannot be used. 130: stopped by Ctrl-C.
"""

MISTAKE = 2
STOPPED = 130
_FIRST, _MOST = 10, 100


def of_failures(failed: int) -> int:
    """The exit code of a sweep in which so many cells failed."""
    return _FIRST + min(failed, _MOST) if failed else 0
