"""What a sweep will cost: the time of a training step of its cells, and the dry run that announces it.

How long a step takes is known from cells that are done, from earlier measurements, or measured now; it is kept by all
that decides it: network, task with loss terms and weighting, images of a batch, precision, and the machine.
"""

import hashlib
import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table
from rich.text import Text

from slackoff.errors import SlackoffError
from slackoff.record.config import read_config
from slackoff.record.files import DamagedFileError, read_json, write_json
from slackoff.record.status import Status, read_status
from slackoff.sweep.backend import Slot
from slackoff.sweep.display import say
from slackoff.sweep.expand import Config
from slackoff.sweep.local import usable_cores
from slackoff.sweep.plan import Cell

CACHE = "step_rates.json"
"""The file among the records that keeps what was measured of steps."""

_BUDGET_S = 36.0  # for all measurements together
_MOST_S = 8.0  # for one of them
_STYLES = {"done": "green", "partly": "yellow", "missing": "dim"}
_MOST_ROWS = 200
_FIRST_ROWS = 20
_ID_WIDTH, _STATE_WIDTH = 13, 7


@dataclass(frozen=True)
class StepRate:
    """How long a training step takes: ``seconds``, on what ``hardware``, and ``how`` that is known.

    ``parts`` are the digests of ``step_parts``; ``operations`` those of the step, None where they are not counted yet.
    """

    parts: dict[str, str]
    hardware: dict[str, Any]
    seconds: float
    how: str
    operations: float | None = None


@dataclass(frozen=True)
class _Rates:
    """The file of step times."""

    rates: list[StepRate]


@dataclass(frozen=True)
class TrainingCost:
    """What cells of one network and task that are still to train cost.

    ``seconds``: of all steps left, one after the other, without evaluations; ``hours``: of the machine for them. Both
    None where the time of a step is not known. ``how``: where that time comes from.
    """

    network: str
    task: str
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
    """Cost by network and task, in ``unit``."""

    unit: str
    costs: list[TrainingCost]

    @property
    def hours(self) -> float:
        """Of all whose steps' time is known."""
        return sum(cost.hours or 0.0 for cost in self.costs)


def step_parts(config: Config) -> dict[str, str]:
    """Digests of what decides how long a training step takes.

    ``network``; ``task`` with loss terms and weighting; ``images``, how many of what size, labelled or not;
    ``precision``, with all that is said of the trainer. Names decide nothing, nor do learning rates and their decay.
    """

    def nameless(part: Any) -> Any:
        if isinstance(part, Mapping):
            return {key: nameless(value) for key, value in part.items() if key != "name"}
        return [nameless(item) for item in part] if isinstance(part, list) else part

    unlabelled = config.get("unlabelled")
    kinds = [unlabelled and unlabelled["batch_size"], bool(config.get("labelled"))]
    parts = {
        "network": config["network"],
        "task": {key: value for key, value in config["task"].items() if key not in ("learning_rate", "decay", "betas")},
        "images": [config["background"]["patch_size_px"], config["schedule"]["batch_size"], *kinds],
        "precision": config["trainer"],
    }
    return {
        name: hashlib.sha256(json.dumps(nameless(part), sort_keys=True).encode()).hexdigest()[:12]
        for name, part in parts.items()
    }


