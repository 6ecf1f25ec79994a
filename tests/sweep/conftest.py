"""The expander of the shipped config tree."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from slackoff.sweep.expand import Expander


@pytest.fixture
def expander(conf: Path) -> Iterator[Expander]:
    with initialize_config_dir(str(conf), version_base="1.3"):
        groups = GlobalHydra.instance().config_loader().list_groups("")
        yield Expander(lambda overrides: compose("config", overrides), groups)
