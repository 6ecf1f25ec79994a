"""What a cell's log leaves out: only what a person can act on stays."""

import logging
import os
import warnings


def keep_quiet() -> None:
    """Turn down the libraries of this process and of those that it starts; Lightning must be imported before."""
    os.environ.setdefault("WANDB_MODE", "offline")
    os.environ.setdefault("WANDB_SILENT", "true")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
