"""The Hydra tree that ships with the package, and the presets of networks in it, without training."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from slackoff.errors import SlackoffError


def config_folder() -> Path:
    """The Hydra tree: inside the installed package, or at the root of a checkout."""
    shipped = Path(__file__).parents[1] / "conf"
    return shipped if shipped.is_dir() else Path(__file__).parents[3] / "conf"


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
            close = get_close_matches(str(name), known, n=1, cutoff=0.4)
            cure = f"did you mean '{close[0]}'?" if close else "see python -m slackoff networks."
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
