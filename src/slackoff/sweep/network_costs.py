"""What the networks of a study cost: measured on this machine when its cells are trained, kept beside study.json."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from slackoff.analysis.network_costs import FILE
from slackoff.errors import SlackoffError
from slackoff.record.files import write_json
from slackoff.sweep.aside import Aside
from slackoff.sweep.plan import Cell

KEY = "study.options.cost"


@dataclass(frozen=True)
class CostSettings:
    """What ``study.options.cost`` says.

    Args:
        size_px: side of the image that is timed and counted on.
        rounds: timed passes of a network that is fast enough, each in a round through all networks.
        budget_s: about so long is each network timed; a slow one gets fewer rounds, one at least.

    Raises:
        SlackoffError: a number that cannot be.
    """

    size_px: int = 224
    rounds: int = 10
    budget_s: float = 3.0

    def __post_init__(self) -> None:
        for name, least in {"size_px": 16, "rounds": 1}.items():
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise SlackoffError(f"{KEY}.{name}={value} cannot be: give a whole number from {least} up")
        if type(self.budget_s) not in (int, float) or not 0 < self.budget_s < math.inf:
            raise SlackoffError(f"{KEY}.budget_s={self.budget_s} cannot be: give seconds above 0")


def cost_settings(config: DictConfig) -> CostSettings | None:
    """The settings of a study; None for one that does not ask for costs.

    Raises:
        SlackoffError: an unknown setting, or a value that cannot be.
    """
    node = config.study.options.get("cost")
    if node is None:
        return None
    given: Any = OmegaConf.to_container(node) if OmegaConf.is_config(node) else node
    known = CostSettings.__dataclass_fields__
    if not isinstance(given, dict) or (unknown := set(given) - set(known)):
        what = f"{KEY}={given}" if not isinstance(given, dict) else f"{KEY}.{min(unknown)}"
        raise SlackoffError(f"{what} is not known: give {', '.join(known)}")
    return CostSettings(**given)


def check_network_costs(cells: Sequence[Cell]) -> None:
    """Find, before anything is trained, what ``keep_network_costs`` would find after it; raises as that does."""
    if cost_settings(cells[0].config):
        _networks(cells)


def keep_network_costs(cells: Sequence[Cell], folder: Path, console: Console) -> None:
    """Measure what each network of the cells costs, unless that was done on this machine; keep it in ``folder``.

    Raises:
        SlackoffError: a setting that cannot be, or one name for two networks.
    """
    settings = cost_settings(cells[0].config)
    if settings is None:
        return
    networks = _networks(cells)
    with Aside() as aside:
        described = aside(_machine)
        asked = {"settings": asdict(settings), "configs": networks, **described}
        if _kept(folder) == asked:
            return
        console.print(f"Timing {len(networks)} networks, about {settings.budget_s:g} s each ...", style="dim")
        rows = aside(_measure, networks, settings)
    write_json(folder / FILE, asked | {"networks": rows})


def _networks(cells: Sequence[Cell]) -> dict[str, Any]:
    """The config of each network by its name."""
    found: dict[str, Any] = {}
    for cell in cells:
        name, node = str(cell.label["network"]), cell.content["network"]
        if found.setdefault(name, node) != node:
            raise SlackoffError(f"Two networks of this study have the name {name}: give one another network.name=...")
    return found


def _kept(folder: Path) -> dict[str, Any] | None:
    """What was asked for when the costs in a folder were measured; None where there are none, or they are damaged."""
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return {key: value for key, value in content.items() if key != "networks"}
    except (OSError, ValueError, AttributeError):
        return None


def _machine() -> dict[str, Any]:
    """What of machine and versions decides the seconds, and the device in words."""
    import torch

    from slackoff.record.environment import describe_environment

    found = describe_environment()
    threads = torch.get_num_threads()
    device = found["gpu"] or f"{found['cpu'] or 'unknown CPU'}, {threads} thread{'s' * (threads != 1)}"
    return {"hardware": device, "cores": found["cores"], "torch": found["packages"]["torch"]}


def _measure(networks: Mapping[str, Any], settings: CostSettings) -> list[dict[str, Any]]:
    """A row for each network: ``network``, ``parameters``, ``gflops`` (None: not to be counted), ``seconds`` of all
    timed passes, ``failure`` (empty: none)."""
    import torch

    from slackoff.config.build import build
    from slackoff.config.presets import Counts, count
    from slackoff.evaluation.runtime import Pass, Rounds, network_pass, sentence, time_in_rounds

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    passes: dict[str, Pass] = {}
    counts: dict[str, Counts] = {}
    refused: dict[str, str] = {}
    for name, content in networks.items():
        node = OmegaConf.create(content)
        try:
            counts[name] = count(name, node, settings.size_px)
            passes[name] = network_pass(build(node, "network"), device)
        except SlackoffError as error:
            refused[name] = sentence(error)
    timings = time_in_rounds(passes, settings.size_px, Rounds(settings.rounds, settings.budget_s, warm_up=1))
    failures = refused | timings.failures
    return [
        {
            "network": name,
            "parameters": counts[name].parameters if name in counts else 0,
            "gflops": counts[name].gflops if name in counts else None,
            "seconds": list(timings.seconds.get(name, {}).values()),
            "failure": failures.get(name, ""),
        }
        for name in networks
    ]
