"""From the settings of ``hydra/launcher=slurm`` to what submitit is told."""

import shutil
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from slackoff.errors import SlackoffError

_PROGRAMS = ("sbatch", "srun", "squeue", "scancel")
_OWN = {
    "nodes": "a cell runs on one node; hydra.launcher.gpus_per_cell says on how many of its GPUs",
    "ntasks_per_node": "a cell is one task, which starts its ranks itself: hydra.launcher.ranks_per_cell",
    "setup": "say hydra.launcher.setup",
    "time": "say hydra.launcher.timeout_min",
    "use_srun": "without srun Slurm's warning does not reach the cell",
}
_WARNING_S = 90  # submitit's default: how long before the time limit Slurm warns
_EARLIER_S = 60  # by so much Slurm may warn earlier than it was told


def job_settings(
    gpus_per_cell: int,
    ranks: int,
    cpus_per_rank: int,
    mem_gb: float | None,
    timeout_min: int,
    partition: str | None,
    setup: Sequence[str],
    parameters: Mapping[str, Any],
) -> dict[str, Any]:
    """What submitit's SlurmExecutor is told about each job.

    Args:
        gpus_per_cell: GPUs of a job; with 0 it sees none.
        ranks: processes that train a cell together.
        cpus_per_rank: CPU cores, and threads, of each of them.
        mem_gb: memory of a job; None for the cluster's default.
        timeout_min: minutes of one turn of a job.
        partition: where it runs; None for the cluster's default.
        setup: shell lines before it.
        parameters: more of SlurmExecutor's; they win, and None takes one away.

    Raises:
        SlackoffError: a setting that cannot be.
    """
    for key, reason in _OWN.items():
        if key in parameters:
            raise SlackoffError(f"hydra.launcher.parameters.{key} cannot be set: {reason}")
    whole("gpus_per_cell", gpus_per_cell, least=0)
    cores = whole("cpus_per_rank", cpus_per_rank) * whole("ranks_per_cell", ranks)
    threads = [f"export OMP_NUM_THREADS={cpus_per_rank} MKL_NUM_THREADS={cpus_per_rank}"]
    hidden = [] if gpus_per_cell else ["export CUDA_VISIBLE_DEVICES="]
    wanted = {
        "job_name": "slackoff",
        "time": whole("timeout_min", timeout_min),
        "cpus_per_task": cores,
        "gpus_per_node": gpus_per_cell or None,
        "mem": None if mem_gb is None else f"{_megabytes(mem_gb)}MB",
        "partition": partition,
        **parameters,
        "setup": [*setup, *threads, *hidden],
        "srun_args": [f"--cpus-per-task={cores}", *(parameters.get("srun_args") or [])],  # srun does not ask sbatch
        # Some clusters let a job stand in line again only if it says that it can.
        "additional_parameters": _given({"requeue": True, **(parameters.get("additional_parameters") or {})}),
    }
    found = _given(wanted)
    needed = found.get("signal_delay_s", _WARNING_S) + _EARLIER_S
    if 60 * timeout_min < needed:
        raise SlackoffError(
            f"hydra.launcher.timeout_min={timeout_min} is too short: Slurm may warn a job {needed} s before its end, "
            "when the cell has to write its checkpoint"
        )
    return found


def whole(key: str, value: Any, least: int = 1) -> int:
    """A setting as a number.

    Raises:
        SlackoffError: it is none, or too small.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return value
    raise SlackoffError(f"hydra.launcher.{key}={value} must be a whole number of at least {least}")


def check_names(settings: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse what submitit does not know.

    Raises:
        SlackoffError: naming the setting, and the one that was meant if it can be guessed.
    """
    for name in settings:
        if name in known:
            continue
        close = get_close_matches(name, known, n=1)
        meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(known))}"
        raise SlackoffError(
            f"hydra.launcher.parameters.{name} is not known to submitit: {meant} "
            f"Any option of sbatch can be given as hydra.launcher.parameters.additional_parameters.{name}"
        )


def check_slurm() -> None:
    """Refuse a machine without Slurm's commands.

    Raises:
        SlackoffError: naming those that are not there.
    """
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        raise SlackoffError(
            f"hydra/launcher=slurm needs Slurm's commands, but {', '.join(missing)} cannot be found: "
            "run it on a login node of the cluster, or leave it out to train on this machine"
        )


def _given(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value is not None}


def _megabytes(mem_gb: Any) -> int:
    if isinstance(mem_gb, (int, float)) and mem_gb > 0:
        return round(1024 * mem_gb)
    raise SlackoffError(f"hydra.launcher.mem_gb={mem_gb} must be a number above 0, or null for the cluster's default")
