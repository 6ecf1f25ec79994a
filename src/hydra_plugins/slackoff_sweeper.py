"""Hydra's own sweeper without its second composition of every job: the launcher finds mistakes before anything runs."""

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser


class LocalSweeper(BasicSweeper):
    """``hydra/sweeper=local``: the product of all lists, as Hydra's basic sweeper makes it, handed over in one go.

    Args:
        params: override key to the values that an experiment sweeps over; the command line wins.

    It leaves no ``multirun.yaml`` behind: ``study.json`` says what was run, and a dry run must write nothing.
    """

    def __init__(self, params: dict[str, str] | None = None) -> None:
        super().__init__(max_batch_size=None, params=params)

    def sweep(self, arguments: list[str]) -> Sequence[Any]:
        """Launch every job that the command line and ``hydra.sweeper.params`` ask for."""
        assert self.launcher is not None
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        (jobs,) = self.split_arguments(overrides, max_batch_size=None)
        return [self.launcher.launch(jobs, initial_job_idx=0)]
