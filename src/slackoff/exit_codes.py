"""What the exit code of a command that trains or derains says; the same rule for all of them.

0: every cell, or photo, is done. 11 to 110: so many failed, plus 10 (110: a hundred or more). 2: a mistake, or a folder
that cannot be used. 3: exported, but without an ONNX file. 130: stopped by Ctrl-C.
"""

MISTAKE = 2
WITHOUT_ONNX = 3
STOPPED = 130
_FIRST, _MOST = 10, 100


def of_failures(failed: int) -> int:
    """The exit code where so many cells, or photos, failed."""
    return _FIRST + min(failed, _MOST) if failed else 0
