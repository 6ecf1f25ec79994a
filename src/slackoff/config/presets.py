"""The Hydra tree that ships with the package, and the presets of networks in it, without training."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from slackoff.config import config_folder
from slackoff.errors import SlackoffError, did_you_mean


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
