"""The small record of the notebooks, trained once, whichever process of the tests needs it first."""

import os
import sys
from pathlib import Path

import pytest
from filelock import FileLock

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
sys.path.insert(0, str(NOTEBOOKS))


@pytest.fixture(scope="session")
def small_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the small record, as `small_record` builds it."""
    from small_record import small_record

    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    with FileLock(shared / "small_record.lock"):
        return small_record(shared / "small_record")
