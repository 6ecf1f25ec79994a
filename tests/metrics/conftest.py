"""The scenes most tests of this room look at."""

import pytest
from metrics_scenes import Batch, random_batch


@pytest.fixture
def batch() -> Batch:
    return random_batch()
