"""Where the Hydra tree lies."""

from pathlib import Path


def config_folder() -> Path:
    """The Hydra tree: inside the installed package, or at the root of a checkout."""
    shipped = Path(__file__).parent / "conf"
    return shipped if shipped.is_dir() else Path(__file__).parents[2] / "conf"
