"""Seconds a training step takes on this machine: from cells that are done, from a cache, or measured now."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import yaml
from rich.console import Console

from slackoff.errors import SlackoffError
from slackoff.record.environment import describe_environment
from slackoff.record.files import write_json
from slackoff.record.status import read_status
from slackoff.sweep.expand import Config
from slackoff.sweep.manifest import Loader
from slackoff.sweep.plan import Cell
from slackoff.sweep.step_rate import StepTime, measure_step

CACHE = "step_rates.json"
_BUDGET_S = 36.0  # for all measurements together
_MOST_S = 8.0  # for one of them


def step_kind(config: Config) -> str:
    """A digest of what decides how long a training step takes: network, loss, batches, patch, precision."""
    network = {key: value for key, value in config["network"].items() if key != "name"}
    trainer = config["trainer"]
    shape = (config["background"]["patch_size_px"], config["schedule"]["batch_size"])
    content = [network, config["task"].get("loss"), shape, trainer]
    if unlabelled := config.get("unlabelled"):
        content += [unlabelled["batch_size"], config["task"]["_target_"]]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def step_times(cells: Sequence[Cell], threads: int, console: Console) -> dict[str, StepTime | None]:
    """The time of a step for every kind of step that the cells take; None where it cannot be measured.

    What is measured here is kept in ``runs/step_rates.json`` with the hardware it was measured on.

    Args:
        cells: at least one.
        threads: CPU threads that a cell uses.
        console: told what is being measured.

    Raises:
        SlackoffError: a network, a task or a rain range cannot be built.
    """
    runs = cells[0].folder.parents[1]
    hardware = _hardware({**describe_environment(), "threads": threads})
    examples = {step_kind(cell.content): cell for cell in reversed(cells)}
    known = _cached(runs / CACHE, hardware) | _recorded(runs, hardware, cells)
    missing = [kind for kind in examples if kind not in known]
    budget_s = min(_MOST_S, _BUDGET_S / max(1, len(missing)))
    measured: dict[str, StepTime | None] = {}
    for kind in missing:
        console.print(f"measuring a training step of {examples[kind].label['network']} ...", style="dim")
        try:
            measured[kind] = measure_step(examples[kind].config, threads, budget_s)
        except RuntimeError as error:
            console.print(f"It cannot be measured: {str(error).splitlines()[0]}", style="yellow")
            measured[kind] = None
    if measured:
        _keep(runs / CACHE, hardware, examples, measured)
    return {kind: known.get(kind) or measured.get(kind) for kind in examples}


def _hardware(environment: dict[str, Any]) -> dict[str, Any]:
    """What of an environment decides about speed."""
    if environment.get("gpu"):
        return {"gpu": environment["gpu"]}
    return {key: environment.get(key) for key in ("cpu", "cpu_capability", "bf16_in_hardware", "cores", "threads")}


def _recorded(runs: Path, hardware: dict[str, Any], cells: Sequence[Cell]) -> dict[str, StepTime]:
    """From the done cells of the same networks on the same hardware: the median of each kind."""
    networks = {cell.label["network"] for cell in cells}
    found: dict[str, list[float]] = {}
    for path in runs.glob("cells/*/status.json"):
        folder = path.parent
        with suppress(SlackoffError, OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
            status = read_status(folder)
            if status is None or status.state != "done" or status.label.get("network") not in networks:
                continue
            environment = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
            if status.train_seconds > 0 and status.steps_total and _hardware(environment) == hardware:
                config = yaml.load((folder / "config.yaml").read_text(encoding="utf-8"), Loader)
                found.setdefault(step_kind(config), []).append(status.train_seconds / status.steps_total)
    return {kind: StepTime(median(times), f"{len(times)} done cells") for kind, times in found.items()}


def _cached(path: Path, hardware: dict[str, Any]) -> dict[str, StepTime]:
    entries = [entry for entry in _entries(path) if entry.get("hardware") == hardware]
    return {entry["kind"]: StepTime(entry["seconds_per_step"], entry["how"]) for entry in entries}


def _entries(path: Path) -> list[dict[str, Any]]:
    """What the cache holds; a damaged one holds nothing."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        entries = json.loads(path.read_text(encoding="utf-8"))["rates"]
        return [entry for entry in entries if {"kind", "seconds_per_step", "how", "hardware"} <= entry.keys()]
    return []


def _keep(path: Path, hardware: dict[str, Any], examples: dict[str, Cell], new: dict[str, StepTime | None]) -> None:
    entries = _entries(path)
    for kind, found in new.items():
        if found is not None:
            content = examples[kind].content
            entries.append(
                {
                    "kind": kind,
                    "hardware": hardware,
                    "network": examples[kind].label["network"],
                    "patch_size_px": content["background"]["patch_size_px"],
                    "batch_size": content["schedule"]["batch_size"],
                    "precision": content["trainer"]["precision"],
                    "seconds_per_step": found.seconds,
                    "how": found.how,
                }
            )
    with suppress(OSError):  # a folder that cannot be written costs only the time to measure again
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"rates": entries})
