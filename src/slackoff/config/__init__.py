"""The config: where it lies, what it may say, the objects that it describes, and the mistakes in it."""

from pathlib import Path


def config_folder() -> Path:
    """The Hydra tree."""
    return shipped_folder("conf")


def shipped_folder(name: str) -> Path:
    """A folder that comes with slackoff: inside the installed package, or at the root of a checkout."""
    shipped = Path(__file__).parents[1] / name
    return shipped if shipped.is_dir() else Path(__file__).parents[3] / name
