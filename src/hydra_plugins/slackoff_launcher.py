"""Hydra finds launchers in this namespace only; the work is done in ``slackoff.sweep``."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class LocalLauncher(Launcher):
    """``hydra/launcher=local``: every cell a process of its own, as many at once as there are slots."""

    def __init__(self, slots: int | str = "auto", threads: int | str = "auto", dry_run: bool = False) -> None:
        self.slots, self.threads, self.dry_run = slots, threads, dry_run

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs of the sweep; ends the program with exit code 1 if a cell failed."""
        from rich.console import Console

        from slackoff.config_mistakes import explain
        from slackoff.hydra_app import config_folder
        from slackoff.sweep.compositions import Compositions
        from slackoff.sweep.expand import Expander
        from slackoff.sweep.jobs import expand_jobs, run_jobs
        from slackoff.sweep.slots import make_slots

        loader = self.hydra_context.config_loader
        expander = Expander(Compositions(self._compose, loader, self.config.hydra.job.config_name))
        jobs, configs = expand_jobs(
            job_overrides, expander, lambda error, overrides: explain(error, overrides, config_folder())
        )
        failed = run_jobs(jobs, configs, make_slots(self.slots, self.threads), Console(), self.dry_run)
        if failed:
            raise SystemExit(1)
        return [_completed(overrides) for overrides in job_overrides]

    def _compose(self, overrides: list[str]) -> DictConfig:
        return self.hydra_context.config_loader.load_sweep_config(self.config, overrides)


def _completed(overrides: Sequence[str]) -> JobReturn:
    result = JobReturn(overrides=overrides, working_dir=str(Path.cwd()))
    result.status = JobStatus.COMPLETED
    result.return_value = None
    return result
