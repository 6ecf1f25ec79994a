"""Hydra finds launchers in this namespace only; the work is done in ``slackoff.sweep``."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

if TYPE_CHECKING:
    from rich.console import Console

    from slackoff.sweep.backend import Resources
    from slackoff.sweep.expand import Config
    from slackoff.sweep.manifest import Job
    from slackoff.sweep.planner_process import PlannerProcess


class CellLauncher(Launcher):
    """What the launchers have in common: configs of all jobs at once, cells of their own, one report at the end.

    Args:
        on_failure, max_attempts, time_limit_h, grace_s, stale_after_s: as in ``slackoff.sweep.backend.Policy``.
        dry_run: show cells, states and cost; train nothing.
    """

    def __init__(
        self,
        on_failure: str = "continue",
        max_attempts: int = 1,
        time_limit_h: float | None = None,
        grace_s: float = 60.0,
        stale_after_s: float = 180.0,
        dry_run: bool = False,
    ) -> None:
        self.rules: dict[str, Any] = {
            "on_failure": on_failure,
            "max_attempts": max_attempts,
            "time_limit_h": time_limit_h,
            "grace_s": grace_s,
            "stale_after_s": stale_after_s,
        }
        self.dry_run = dry_run

    @abstractmethod
    def resources(self, runs: Path) -> "Resources":
        """Where the cells run whose records are kept under ``runs``."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs of the sweep; ends the program with ``failure_exit_code`` if a cell failed."""
        from rich.console import Console

        from slackoff.errors import failure_exit_code
        from slackoff.sweep.expand import Expander, expand_jobs
        from slackoff.sweep.planner_process import PlannerProcess

        console = Console()
        expander = Expander(self._compose, self.hydra_context.config_loader.list_groups(""))
        with PlannerProcess() as planner:
            planner.start()
            jobs, configs = expand_jobs(job_overrides, expander, console)
            failed = self.run(jobs, configs, planner, console)
        if failed:
            raise SystemExit(failure_exit_code(failed))
        here = str(Path.cwd())
        return [JobReturn(overrides=job, working_dir=here, status=JobStatus.COMPLETED) for job in job_overrides]

    def run(
        self, jobs: Sequence["Job"], configs: Sequence["Config"], planner: "PlannerProcess", console: "Console"
    ) -> int:
        """Run jobs whose configs are resolved; the number of cells that failed."""
        from slackoff.sweep.study import run_jobs

        return run_jobs(jobs, configs, self.resources(Path(configs[0]["runs"])), planner, console, self.dry_run)

    def _compose(self, overrides: list[str]) -> DictConfig:
        config = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            del config["hydra"]
        return config


class LocalLauncher(CellLauncher):
    """``hydra/launcher=local``: every cell a process of its own, as many at once as there are slots.

    Args:
        slots, threads, gpus, slots_per_gpu, gpus_per_cell: as in ``slackoff.sweep.local.make_slots``.
        rules: as in ``CellLauncher``.
    """

    def __init__(
        self,
        slots: int | str = "auto",
        threads: int | str = "auto",
        gpus: Sequence[int] | str = "auto",
        slots_per_gpu: int = 1,
        gpus_per_cell: int = 1,
        **rules: Any,
    ) -> None:
        super().__init__(**rules)
        self.places: dict[str, Any] = {
            "slots": slots,
            "threads": threads,
            "gpus": gpus,
            "slots_per_gpu": slots_per_gpu,
            "gpus_per_cell": gpus_per_cell,
        }

    def resources(self, runs: Path) -> "Resources":
        from slackoff.sweep.backend import Policy, Resources
        from slackoff.sweep.local import LocalBackend, make_slots

        return Resources(make_slots(**self.places), LocalBackend(), Policy(**self.rules))


class SlurmLauncher(CellLauncher):
    """``hydra/launcher=slurm``: every cell a job of Slurm.

    Args:
        slots: jobs in line or running at once.
        gpus_per_cell: GPUs of a job, a rank each; 0 for none.
        ranks_per_cell: processes that train a cell together; by default one a GPU.
        cpus_per_rank, mem_gb, timeout_min, partition, setup, parameters: as in
            ``slackoff.sweep.slurm_jobs.job_settings``.
        rules: as in ``CellLauncher``.
    """

    def __init__(
        self,
        slots: int = 64,
        gpus_per_cell: int = 1,
        ranks_per_cell: int | None = None,
        cpus_per_rank: int = 2,
        mem_gb: float | None = 16,
        timeout_min: int = 240,
        partition: str | None = None,
        setup: Sequence[str] = (),
        parameters: dict[str, Any] | None = None,
        **rules: Any,
    ) -> None:
        super().__init__(**rules)
        self.slots = slots
        self.ranks = gpus_per_cell or 1 if ranks_per_cell is None else ranks_per_cell
        self.settings: dict[str, Any] = {
            "gpus_per_cell": gpus_per_cell,
            "ranks": self.ranks,
            "cpus_per_rank": cpus_per_rank,
            "mem_gb": mem_gb,
            "timeout_min": timeout_min,
            "partition": partition,
            "setup": list(setup),
            "parameters": dict(parameters or {}),
        }

    def resources(self, runs: Path) -> "Resources":
        from slackoff.errors import SlackoffError
        from slackoff.sweep.backend import LazyBackend, Policy, Resources, Slot

        try:
            from slackoff.sweep.slurm import SlurmJobs
            from slackoff.sweep.slurm_jobs import job_settings, whole
        except ModuleNotFoundError as error:
            if str(error.name).partition(".")[0] != "submitit":
                raise
            raise SlackoffError(
                "hydra/launcher=slurm needs submitit: in the checkout, .venv/bin/pip install -e '.[slurm]'"
            ) from error
        settings = job_settings(**self.settings)
        environment = {"OMP_NUM_THREADS": str(self.settings["cpus_per_rank"])}
        slots = [Slot(environment, f"job {number}", self.ranks) for number in range(whole("slots", self.slots))]
        return Resources(slots, LazyBackend(lambda: SlurmJobs(settings)), Policy(**self.rules))
