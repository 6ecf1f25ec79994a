"""The record of a tiny cell as training leaves it, written by the project's own code, with numbers known exactly."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf

from pictures import noise, save
from slackoff.config.build import build
from slackoff.record.results import write_results
from slackoff.record.status import Status

IDENTITY = "abcdef012345"
ENVIRONMENT = {
    "python": "3.12.1",
    "cpu": "Some CPU @ 2.5GHz",
    "gpu": None,
    "threads": 1,
    "git_commit": "0123456789abcdef",
    "git_dirty": False,
    "packages": {"slackoff": "0.1.0", "torch": "2.15.0", "wandb": None},
}


def result_rows() -> pd.DataFrame:
    """Two test sets of six images: PSNR rises by 2 dB on `easy` and falls by 1 dB on `hard`."""
    frames = []
    for name, change in (("easy", 2.0), ("hard", -1.0)):
        spread = np.linspace(-1, 1, 6)
        numbers = {"e_r": 20 + spread, "e_b": 5 + spread, "e_r_oracle": 40.0, "removal_share": 0.5 + 0.1 * spread}
        numbers |= {"removal_share_oracle": 0.9, "psnr_rgb_input": 24 + spread, "psnr_rgb": 24 + change + 1.1 * spread}
        numbers |= {"ssim_rgb_input": 0.7 + 0.01 * spread, "ssim_rgb": 0.8 + 0.01 * spread}
        images = [f"{number:04d}-photo" for number in range(6)]
        frames.append(pd.DataFrame({"test_set": name, "image": images, "height": 20, "width": 30, **numbers}))
    return pd.concat(frames, ignore_index=True)


def write_cell(runs: Path, config: DictConfig, identity: str = IDENTITY, **status: object) -> Path:
    """Write the record of a cell whose network and teacher, 3 dB better, have random weights; its folder."""
    folder = runs / "cells" / identity
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(config, resolve=True))
    (folder / "environment.json").write_text(json.dumps(ENVIRONMENT))
    done = {"label": {"network": "unet_tiny"}, "steps_total": 20, "step": 20, "state": "done"}
    costs = {"train_seconds": 12.5, "evaluate_seconds": 3.25, "notes": ["a pair is left out"]}
    Status(**{"id": identity, **done, **costs, **status}).write(folder)
    rows, values = result_rows(), {"rainy": 200, "output": 120, "background": 100}
    grey = {kind: np.full((20, 30, 3), value, np.uint8) for kind, value in values.items()}
    pictures = {("easy", "0000-photo"): grey}
    for name, kept, better in (("", pictures, 0), ("teacher", {}, 3)):
        torch.manual_seed(len(identity) + better)
        write_results(
            folder, name, build(config.network, "network"), rows.assign(psnr_rgb=rows["psnr_rgb"] + better), kept
        )
    return folder


def write_photo(path: Path, height: int = 37, width: int = 50, seed: int = 3) -> np.ndarray:
    """A photo of noise as a PNG file; its pixels."""
    return save(path, noise(height, width, seed))
