"""What an undisturbed sweep gives, for all tests of this room, and how long the soak is."""

import pytest
from small_sweep import SmallSweep


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=50, help="of cells and commands in the soak, each of a live claim")
    parser.addoption("--seed", type=int, default=0, help="of the soak's first sweep; what fails names its own")
    parser.addoption(
        "--rounds", type=int, default=5, help="two commands on one folder, a signal to each, so many times"
    )


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The results of three cells that nothing happened to, by cell and file."""
    sweep = SmallSweep(tmp_path_factory.mktemp("undisturbed") / "sweep")
    assert sweep.finish() == 0, sweep.output
    return sweep.results()
