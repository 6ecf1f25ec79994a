"""A disk without room, for all tests of this room."""

import errno
import os
from collections.abc import Callable

import pytest


@pytest.fixture
def full() -> Callable[..., None]:
    """What any call of the system answers when the disk is full."""

    def no_space(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return no_space
