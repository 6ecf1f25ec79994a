"""What an undisturbed sweep gives, for all tests of this room."""

import pytest
from small_sweep import SmallSweep


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The results of three cells that nothing happened to, by cell and file."""
    sweep = SmallSweep(tmp_path_factory.mktemp("undisturbed") / "sweep")
    assert sweep.finish() == 0, sweep.output
    return sweep.results()
