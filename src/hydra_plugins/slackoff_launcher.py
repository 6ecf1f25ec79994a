"""Hydra finds launchers in this namespace only; the work is done in ``slackoff.sweep``, which is imported late."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf, open_dict

from slackoff.config.schema import AtLeast, Count, Policy, Positive
from slackoff.config.validate import check_arguments
from slackoff.errors import SlackoffError, failure_exit_code

if TYPE_CHECKING:
    from rich.console import Console

    from slackoff.sweep.backend import Resources
    from slackoff.sweep.expand import Config
    from slackoff.sweep.manifest import Job
    from slackoff.sweep.planner_process import PlannerProcess

Gpus = Annotated[int, AtLeast(0)]


def make_launcher(node: DictConfig) -> "CellLauncher":
    """The launcher that ``hydra.launcher`` describes, its settings held against the annotations of its class.

    Raises:
        SlackoffError: it is none of those that run cells, or a setting cannot be.
    """
    plugins = [f"{found.__module__}.{found.__qualname__}" for found in Plugins.instance().discover(Launcher)]
    if node["_target_"] not in plugins or not issubclass(get_class(node["_target_"]), CellLauncher):
        raise SlackoffError("hydra/launcher must be local, slurm or ray: another one cannot run cells")
    settings: Any = OmegaConf.to_container(node, resolve=True)
    check_arguments(get_class(node["_target_"]), settings, "hydra.launcher")
    # A target among its settings makes nothing.
    launcher: CellLauncher = instantiate(node, _recursive_=False, _convert_="all")
    return launcher


@dataclass(kw_only=True)
class CellLauncher(Policy, Launcher):
    """What the launchers have in common: configs of all jobs at once, cells of their own, one report at the end.

    Args:
        dry_run: show cells, states and cost; train nothing.
    """

    dry_run: bool = False

    @abstractmethod
    def resources(self) -> "Resources":
        """Where the cells run.

        Raises:
            SlackoffError: settings that do not go together, or not with this machine.
        """

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs of the sweep; ends the program with ``failure_exit_code`` if a cell failed."""
        from rich.console import Console

        from slackoff.sweep.expand import Expander, expand_jobs
        from slackoff.sweep.planner_process import PlannerProcess

        console = Console()
        groups = self.hydra_context.config_loader.list_groups("")
        with PlannerProcess() as planner:
            planner.start()
            typed = list(self.config.hydra.overrides.task)
            jobs, configs = expand_jobs(job_overrides, Expander(self.compose, groups), console, typed)
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

        return run_jobs(jobs, configs, self.resources(), planner, console, self.dry_run)

    def compose(self, overrides: list[str]) -> DictConfig:
        """The config of a job, without Hydra's own node."""
        config = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            del config["hydra"]
        return config


@dataclass(kw_only=True)
class LocalLauncher(CellLauncher):
    """``hydra/launcher=local``: every cell a process of its own; arguments as in ``sweep.local.make_slots``."""

    slots: Count | Literal["auto"] = "auto"
    threads: Count | Literal["auto"] = "auto"
    gpus: list[int] | Literal["auto"] = "auto"
    slots_per_gpu: Count = 1
    gpus_per_cell: Count = 1

    def resources(self) -> "Resources":
        from slackoff.sweep.backend import Resources
        from slackoff.sweep.local import LocalBackend, make_slots

        slots = make_slots(self.slots, self.threads, self.gpus, self.slots_per_gpu, self.gpus_per_cell)
        return Resources(slots, LocalBackend, self, local=True)


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

    # No dataclass: its setting ``setup`` would take the place of Hydra's method.
    def __init__(
        self,
        *,
        slots: Count = 64,
        gpus_per_cell: Gpus = 1,
        ranks_per_cell: Count | None = None,
        cpus_per_rank: Count = 2,
        mem_gb: Positive | None = 16,
        timeout_min: Count = 240,
        partition: str | None = None,
        setup: Sequence[str] = (),
        parameters: dict[str, Any] | None = None,
        **rules: Any,
    ) -> None:
        super().__init__(**rules)
        self.slots = slots
        self.settings: dict[str, Any] = {
            "gpus_per_cell": gpus_per_cell,
            "ranks": ranks_per_cell or max(1, gpus_per_cell),
            "cpus_per_rank": cpus_per_rank,
            "mem_gb": mem_gb,
            "timeout_min": timeout_min,
            "partition": partition,
            "setup": setup,
            "parameters": parameters or {},
        }

    def resources(self) -> "Resources":
        from slackoff.sweep.backend import Resources, Slot

        if find_spec("submitit") is None:
            raise SlackoffError(
                "hydra/launcher=slurm needs submitit: in the checkout, .venv/bin/pip install -e '.[slurm]'"
            )
        from slackoff.sweep.slurm import SlurmJobs
        from slackoff.sweep.slurm_jobs import job_settings

        settings = job_settings(**self.settings)
        environment = {"OMP_NUM_THREADS": str(self.settings["cpus_per_rank"])}
        slots = [Slot(environment, f"job {number}", self.settings["ranks"]) for number in range(self.slots)]
        return Resources(slots, lambda: SlurmJobs(settings), self)


@dataclass(kw_only=True)
class RayLauncher(CellLauncher):
    """``hydra/launcher=ray``: every cell a task of Ray.

    Args:
        ray: ``init`` and ``remote``, what ``ray.init`` and ``ray.remote`` take; null is Ray's default.
        slots: cells in Ray's queue or running at once.
        gpus_per_cell: GPUs of a cell, a rank each; 0 for none.
        ranks_per_cell: processes that train a cell together; by default one a GPU.
        cpus_per_rank: CPU threads a rank.
    """

    ray: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    slots: Count = 64
    gpus_per_cell: Gpus = 1
    ranks_per_cell: Count | None = None
    cpus_per_rank: Count = 2

    def resources(self) -> "Resources":
        from slackoff.sweep.backend import Backend, Resources, Slot

        init, remote = (
            {name: value for name, value in (self.ray.get(key) or {}).items() if value is not None}
            for key in ("init", "remote")
        )
        if not self.dry_run and find_spec("ray") is None:
            raise SlackoffError("hydra/launcher=ray needs Ray: in the checkout, .venv/bin/pip install -e '.[ray]'")
        ranks = self.ranks_per_cell or max(1, self.gpus_per_cell)
        environment = {key: str(self.cpus_per_rank) for key in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        slots = [Slot(environment, f"task {number}", ranks) for number in range(self.slots)]
        options = {"num_cpus": self.cpus_per_rank * ranks, "num_gpus": self.gpus_per_cell, **remote}

        def connect() -> Backend:
            from slackoff.sweep.ray import RayCells

            return RayCells(init, options)

        return Resources(slots, connect, self)
