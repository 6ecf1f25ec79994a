"""Hydra finds sweepers in this namespace only: the product of all lists, and a search with Optuna.

Jobs are handed over in one go: none is composed twice.
"""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any, Literal

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from slackoff.config.schema import Count
from slackoff.config.validate import check_arguments
from slackoff.errors import SlackoffError, failure_exit_code


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
        self.study = config.study
        self.launcher = make_launcher(config.hydra.launcher)
        self.launcher.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> Sequence[Any]:
        """Launch every job that the command line and ``hydra.sweeper.params`` ask for."""
        from slackoff.sweep.grids import jobs_of_lists

        values = {key: list(_values(override)) for key, override in self._overrides(arguments).items()}
        together = OmegaConf.to_container(self.study, resolve=False)
        assert isinstance(together, dict)
        return [self.launcher.launch(jobs_of_lists(values, together.get("zip")), initial_job_idx=0)]

    def _overrides(self, arguments: list[str]) -> dict[str, Override]:
        given = [*(f"{key}={values}" for key, values in self.params.items()), *arguments]
        return {override.get_key_element(): override for override in self.parser.parse_overrides(given)}


class OptunaSweeper(LocalSweeper):
    """``hydra/sweeper=optuna``: a search with Optuna whose trials are cells; what is swept over is the space.

    Args:
        params: as in ``LocalSweeper``.
        trials: of the search in all, those of earlier commands and of other drivers counted.
        sampler: what proposes them.
        seed: of the sampler: trial k comes from (seed, k) and the trials that have ended before it.
        pruner: what ends trials that do not look promising.
    """

    def __init__(
        self,
        params: dict[str, Any] | None = None,
        trials: Count = 20,
        sampler: Literal["tpe", "random", "qmc", "nsgaii"] = "tpe",
        seed: int = 0,
        pruner: Literal["none", "median", "successive_halving", "hyperband"] = "none",
    ) -> None:
        super().__init__(params)
        self.settings = {"trials": trials, "sampler": sampler, "seed": seed, "pruner": pruner}
        check_arguments(OptunaSweeper, self.settings, "hydra.sweeper")

    def sweep(self, arguments: list[str]) -> Sequence[Any]:
        """Search; ends the program with ``failure_exit_code`` if a cell failed."""
        from slackoff.cell.pruning import INSTALL

        if find_spec("optuna") is None:
            raise SlackoffError(f"hydra/sweeper=optuna needs Optuna: {INSTALL}")
        from rich.console import Console

        from slackoff.sweep.expand import Expander
        from slackoff.sweep.planner_process import PlannerProcess
        from slackoff.sweep.search import SearchSettings, Space, run_search

        overrides = self._overrides(arguments)
        searched = {key: each for key, each in overrides.items() if each.is_sweep_override()}
        base = [override for key, each in overrides.items() if key not in searched for override in _values(each)]
        groups = self.launcher.hydra_context.config_loader.list_groups("")
        with PlannerProcess() as planner:
            planner.start()
            failed = run_search(
                base,
                Space(searched),
                SearchSettings(**self.settings),
                Expander(self.launcher.compose, groups),
                self.launcher.resources(),
                planner,
                Console(),
                self.launcher.dry_run,
            )
        if failed:
            raise SystemExit(failure_exit_code(failed))
        return []


def _values(override: Override) -> Iterator[str]:
    """The overrides, one for each value."""
    key = override.get_key_element()
    sweeps = override.is_sweep_override()
    for value in override.sweep_string_iterator() if sweeps else [override.get_value_element_as_str()]:
        yield f"{key}={value}"
