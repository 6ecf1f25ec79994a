"""The network presets side by side: how large each is, what an image costs, where it comes from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from slackoff.config import config_folder
from slackoff.config.presets import compose_preset, count, preset_names

SIDE_PX = 128


@dataclass(frozen=True)
class NetworkRow:
    """What is known of a preset without training it.

    ``gflops``: for one RGB image of 128x128, counted as in ``slackoff.config.presets.Counts``. ``paper`` is empty for a
    network that names none.
    """

    preset: str
    parameters: int
    gflops: float | None
    paper: str


def measure_presets(conf: Path | None = None) -> list[NetworkRow]:
    """One row for each preset in ``network/`` of a Hydra tree (the project's if None), smallest first.

    Raises:
        SlackoffError: a preset that cannot be read, or describes no network for images.
    """
    conf = conf or config_folder()
    nodes = {preset: compose_preset(preset, conf) for preset in preset_names(conf)}
    counted = {preset: count(preset, node, SIDE_PX) for preset, node in nodes.items()}
    rows = [NetworkRow(preset, found.parameters, found.gflops, found.paper) for preset, found in counted.items()]
    return sorted(rows, key=lambda row: row.parameters)


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
        gflops = "-" if row.gflops is None else f"{row.gflops:.2f}"
        table.add_row(row.preset, f"{row.parameters:,}", gflops, row.paper)
    return table
