"""What training the cells of a sweep will cost on this machine."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console

from slackoff.record.status import Status
from slackoff.sweep.backend import Slot
from slackoff.sweep.plan import Cell


@dataclass(frozen=True)
class NetworkCost:
    """Cells of one network that are still to train.

    ``seconds``: of all steps left, one after the other, without evaluations; ``hours``: of the machine for them. Both
    None where the time of a step is not known. ``how``: where that time comes from.
    """

    network: str
    cells: int
    steps: int
    seconds: float | None
    hours: float | None
    how: str

    @property
    def seconds_per_step(self) -> float | None:
        return None if self.seconds is None or not self.steps else self.seconds / self.steps


@dataclass(frozen=True)
class Estimate:
    """Cost by network, in ``unit``."""

    unit: str
    networks: list[NetworkCost]

    @property
    def hours(self) -> float:
        """Of all networks whose steps could be measured."""
        return sum(cost.hours or 0.0 for cost in self.networks)


def estimate_cost(
    cells: Sequence[Cell], statuses: Mapping[str, Status], slots: Sequence[Slot], console: Console
) -> Estimate:
    """Estimate the training that is left, without evaluations.

    On GPUs the sum over cells, in GPU-hours: a slot is one GPU. On a CPU the slots share one machine, so the hours are
    those of the machine with all slots busy.

    Args:
        cells: those that are not done; at least one.
        statuses: of all cells, by id.
        slots: places for processes.
        console: told what is being measured.

    Raises:
        SlackoffError: a network, a task or a rain range cannot be built.
    """
    import torch  # here, so that a sweep with nothing left to train need not wait for it

    from slackoff.sweep.step_rates import step_kind, step_times

    threads = int(slots[0].environment.get("OMP_NUM_THREADS", 1))
    steps = {cell.id: max(0, statuses[cell.id].steps_total - statuses[cell.id].step) for cell in cells}
    trained = [cell for cell in cells if steps[cell.id]]
    times = step_times(trained, threads, console) if trained else {}
    on_gpu = "CUDA_VISIBLE_DEVICES" in slots[0].environment and torch.cuda.is_available()
    at_once = 1 if on_gpu else len(slots)
    networks = []
    for network in dict.fromkeys(str(cell.label["network"]) for cell in cells):
        own = [cell for cell in cells if cell.label["network"] == network]
        to_train = [cell for cell in own if steps[cell.id]]
        found = [times[step_kind(cell.content)] for cell in to_train]
        each = [time.seconds * steps[cell.id] for cell, time in zip(to_train, found, strict=True) if time]
        seconds = sum(each) if len(each) == len(to_train) else None
        hours = None if seconds is None else seconds / 3600 / at_once
        hows = dict.fromkeys(time.how if time else "cannot be measured" for time in found)
        how = "; ".join(hows) or "nothing to train"
        left = sum(steps[cell.id] for cell in to_train)
        networks.append(NetworkCost(network, len(own), left, seconds, hours, how))
    unit = f"GPU-hours ({torch.cuda.get_device_name()})" if on_gpu else _machine_hours(len(slots))
    return Estimate(unit, networks)


def _machine_hours(slots: int) -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"hours on this machine ({_count(cores, 'CPU core')}, {_count(slots, 'cell')} at once)"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
