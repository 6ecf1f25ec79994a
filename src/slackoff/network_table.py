"""The network presets side by side: how large each is, what an image costs, where it comes from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode
from yaml import YAMLError

from slackoff.build import build
from slackoff.errors import SlackoffError
from slackoff.hydra_app import config_folder

SIDE_PX = 128


@dataclass(frozen=True)
class NetworkRow:
    """What is known of a preset without training it.

    ``gflops``: 1e9 operations for one RGB image of 128x128; a multiply-add is two. Counted are convolutions and matrix
    products, not norms, activations and sums. ``paper`` is empty for a network that names none.
    """

    preset: str
    parameters: int
    gflops: float
    paper: str


def measure_presets(conf: Path | None = None) -> list[NetworkRow]:
    """One row for each preset in ``network/`` of a Hydra tree (the project's if None), smallest first.

    Raises:
        SlackoffError: a preset that cannot be read, or describes no network for images.
    """
    conf = conf or config_folder()
    presets = sorted(path.stem for path in (conf / "network").glob("*.yaml"))
    with initialize_config_dir(str(conf), version_base="1.3"):
        nodes = {preset: _compose(preset) for preset in presets}
    return sorted((_measure(preset, node) for preset, node in nodes.items()), key=lambda row: row.parameters)


def network_table(rows: Sequence[NetworkRow]) -> Table:
    """The rows as text for a terminal."""
    table = Table(
        title=f"Networks (network=...). GFLOPs for one {SIDE_PX}x{SIDE_PX} image, a multiply-add is two",
        title_justify="left",
        title_style="",
        box=None,
        header_style="bold",
    )
    table.add_column("network", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("GFLOPs", justify="right", no_wrap=True)
    table.add_column("paper")
    for row in rows:
        table.add_row(row.preset, f"{row.parameters:,}", f"{row.gflops:.2f}", row.paper)
    return table


def _compose(preset: str) -> DictConfig:
    try:
        return compose(f"network/{preset}").network
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise SlackoffError(f"network/{preset}.yaml cannot be read: {' '.join(str(error).split())}") from error


@torch.no_grad()
def _measure(preset: str, node: DictConfig) -> NetworkRow:
    with torch.device("meta"):  # sizes without values: nothing is computed
        network = build(node, f"network={preset}").to("meta").eval()
        image = torch.empty(1, 3, SIDE_PX, SIDE_PX)
    try:
        with FlopCounterMode(display=False) as counter:
            network(image)
    except RuntimeError as error:
        sentence = " ".join(str(error).split())
        raise SlackoffError(f"network={preset} does not take an image without values: {sentence}") from error
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return NetworkRow(preset, parameters, counter.get_total_flops() / 1e9, getattr(network, "paper", ""))
