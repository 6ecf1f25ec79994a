"""The cells that are timed: composed from the same Hydra tree as a user's command, in a folder of their own."""

from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from slackoff.config import config_folder
from slackoff.sweep.expand import resolved
from slackoff.sweep.identity import Fingerprints
from slackoff.sweep.plan import Cell, auto_here, plan, settle_precision


def plan_cell(overrides: Sequence[str], runs: Path) -> Cell:
    """Compose one cell as ``python -m slackoff OVERRIDES`` would, its record under ``runs``."""
    overrides = [*overrides, f"runs={runs}"]
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = compose("config", overrides)
    configs = settle_precision([resolved(config)], Fingerprints(), auto_here)
    return plan(configs, [overrides])[0]


def write_cell_folder(cell: Cell) -> None:
    """Write what a sweep writes before it starts a cell's process."""
    cell.folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(cell.config, cell.folder / "config.yaml")
    status = cell.status()
    status.write(cell.folder)


def batch_shape(config: DictConfig) -> str:
    """The size of a batch in words, for tables."""
    side = config.background.patch_size_px
    return f"{config.schedule.batch_size} of {side}x{side}"
