"""The small record of the notebooks, trained once, whichever process of the tests needs it first."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
sys.path.insert(0, str(NOTEBOOKS))


@pytest.fixture(scope="session")
def small_runs(once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """The folder of the small record, as `small_record` builds it from its manifest, with a tenth of the steps."""
    import small_record

    def train(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(small_record, "MANIFEST", folder / "small_record.yaml")
            short = fewer_steps((NOTEBOOKS / "small_record.yaml").read_text(encoding="utf-8"))
            (folder / "small_record.yaml").write_text(short, encoding="utf-8")
            small_record.small_record(folder / "runs")

    return once("small_record", train) / "runs"


def fewer_steps(manifest: str) -> str:
    for long, short in (
        ("steps: 40", "steps: 4"),
        ("evaluate_every: 20", "evaluate_every: 2"),
        ("every: 40", "every: 4"),
    ):
        assert manifest.count(long) == 1
        manifest = manifest.replace(long, short)
    return manifest.replace(
        "  schedule.steps", "  trainer.precision: 32-true\n  schedule.log_every: 1\n  schedule.steps"
    )
