"""The product of all lists, as Hydra's basic sweeper makes it, handed over in one go: no job is composed twice."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class LocalSweeper(Sweeper):
    """``hydra/sweeper=local``.

    Args:
        params: override key to the values that an experiment sweeps over; the command line wins.

    It leaves no ``multirun.yaml`` behind: ``study.json`` says what was run, and a dry run must write nothing.
    """

    def __init__(self, params: dict[str, Any] | None = None) -> None:
        self.params = params or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from hydra_plugins.slackoff_launcher import make_launcher  # after Hydra, which executes these modules anew

        self.parser = OverridesParser.create(config_loader=hydra_context.config_loader)
        self.launcher = make_launcher(config.hydra.launcher)
        self.launcher.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> Sequence[Any]:
        """Launch every job that the command line and ``hydra.sweeper.params`` ask for."""
        given = [*(f"{key}={values}" for key, values in self.params.items()), *arguments]
        overrides = {override.get_key_element(): override for override in self.parser.parse_overrides(given)}
        jobs = [list(job) for job in itertools.product(*map(_values, overrides.values()))]
        return [self.launcher.launch(jobs, initial_job_idx=0)]


def _values(override: Override) -> Iterator[str]:
    """The overrides, one for each value."""
    key = override.get_key_element()
    sweeps = override.is_sweep_override()
    for value in override.sweep_string_iterator() if sweeps else [override.get_value_element_as_str()]:
        yield f"{key}={value}"
