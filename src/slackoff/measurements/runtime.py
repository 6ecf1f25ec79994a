"""How long networks take for an image on this machine, and what they are made of: presets, or those of a study."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf

from slackoff.config.build import build
from slackoff.config.counting import NetworkCounts, count_network
from slackoff.config.presets import check_presets, compose_preset, preset_names
from slackoff.config.schema import AtLeast, Count
from slackoff.errors import SlackoffError, one_line
from slackoff.measurements.study import KEY, Measurement
from slackoff.measurements.timing import Pass, Rounds, cpu_threads, network_pass, time_in_rounds
from slackoff.record.environment import describe_environment

Device = Literal["cpu", "cuda"]
COST_KEY = "study.options.cost"
"""Where a config says how what its networks cost is measured."""

_VERSION = 1
"""Raise it when the same settings on the same machine would give other numbers."""


@dataclass(frozen=True)
class RuntimeMeasurement(Measurement):
    """What a config node ``study.measure`` builds: seconds per image of network presets, side by side.

    Networks are in evaluation mode without gradients, in float32 (TF32 off), with batch 1 and weights as they start.

    Args:
        networks: presets; None for all.
        size_px: side of the image.
        rounds: timed passes of a network that is fast enough, each in a round of its own.
        budget_s: about so long is each network timed on a device; a slow one gets fewer rounds, one at least.
        warm_up: passes before, as far as they fit into the budget.
        threads: of the CPU; None for as many as torch takes.
        devices: 'cpu' and/or 'cuda'; None for the CPU, and a GPU where there is one.
        reference: the preset that ratios refer to; None for the fastest. Only the report depends on it.

    Raises:
        SlackoffError: a setting that cannot be, or a name of no preset.
    """

    kind: ClassVar[str] = "runtime"
    drawing: ClassVar[frozenset[str]] = frozenset({"reference"})
    key: ClassVar[str] = KEY

    networks: Sequence[str] | None = None
    size_px: Annotated[int, AtLeast(16)] = 224
    rounds: Count = 20
    budget_s: float = 6.0
    warm_up: Annotated[int, AtLeast(0)] = 2
    threads: Count | None = None
    devices: Sequence[Device] | None = None
    reference: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.budget_s < math.inf:
            raise SlackoffError(f"{self.key}.budget_s={self.budget_s} cannot be: give seconds above 0.")
        for name in ("networks", "devices"):
            if getattr(self, name) is not None and not getattr(self, name):
                raise SlackoffError(f"{KEY}.{name}=[] leaves nothing to measure: name one, or give null for all.")
        if self.devices is not None and "cuda" in self.devices and not torch.cuda.is_available():
            raise SlackoffError(f"{KEY}.devices={list(self.devices)}: torch finds no GPU here; give [cpu], or null.")
        check_presets(self.networks or (), f"{KEY}.networks")
        if self.reference is not None:
            check_presets([self.reference], f"{KEY}.reference")
            if self.reference not in self.names:
                raise SlackoffError(f"{KEY}.reference={self.reference} is not measured: add it to {KEY}.networks.")

    @property
    def names(self) -> list[str]:
        """The networks that are measured, each once."""
        return list(dict.fromkeys(self.networks)) if self.networks is not None else preset_names()

    def node(self, name: str) -> DictConfig:
        """The config of a network.

        Raises:
            SlackoffError: a preset whose file cannot be read.
        """
        return compose_preset(name)

    @property
    def timed_devices(self) -> list[str]:
        """The devices on which they are measured."""
        wanted = self.devices if self.devices is not None else ["cpu", "cuda"][: 1 + torch.cuda.is_available()]
        return sorted(set(wanted))

    @property
    def announcement(self) -> str:
        """What is going to be measured."""
        where = " and ".join(device.upper() for device in self.timed_devices).replace("CUDA", "GPU")
        image = f"an image of {self.size_px}x{self.size_px}"
        how_long = f"about {self.budget_s:g} s each, and one pass at least"
        return f"Timing {len(self.names)} networks on {image} ({where}): {how_long}."

    def identity(self) -> list[Any]:
        """The settings, the networks' configs, and the machine and versions at hand."""
        settings = [_VERSION, self.size_px, self.rounds, self.budget_s, self.warm_up, self.timed_devices]
        nodes = []
        for name in self.names:
            try:
                nodes.append([name, OmegaConf.to_container(self.node(name))])
            except SlackoffError:
                nodes.append([name, None])  # measuring will tell
        described = describe_environment()
        machine = [described[key] for key in ("cpu", "cores", "gpu", "python")]
        versions = [described["packages"][name] for name in ("slackoff", "torch")]
        return [settings, nodes, machine, versions, self.threads or torch.get_num_threads()]

    def measure(self) -> pd.DataFrame:
        """Time every network.

        Returns:
            One row per network, device and round: ``network``, ``device``, ``round``, ``seconds``, ``threads`` (of the
            CPU), ``parameters``, ``gflops`` (for this image, a multiply-add is two), ``paper``, ``failure`` (empty). A
            network that failed on a device has one row there, its ``failure`` a sentence, without seconds.
        """
        counts: dict[str, NetworkCounts] = {}
        with cpu_threads(self.threads):
            return pd.DataFrame([row for device in self.timed_devices for row in self._measure_on(device, counts)])

    def _measure_on(self, device: str, counts: dict[str, NetworkCounts]) -> Iterator[dict[str, Any]]:
        """The rows of a device; what is counted here, and was not yet, is kept in ``counts``."""
        passes: dict[str, Pass] = {}
        failures: dict[str, str] = {}
        for name in self.names:
            try:
                node = self.node(name)
                torch.manual_seed(0)
                network = build(node, f"network={name}")
                if not isinstance(network, torch.nn.Module):
                    raise SlackoffError(f"network={name} is no network but a {type(network).__name__}")
                passes[name] = network_pass(network, torch.device(device))
                if name not in counts:
                    counts[name] = _count(name, node, network, self.size_px)
            except Exception as error:  # one network must not take down the others
                failures[name] = one_line(error)
        timings = time_in_rounds(passes, self.size_px, Rounds(self.rounds, self.budget_s, self.warm_up))
        failures |= timings.failures
        for name in self.names:
            known = counts.get(name, NetworkCounts(name, 0, None, ""))
            common = {
                "network": name,
                "device": device,
                "threads": self.threads or torch.get_num_threads(),
                "parameters": known.parameters,
                "gflops": math.nan if known.gflops is None else known.gflops,
                "paper": known.paper,
                "failure": failures.get(name, ""),
            }
            for number, seconds in timings.seconds.get(name, {-1: math.nan}).items():
                yield common | {"round": number, "seconds": seconds}


@dataclass(frozen=True)
class NetworkCostMeasurement(RuntimeMeasurement):
    """What ``study.options.cost`` asks for: the same of the networks of a study that trains, on its first GPU or CPU.

    Args:
        size_px, rounds, budget_s: see ``RuntimeMeasurement``.
        nodes: the config of each network by its name.
    """

    key: ClassVar[str] = COST_KEY

    rounds: Count = 10
    budget_s: float = 3.0
    warm_up: int = 1
    nodes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return list(self.nodes)

    def node(self, name: str) -> DictConfig:
        return OmegaConf.create(self.nodes[name])

    @property
    def timed_devices(self) -> list[str]:
        return super().timed_devices[-1:]


def _count(name: str, node: DictConfig, network: torch.nn.Module, side_px: int) -> NetworkCounts:
    """As ``count_network``; without operations where they cannot be counted, for the network may run all the same."""
    try:
        return count_network(name, node, side_px)
    except SlackoffError:
        parameters = sum(parameter.numel() for parameter in network.parameters())
        return NetworkCounts(name, parameters, None, getattr(network, "paper", ""))
