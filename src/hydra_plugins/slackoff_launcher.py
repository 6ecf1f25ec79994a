"""Hydra finds launchers in this namespace only; the work is done in ``slackoff.sweep``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class LocalLauncher(Launcher):
    """``hydra/launcher=local``: every job a process of its own, as many at once as there are slots."""

    def __init__(self, slots: int | str = "auto", threads: int | str = "auto") -> None:
        self.slots, self.threads = slots, threads

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs of the sweep; ends the program with exit code 1 if a cell failed."""
        from rich.console import Console

        from slackoff.sweep.slots import make_slots
        from slackoff.sweep.study import run_study

        jobs = [list(overrides) for overrides in job_overrides]
        loader = self.hydra_context.config_loader
        configs = [self._compose(loader, overrides) for overrides in jobs]
        failed = run_study(configs, jobs, make_slots(self.slots, self.threads), Console())
        if failed:
            raise SystemExit(1)
        return [self._completed(config, overrides) for config, overrides in zip(configs, jobs, strict=True)]

    def _compose(self, loader: Any, overrides: list[str]) -> DictConfig:
        config = loader.load_sweep_config(self.config, overrides)
        OmegaConf.set_readonly(config.hydra, None)
        return config

    def _completed(self, config: DictConfig, overrides: list[str]) -> JobReturn:
        result = JobReturn(overrides=overrides, cfg=config, working_dir=str(Path.cwd()))
        result.status = JobStatus.COMPLETED
        result.return_value = None
        return result
