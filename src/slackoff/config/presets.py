"""The Hydra tree that ships with the package, and the presets of networks in it, without training."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from torch.utils.flop_counter import FlopCounterMode
from yaml import YAMLError

from slackoff.config import config_folder
from slackoff.config.build import build
from slackoff.errors import SlackoffError, did_you_mean
from slackoff.networks.interfaces import PerImageMethod


@dataclass(frozen=True)
class Counts:
    """What a network has without values.

    ``gflops``: 1e9 operations for one RGB image; a multiply-add is two. Counted are convolutions and matrix products,
    not norms, activations and sums. None for a method whose operations depend on the image. ``paper`` is empty for a
    network that names none.
    """

    parameters: int
    gflops: float | None
    paper: str


def preset_names(conf: Path | None = None) -> list[str]:
    """The presets in ``network/`` of a Hydra tree (the project's if None), by name."""
    return sorted(path.stem for path in ((conf or config_folder()) / "network").glob("*.yaml"))


def check_presets(names: Collection[str], key: str, conf: Path | None = None) -> None:
    """Refuse names of no preset.

    Raises:
        SlackoffError: with the name that comes closest, and the key under which the wrong one was given.
    """
    known = preset_names(conf)
    for name in names:
        if name not in known:
            cure = did_you_mean(name, known, "see python -m slackoff networks.")
            raise SlackoffError(f"There is no network '{name}' ({key}): {cure}")


def compose_preset(preset: str, conf: Path | None = None) -> DictConfig:
    """The node of a preset.

    Raises:
        SlackoffError: its file cannot be read.
    """
    try:
        with _tree(conf or config_folder()):
            node = compose(f"network/{preset}").network
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise SlackoffError(f"network/{preset}.yaml cannot be read: {' '.join(str(error).split())}") from error
    assert isinstance(node, DictConfig)
    return node


@contextmanager
def _tree(conf: Path) -> Iterator[None]:
    """Compose from a tree, also inside a command that Hydra runs, which is given its own tree back."""
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = outer


@torch.no_grad()
def count(preset: str, node: DictConfig, side_px: int) -> Counts:
    """Parameters, and operations for one image of ``side_px`` x ``side_px``; nothing is computed.

    Raises:
        SlackoffError: the node describes no network, or one that does not take an image.
    """
    with torch.device("meta"):  # sizes without values
        network = build(node, f"network={preset}").to("meta").eval()
        image = torch.empty(1, 3, side_px, side_px)
    try:
        with FlopCounterMode(display=False) as counter:
            network(image)
    except RuntimeError as error:
        sentence = " ".join(str(error).split())
        raise SlackoffError(f"network={preset} does not take an image without values: {sentence}") from error
    parameters = sum(parameter.numel() for parameter in network.parameters())
    gflops = None if isinstance(network, PerImageMethod) else counter.get_total_flops() / 1e9
    return Counts(parameters, gflops, getattr(network, "paper", ""))
