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
    """The folder of the small record, as `small_record` builds it from its manifest, with a tenth of the steps."""
    import small_record

    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    with FileLock(shared / "small_record.lock"), pytest.MonkeyPatch.context() as patched:
        short = shared / "small_record.yaml"
        short.write_text(fewer_steps(small_record.MANIFEST.read_text(encoding="utf-8")), encoding="utf-8")
        patched.setattr(small_record, "MANIFEST", short)
        return small_record.small_record(shared / "small_record")


def fewer_steps(manifest: str) -> str:
    for long, short in (
        ("steps: 40", "steps: 4"),
        ("evaluate_every: 20", "evaluate_every: 2"),
        ("every: 40", "every: 4"),
    ):
        assert manifest.count(long) == 1
        manifest = manifest.replace(long, short)
    return manifest.replace("  schedule.steps", "  schedule.log_every: 1\n  schedule.steps")
