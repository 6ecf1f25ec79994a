"""A record of cells whose networks are tiny and were not trained."""

from pathlib import Path

import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file

from slackoff.config.build import build
from slackoff.config.presets import compose_preset
from slackoff.record.status import Status


def write_cell(runs: Path, identity: str, seed: int = 0, **status: object) -> Path:
    """A cell of unet_tiny that is done, with a teacher of other weights, as training leaves it."""
    folder = runs / "cells" / identity
    folder.mkdir(parents=True)
    node = compose_preset("unet_tiny")
    OmegaConf.save(OmegaConf.create({"network": node, "seed": seed}), folder / "config.yaml")
    for name in ("network", "teacher"):
        torch.manual_seed(seed := seed + 1)
        save_file(build(node, "network").state_dict(), folder / f"{name}.safetensors")
    Status(**{"id": identity, "label": {"network": "unet_tiny"}, "steps_total": 1, "state": "done", **status}).write(
        folder
    )
    return folder
