"""``hydra/launcher=ray``; the work is done in ``slackoff.sweep.ray``."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from hydra_plugins.slackoff_launcher import CellLauncher
from slackoff.errors import SlackoffError

if TYPE_CHECKING:
    from slackoff.sweep.backend import Resources
    from slackoff.sweep.ray import RayCells


class RayLauncher(CellLauncher):
    """``hydra/launcher=ray``: every cell a task of Ray.

    Args:
        ray: ``init`` and ``remote``, what ``ray.init`` and ``ray.remote`` take; null is Ray's default.
        slots: cells in Ray's queue or running at once.
        gpus_per_cell: GPUs of a cell, a rank each; 0 for none.
        ranks_per_cell: processes that train a cell together; by default one a GPU.
        cpus_per_rank: CPU threads a rank.
        rules: as in ``CellLauncher``.
    """

    def __init__(
        self,
        ray: Any = None,
        slots: int = 64,
        gpus_per_cell: int = 1,
        ranks_per_cell: int | None = None,
        cpus_per_rank: int = 2,
        **rules: Any,
    ) -> None:
        super().__init__(**rules)
        self.ray, self.slots, self.cpus_per_rank = ray, slots, cpus_per_rank
        self.gpus_per_cell, self.ranks_per_cell = gpus_per_cell, ranks_per_cell

    def resources(self, runs: Path) -> "Resources":
        """Where the cells run.

        Raises:
            SlackoffError: a setting that cannot be, or no Ray on this machine.
        """
        from slackoff.sweep.backend import LazyBackend, Policy, Resources, Slot

        gpus = _count("gpus_per_cell", self.gpus_per_cell, least=0)
        ranks = _count("ranks_per_cell", self.ranks_per_cell or max(1, gpus))
        slots, threads = _count("slots", self.slots), _count("cpus_per_rank", self.cpus_per_rank)
        init, remote = _settings(self.ray, "init"), _settings(self.ray, "remote")
        if not self.dry_run and find_spec("ray") is None:
            raise SlackoffError("hydra/launcher=ray needs Ray: in the checkout, .venv/bin/pip install -e '.[ray]'")
        environment = {key: str(threads) for key in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        places = [Slot(environment, f"task {number}", ranks) for number in range(slots)]
        options = {"num_cpus": threads * ranks, "num_gpus": gpus, **remote}
        return Resources(places, LazyBackend(lambda: _ray_cells(init, options)), Policy(**self.rules))


def _ray_cells(init: Mapping[str, Any], options: Mapping[str, Any]) -> "RayCells":
    from slackoff.sweep.ray import RayCells

    return RayCells(init, options)


def _settings(ray: Any, key: str) -> dict[str, Any]:
    """The settings under ``hydra.launcher.ray.KEY`` that are not null."""
    content = OmegaConf.to_container(ray, resolve=True) if isinstance(ray, DictConfig) else ray
    found = content.get(key) or {} if isinstance(content, dict) else content
    if not isinstance(found, dict):
        raise SlackoffError(f"hydra.launcher.ray.{key}={found} must be a mapping, such as {{address: auto}}")
    return {name: value for name, value in found.items() if value is not None}


def _count(key: str, value: Any, least: int = 1) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return value
    raise SlackoffError(f"hydra.launcher.{key}={value} must be a whole number, {least} or more")
