"""How long each network preset takes for one image on this machine, and what it is made of."""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf

from slackoff.config.build import build
from slackoff.config.presets import Counts, check_presets, compose_preset, count, preset_names
from slackoff.errors import SlackoffError
from slackoff.evaluation.complexity import KEY
from slackoff.evaluation.runtime import Pass, Rounds, Timings, network_pass, sentence, time_in_rounds
from slackoff.record.environment import describe_environment

DEVICES = ("cpu", "cuda")

_VERSION = 1
"""Raise it when the same settings on the same machine would give other numbers."""


@dataclass(frozen=True)
class RuntimeMeasurement:
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

    networks: Sequence[str] | None = None
    size_px: int = 224
    rounds: int = 20
    budget_s: float = 6.0
    warm_up: int = 2
    threads: int | None = None
    devices: Sequence[str] | None = None
    reference: str | None = None

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_devices()
        if self.networks is not None and (isinstance(self.networks, str) or not self.networks):
            raise SlackoffError(f"{KEY}.networks={self.networks} is no list of presets: give [unet,resnet], or null.")
        check_presets(self.networks or (), f"{KEY}.networks")
        if self.reference is not None:
            check_presets([self.reference], f"{KEY}.reference")
            if self.reference not in self.names:
                raise SlackoffError(f"{KEY}.reference={self.reference} is not measured: add it to {KEY}.networks.")

    @property
    def names(self) -> list[str]:
        """The presets that are measured, each once."""
        return list(dict.fromkeys(self.networks)) if self.networks is not None else preset_names()

    @property
    def timed_devices(self) -> list[str]:
        """The devices on which they are measured."""
        if self.devices is not None:
            return [device for device in DEVICES if device in self.devices]
        return [device for device in DEVICES if device == "cpu" or torch.cuda.is_available()]

    @property
    def announcement(self) -> str:
        """What is going to be measured."""
        where = " and ".join(device.upper() for device in self.timed_devices).replace("CUDA", "GPU")
        image = f"an image of {self.size_px}x{self.size_px}"
        how_long = f"about {self.budget_s:g} s each, and one pass at least"
        return f"Timing {len(self.names)} networks on {image} ({where}): {how_long}."

    def settled(self, folder: Path) -> str:
        """That this machine has timed them before, and how to time them again."""
        again = f"Remove {folder} to measure again."
        return f"These networks are measured already on this machine: only the report is drawn. {again}"

    def fingerprint(self) -> str:
        """Hexadecimal digest of the settings, the presets' contents, and the machine and versions at hand."""
        settings = [_VERSION, self.size_px, self.rounds, self.budget_s, self.warm_up, self.timed_devices]
        nodes = [[name, _content(name)] for name in self.names]
        described = describe_environment()
        machine = [described[key] for key in ("cpu", "cores", "gpu", "python")]
        versions = [described["packages"][name] for name in ("slackoff", "torch")]
        content = [settings, nodes, machine, versions, self.threads or torch.get_num_threads()]
        return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()

    def measure(self) -> pd.DataFrame:
        """Time every network.

        Returns:
            One row per network, device and round: ``network``, ``device``, ``round``, ``seconds``, ``threads`` (of the
            CPU), ``parameters``, ``gflops`` (for this image, a multiply-add is two), ``paper``, ``failure`` (empty). A
            network that failed on a device has one row there, its ``failure`` a sentence, without seconds.
        """
        counts: dict[str, Counts] = {}
        rows: list[dict[str, Any]] = []
        rounds = Rounds(self.rounds, self.budget_s, self.warm_up)
        with _threads(self.threads):
            for device in self.timed_devices:
                passes, refused = self._passes(torch.device(device), counts)
                timings = time_in_rounds(passes, self.size_px, rounds)
                rows += self._rows(device, timings, refused, counts)
        return pd.DataFrame(rows)

    def write_further(self, folder: Path) -> None:
        """Nothing: all is in the rows."""

    def failures(self, rows: pd.DataFrame) -> list[str]:
        """A sentence for each network that failed on a device."""
        failed = rows[rows["failure"] != ""]
        return [
            f"network={row.network} on the {'GPU' if row.device == 'cuda' else 'CPU'}: {row.failure}"
            for row in failed.itertuples()
        ]

    def _passes(self, device: torch.device, counts: dict[str, Counts]) -> tuple[dict[str, Pass], dict[str, str]]:
        """The passes of each network, and what kept a network from being built."""
        passes: dict[str, Pass] = {}
        refused: dict[str, str] = {}
        for name in self.names:
            try:
                node = compose_preset(name)
                passes[name] = network_pass(_build(name, node), device)
            except Exception as error:  # one preset must not take down the others
                refused[name] = sentence(error)
                continue
            if name not in counts:
                counts[name] = _count(name, node, self.size_px)
        return passes, refused

    def _rows(
        self, device: str, timings: Timings, refused: dict[str, str], counts: dict[str, Counts]
    ) -> Iterator[dict[str, Any]]:
        failures = refused | timings.failures
        for name in self.names:
            known = counts.get(name, Counts(0, math.nan, ""))
            common = {
                "network": name,
                "device": device,
                "threads": self.threads or torch.get_num_threads(),
                "parameters": known.parameters,
                "gflops": math.nan if known.gflops is None else known.gflops,
                "paper": known.paper,
                "failure": failures.get(name, ""),
            }
            if name in failures:
                yield common | {"round": -1, "seconds": math.nan}
            for number, seconds in timings.seconds.get(name, {}).items():
                yield common | {"round": number, "seconds": seconds}

    def _check_numbers(self) -> None:
        for key, least in {"size_px": 16, "rounds": 1, "warm_up": 0, "threads": 1}.items():
            value = getattr(self, key)
            if key == "threads" and value is None:
                continue
            if type(value) is not int or value < least:
                raise SlackoffError(f"{KEY}.{key}={value} cannot be: give a whole number from {least} up.")
        if type(self.budget_s) not in (int, float) or not 0 < self.budget_s < math.inf:
            raise SlackoffError(f"{KEY}.budget_s={self.budget_s} cannot be: give seconds above 0.")

    def _check_devices(self) -> None:
        if self.devices is None:
            return
        if isinstance(self.devices, str) or not self.devices or set(self.devices) - set(DEVICES):
            raise SlackoffError(f"{KEY}.devices={self.devices} cannot be: give [cpu], [cuda], [cpu,cuda], or null.")
        if "cuda" in self.devices and not torch.cuda.is_available():
            raise SlackoffError(f"{KEY}.devices={list(self.devices)}: torch finds no GPU here; give [cpu], or null.")


def _content(name: str) -> Any:
    """What a preset says; nothing where it cannot be read, which measuring it will tell."""
    try:
        return OmegaConf.to_container(compose_preset(name))
    except SlackoffError:
        return None


def _build(name: str, node: DictConfig) -> torch.nn.Module:
    torch.manual_seed(0)
    network = build(node, f"network={name}")
    if not isinstance(network, torch.nn.Module):
        raise SlackoffError(f"network={name} is no network but a {type(network).__name__}")
    return network


def _count(name: str, node: DictConfig, side_px: int) -> Counts:
    """As ``count``; without operations where they cannot be counted, for the network may run all the same."""
    try:
        return count(name, node, side_px)
    except SlackoffError:
        network = _build(name, node)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        return Counts(parameters, math.nan, getattr(network, "paper", ""))


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