def step_rates(cells: Sequence[Cell], threads: int, console: Console) -> dict[str, StepRate | None]:
    """The rate of every cell by its id; None where nothing is known of it.

    A combination of parts of which nothing is known is measured, and kept in ``runs/step_rates.json``. One that cannot
    be measured, or that the time for measuring does not reach, is guessed: from the nearest rate that is known on this
    machine, by the operations of a step.

    Args:
        cells: at least one.
        threads: CPU threads that a cell uses.
        console: told what is being measured.

    Raises:
        SlackoffError: a network, a task or a rain range cannot be built.
    """
    from slackoff.measurements.timing import measure_step  # imports torch
    from slackoff.record.environment import describe_environment

    runs = cells[0].folder.parents[1]
    hardware = _hardware({**describe_environment(), "threads": threads})
    keys = {cell.id: json.dumps(step_parts(cell.content)) for cell in cells}
    examples = {keys[cell.id]: cell for cell in reversed(cells)}

    measured: list[StepRate] = []
    with suppress(OSError, DamagedFileError):  # a damaged file holds nothing
        measured = read_json(runs / CACHE, _Rates).rates
    recorded = _recorded(runs, hardware, cells)
    known = {json.dumps(rate.parts): rate for rate in measured if rate.hardware == hardware}
    known |= {key: rate for key, (rate, _) in recorded.items()}

    missing = [key for key in examples if key not in known]
    stop = time.monotonic() + _BUDGET_S
    for key in missing:
        if time.monotonic() > stop:
            break
        cell = examples[key]
        console.print(f"measuring a training step of {cell.label['network']} ...", style="dim", markup=False)
        try:
            found = measure_step(cell.config, threads, min(_MOST_S, _BUDGET_S / len(missing)))
        except RuntimeError as error:
            console.print(f"It cannot be measured: {str(error).splitlines()[0]}", style="yellow", markup=False)
            continue
        known[key] = StepRate(json.loads(key), hardware, found.seconds, found.how, _operations(cell.content))
        measured.append(known[key])
        with suppress(OSError):  # a folder that cannot be written costs only the time to measure again
            runs.mkdir(parents=True, exist_ok=True)
            write_json(runs / CACHE, {"rates": [asdict(rate) for rate in measured]})

    if unknown := [key for key in examples if key not in known]:
        known |= {key: replace(rate, operations=_operations(config)) for key, (rate, config) in recorded.items()}
        guesses = {key: _guess(json.loads(key), examples[key].content, known.values()) for key in unknown}
        known |= {key: rate for key, rate in guesses.items() if rate}
    return {identity: known.get(key) for identity, key in keys.items()}


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

    threads = int(slots[0].environment.get("OMP_NUM_THREADS", 1))
    steps = {cell.id: max(0, statuses[cell.id].steps_total - statuses[cell.id].step) for cell in cells}
    trained = [cell for cell in cells if steps[cell.id]]
    rates = step_rates(trained, threads, console) if trained else {}
    on_gpu = "CUDA_VISIBLE_DEVICES" in slots[0].environment and torch.cuda.is_available()
    at_once = 1 if on_gpu else len(slots)
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        task = cell.content["task"]  # such as 'multitask (pcgrad)'
        weighting = (task.get("weighting") or {}).get("name")
        name = f"{task.get('name', '')} ({weighting})" if weighting is not None else str(task.get("name", ""))
        groups.setdefault((str(cell.label["network"]), name), []).append(cell)
    costs = []
    for names, own in groups.items():
        found = [(rates[cell.id], steps[cell.id]) for cell in own if steps[cell.id]]
        seconds = None if any(rate is None for rate, _ in found) else sum(rate.seconds * n for rate, n in found if rate)
        hours = None if seconds is None else seconds / 3600 / at_once
        hows = dict.fromkeys(rate.how if rate else "cannot be measured" for rate, _ in found)
        left = sum(count for _, count in found)
        costs.append(TrainingCost(*names, len(own), left, seconds, hours, "; ".join(hows) or "nothing to train"))
    cpu = f"hours on this machine ({_count(usable_cores(), 'CPU core')}, {_count(len(slots), 'cell')} at once)"
    return Estimate(f"GPU-hours ({torch.cuda.get_device_name()})" if on_gpu else cpu, costs)


def show_dry_run(cells: Sequence[Cell], problems: Sequence[str], slots: Sequence[Slot], console: Console) -> None:
    """Print what a sweep would do: its cells, what is done, what is missing, and what the rest will cost.

    Nothing is written but the cache of step times.

    Args:
        cells: the plan.
        problems: a sentence for each data folder that is missing.
        slots: places for processes.
        console: where to print.

    Raises:
        SlackoffError: a damaged status, or a network, a task or a rain range that cannot be built.
    """
    statuses = {cell.id: cell.status() for cell in cells}
    shown = cells if len(cells) <= _MOST_ROWS else cells[:_FIRST_ROWS]
    console.print(_cell_table(shown, statuses))
    if len(shown) < len(cells):
        console.print(f"... and {len(cells) - len(shown)} more.")
    if len(shown) < len(cells) or cells[0].row:
        console.print(_block_table(cells, statuses))
    if any(cell.provisional for cell in cells):
        console.print("~ the identity changes once the missing data is there", style="dim")
    left = [cell for cell in cells if not cell.is_over(statuses[cell.id])]
    partly = sum(_state(statuses[cell.id]) == "partly" for cell in left)
    rest = f" ({partly} of them partly trained)" if partly else ""
    console.print(
        f"{_count(len(cells), 'cell')}: {len(cells) - len(left)} done, {len(left)} to train{rest}.", highlight=False
    )
    for problem in problems:
        say(console, f"missing: {problem}", "yellow")
    if left:
        _show_cost(estimate_cost(left, statuses, slots, console), console)


def _hardware(environment: Mapping[str, Any]) -> dict[str, Any]:
    """What of an environment decides about speed."""
    if environment.get("gpu"):
        return {"gpu": environment["gpu"]}
    return {key: environment.get(key) for key in ("cpu", "cpu_capability", "bf16_in_hardware", "cores", "threads")}


def _operations(config: Config) -> float | None:
    from slackoff.config.counting import count_step  # imports torch

    with suppress(SlackoffError, RuntimeError):
        return count_step(OmegaConf.create(config)) or None
    return None


