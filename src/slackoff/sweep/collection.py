"""Python's garbage collection, put off while the many small objects of a long plan are made."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collection() -> Iterator[None]:
    """Put garbage collection off: nothing is garbage yet, and looking for it takes as long as the rest."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
