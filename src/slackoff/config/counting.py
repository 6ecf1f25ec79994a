"""What networks and training steps cost, counted without computing: parameters and floating-point operations.

Operations are those of convolutions and matrix products, not of norms, activations and sums; a multiply-add is two.
Everything runs on torch's meta device, on sizes without values; what a class of another package cannot do there, on the
CPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from omegaconf import DictConfig
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from slackoff.config import build
from slackoff.config.presets import compose_preset, preset_names
from slackoff.data import RainyBatch
from slackoff.errors import SlackoffError
from slackoff.networks.interfaces import PerImageMethod

TABLE_SIDE_PX = 128
"""Side of the image that the table of presets counts on."""


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

    def count(device: torch.device) -> NetworkCounts:
        with device:
            network = build.build(node, f"network={preset}").to(device).eval()
            image = torch.zeros(1, 3, side_px, side_px)
        try:
            with FlopCounterMode(display=False) as counter:
                network(image)
        except RuntimeError as error:
            sentence = " ".join(str(error).split())
            raise SlackoffError(f"network={preset} does not take an image without values: {sentence}") from error
        parameters = sum(parameter.numel() for parameter in network.parameters())
        gflops = None if isinstance(network, PerImageMethod) else counter.get_total_flops() / 1e9
        return NetworkCounts(preset, parameters, gflops, getattr(network, "paper", ""))

    return build.without_values(node, count)


def count_step(config: DictConfig) -> float:
    """Operations of a training step of a cell, forwards and backwards, at its last step, where all parts of a regime
    are at work; 0 where nothing is trained. Finds a network, a task and a loss that do not fit.

    Raises:
        SlackoffError: network or task cannot be built, or the task gives no optimiser.
    """
    side, unlabelled = config.background.patch_size_px, config.get("unlabelled")

    def count(device: torch.device) -> float:
        with device, FlopCounterMode(display=False) as counter:
            task = build.build_task(config, build.build_network(config))
            images = torch.zeros(max(2, config.schedule.batch_size), 3, side, side)
            rainy = torch.zeros(unlabelled.batch_size, 3, side, side) if unlabelled else None
            batch = RainyBatch(images, images[:, :1], images, rainy)
            loss = task.losses(batch, config.schedule.steps - 1)["loss"]
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
        try:
            task.configure_optimizers()
        except (TypeError, ValueError, IndexError) as error:
            raise SlackoffError(f"task does not give an optimiser: {error}") from error
        return float(counter.get_total_flops())

    return build.without_values([config.network, config.task], count)


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