def _recorded(runs: Path, hardware: dict[str, Any], cells: Sequence[Cell]) -> dict[str, tuple[StepRate, Config]]:
    """From the done cells of the same networks on the same hardware: the median of each combination, and a config."""
    networks = {cell.label["network"] for cell in cells}
    found: dict[str, tuple[Config, list[float]]] = {}
    for path in runs.glob("cells/*/status.json"):
        folder = path.parent
        with suppress(SlackoffError, OSError, ValueError, KeyError, TypeError, AttributeError):
            status = read_status(folder)
            if status is None or status.state != "done" or status.label.get("network") not in networks:
                continue
            environment = read_json(folder / "environment.json", dict[str, Any])
            if status.train_seconds > 0 and status.steps_total and _hardware(environment) == hardware:
                config = read_config(folder)
                times = found.setdefault(json.dumps(step_parts(config)), (config, []))[1]
                times.append(status.train_seconds / status.steps_total)
    return {
        key: (StepRate(json.loads(key), hardware, median(times), _count(len(times), "done cell")), config)
        for key, (config, times) in found.items()
    }


def _guess(parts: dict[str, str], config: Config, known: Iterable[StepRate]) -> StepRate | None:
    """From the rate with the most parts in common, of these the one nearest in operations: as many operations a second.

    None where no rate is known, or operations cannot be counted.
    """
    operations = _operations(config)
    rates = [rate for rate in known if rate.operations]
    if operations is None or not rates:
        return None

    def distance(rate: StepRate) -> tuple[int, float]:
        other = sum(rate.parts[name] != part for name, part in parts.items())
        return other, abs(math.log((rate.operations or 1) / operations))

    nearest = min(rates, key=distance)
    seconds = nearest.seconds * operations / (nearest.operations or 1)
    return StepRate(parts, nearest.hardware, seconds, "a guess, from the operations of a step", operations)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _state(status: Status) -> str:
    return "done" if status.state == "done" else "partly" if status.step else "missing"


def _cell_table(cells: Sequence[Cell], statuses: Mapping[str, Status]) -> Table:
    axes = list(dict.fromkeys(key for cell in cells for key in cell.axes))
    rows = any(cell.row for cell in cells)
    table = Table("cell", "state", *axes, *(["serves"] if rows else []), box=None, header_style="bold")
    for column in table.columns:
        column.no_wrap = True
    table.columns[0].min_width, table.columns[1].min_width = _ID_WIDTH, _STATE_WIDTH
    for cell in cells:
        status = statuses[cell.id]
        state = _state(status)
        words = f"{state}, {status.step}/{status.steps_total}" if state == "partly" else state
        serves = [cell.row.serves if cell.row else ""] if rows else []
        values = [Text(str(cell.axes.get(key, ""))) for key in axes]
        identity = f"~{cell.id}" if cell.provisional else f" {cell.id}"
        table.add_row(identity, Text(words, style=_STYLES[state]), *values, *map(Text, serves))
    return table


def _block_table(cells: Sequence[Cell], statuses: Mapping[str, Status]) -> Table:
    """How many cells serve what: the manifest's words, or the network where there are none."""
    table = Table("serves", "basis", "cells", *_STYLES, box=None, header_style="bold")
    blocks: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        words = (cell.row.serves, cell.row.basis) if cell.row else (str(cell.label["network"]), "")
        blocks.setdefault(words, []).append(_state(statuses[cell.id]))
    for words, states in blocks.items():
        counts = [str(states.count(state)) for state in _STYLES]
        table.add_row(*map(Text, words), str(len(states)), *counts)
    return table


def _show_cost(estimate: Estimate, console: Console) -> None:
    console.print(f"Cost in {estimate.unit}, training only:", highlight=False, soft_wrap=True)
    table = Table("network", "task", box=None, header_style="bold")
    for column in ("cells", "steps left", "s per step", "hours"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("time of a step")
    for cost in estimate.costs:
        seconds = ("?" if cost.steps else "") if cost.seconds_per_step is None else f"{cost.seconds_per_step:.3g}"
        hours = "?" if cost.hours is None else _hours(cost.hours)
        names = map(Text, (cost.network, cost.task))
        table.add_row(*names, str(cost.cells), f"{cost.steps:,}", seconds, hours, cost.how)
    cells, steps = (sum(column) for column in zip(*((c.cells, c.steps) for c in estimate.costs), strict=True))
    unknown = any(cost.hours is None for cost in estimate.costs)
    total = f"{_hours(estimate.hours)}{' and more' if unknown else ''}"
    table.add_row("in all", "", str(cells), f"{steps:,}", "", total, "", style="bold")
    console.print(table)
    console.print(
        "Measured times are kept in step_rates.json among the records: remove it to measure again.", style="dim"
    )


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}" if hours >= 0.01 else "under 0.01"
