"""The Hydra tree that ships with the package, and the presets of networks in it, without training."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from slackoff.config import config_folder
from slackoff.config.packages import conf_folders
from slackoff.errors import SlackoffError, did_you_mean


def preset_names() -> list[str]:
    """The presets in ``network/`` of the Hydra tree, and of those of the packages that a person named, by name."""
    folders = [config_folder(), *conf_folders()]
    return sorted({path.stem for folder in folders for path in (folder / "network").glob("*.yaml")})


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
