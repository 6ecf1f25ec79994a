"""The presets of networks in the Hydra tree that ships with the package, and what they cost, counted without computing.

Operations are those of convolutions and matrix products, not of norms, activations and sums; a multiply-add is two.
They are counted on torch's meta device, on sizes without values.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode
from yaml import YAMLError

from slackoff.config import build, config_folder
from slackoff.errors import SlackoffError, did_you_mean
from slackoff.networks.interfaces import PerImageMethod

TABLE_SIDE_PX = 128
"""Side of the image that the table of presets counts on."""


def preset_names() -> list[str]:
    """The presets in ``network/`` of the Hydra tree, by name."""
    return sorted(path.stem for path in (config_folder() / "network").glob("*.yaml"))


def check_presets(names: Collection[str], key: str) -> None:
    """Refuse names of no preset.

    Raises:
        SlackoffError: with the name that comes closest, and the key under which the wrong one was given.
    """
    known = preset_names()
    for name in names:
        if name not in known:
            cure = did_you_mean(name, known, "see python -m slackoff networks.")
            raise SlackoffError(f"There is no network '{name}' ({key}): {cure}")


def compose_preset(preset: str) -> DictConfig:
    """The node of a preset.

    Raises:
        SlackoffError: its file cannot be read.
    """
    try:
        with _outside_hydra(), initialize_config_dir(str(config_folder()), version_base="1.3"):
            node = compose(f"network/{preset}").network
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise SlackoffError(f"network/{preset}.yaml cannot be read: {' '.join(str(error).split())}") from error
    assert isinstance(node, DictConfig)
    return node


@contextmanager
def _outside_hydra() -> Iterator[None]:
    """Lets other configs be composed also inside a command that Hydra runs, which is given its own tree back."""
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = outer


@dataclass(frozen=True)
class NetworkCounts:
    """What is known of a network without running it.

    ``gflops``: 1e9 operations for one RGB image; None for a method whose operations depend on the image. ``paper`` is
    empty for a network that names none.
    """

    preset: str
    parameters: int
    gflops: float | None
    paper: str


@torch.no_grad()
def count_network(preset: str, node: DictConfig, side_px: int) -> NetworkCounts:
    """Parameters, and operations for one image of ``side_px`` x ``side_px``.

    Raises:
        SlackoffError: the node describes no network, or one that does not take an image.
    """
    with torch.device("meta"):
        network = build.build(node, f"network={preset}").to("meta").eval()
        image = torch.empty(1, 3, side_px, side_px)
    try:
        with FlopCounterMode(display=False) as counter:
            network(image)
    except RuntimeError as error:
        sentence = " ".join(str(error).split())
        raise SlackoffError(f"network={preset} does not take an image without values: {sentence}") from error
    parameters = sum(parameter.numel() for parameter in network.parameters())
    gflops = None if isinstance(network, PerImageMethod) else counter.get_total_flops() / 1e9
    return NetworkCounts(preset, parameters, gflops, getattr(network, "paper", ""))


def count_presets() -> list[NetworkCounts]:
    """The counts of each preset, for an image of 128 x 128, the network with the fewest parameters first.

    Raises:
        SlackoffError: a preset that cannot be read, or describes no network for images.
    """
    rows = [count_network(preset, compose_preset(preset), TABLE_SIDE_PX) for preset in preset_names()]
    return sorted(rows, key=lambda row: row.parameters)


def preset_table(rows: Sequence[NetworkCounts]) -> Table:
    """The counts of presets as text for a terminal."""
    title = f"Networks (network=...). GFLOPs for one {TABLE_SIDE_PX}x{TABLE_SIDE_PX} image, a multiply-add is two"
    table = Table(title=title, title_justify="left", title_style="", box=None, header_style="bold")
    table.add_column("network", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("GFLOPs", justify="right", no_wrap=True)
    table.add_column("paper")
    for row in rows:
        gflops = "-" if row.gflops is None else f"{row.gflops:.2f}"
        table.add_row(row.preset, f"{row.parameters:,}", gflops, row.paper)
    return table
