"""A record of three cells: two that are done and one that was interrupted, on two test sets."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from slackoff.record.status import Status

STUDY = "patchcount-smoke-x"
COUNTS = {"0000000000aa": 8, "0000000000bb": 64, "0000000000cc": 1024}
CONFIG = """\
study: {name: patchcount, axis: background.patch_count, variant: ""}
background: {name: builtin, patch_count: %d}
evaluation: {name: own, protocol: {headline: 10}}
logger: {wandb: false, project: slackoff}
"""


def write_record(runs: Path) -> Path:
    """Write the cells and their study; the study's folder."""
    for number, (identity, count) in enumerate(COUNTS.items()):
        write_cell(runs / "cells" / identity, identity, count, 50.0 - 5 * number, done=number < 2)
    folder = runs / "studies" / STUDY
    (folder / "figures").mkdir(parents=True)
    Image.new("RGB", (40, 30), "white").save(folder / "figures" / "curves.png")
    (folder / "index.html").write_text("<html>the page</html>")
    claim = {
        "family": "patchcount",
        "statement": "E_R falls.",
        "verdict": "supported",
        "sentence": "By 5.",
        "scope": "",
    }
    (folder / "claims.json").write_text(json.dumps([claim]))
    study = {
        "name": STUDY,
        "experiment": "patchcount",
        "title": "How many backgrounds?",
        "question": "Does it remove less?",
        "axis": "patch_count",
        "command": "python -m slackoff +experiment=patchcount -m",
        "cells": [{"id": identity, "axes": {"patch_count": count}} for identity, count in COUNTS.items()],
    }
    (folder / "study.json").write_text(json.dumps(study))
    return folder


def write_cell(folder: Path, identity: str, count: int, e_r: float, done: bool) -> None:
    """Write one cell: 4 recorded steps, and where it is done 3 images on each test set and a picture."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(CONFIG % count)
    label = {"network": "unet_tiny", "background": "builtin", "rain": "small", "patch_count": count, "seed": 0}
    Status(identity, label, 40, "done" if done else "interrupted", step=40).write(folder)
    steps = step_rows(e_r)
    if not done:
        lines = steps.drop(columns=["test/e_r", "final/e_r"]).to_dict("records")
        (folder / "steps.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return
    steps.to_parquet(folder / "steps.parquet")
    image_rows(e_r).to_parquet(folder / "images.parquet")
    (folder / "pictures" / "R100-like" / "p0").mkdir(parents=True, exist_ok=True)
    for kind, grey in {"rainy": 200, "output": 120, "background": 100}.items():
        Image.new("RGB", (24, 16), (grey, grey, grey)).save(folder / "pictures" / "R100-like" / "p0" / f"{kind}.png")


def step_rows(e_r: float) -> pd.DataFrame:
    """Loss at each step, a test at the second, the last measures at the end."""
    nothing = float("nan")
    return pd.DataFrame(
        {
            "step": [10, 20, 30, 40],
            "elapsed_s": [1.0, 2.0, 3.0, 4.0],
            "train/loss": [0.4, 0.3, 0.2, 0.1],
            "test/e_r": [nothing, e_r + 1, nothing, nothing],
            "final/e_r": [nothing, nothing, nothing, e_r],
        }
    )


def image_rows(e_r: float) -> pd.DataFrame:
    """Three images on each of two test sets; E_R is 10 more on the second."""
    own = np.array([-1.0, 0.0, 1.0])
    rows = pd.DataFrame({"image": ["p0", "p1", "p2"], "height": 16, "width": 24, "e_r": e_r + own})
    for name, value in {"e_r_oracle": 45.0, "removal_share_oracle": 0.9, "removal_share": 0.5, "e_b": 9.0}.items():
        rows[name] = value
    for name, value in {"psnr_rgb": 27.0, "ssim_rgb": 0.9, "psnr_rgb_input": 25.0, "ssim_rgb_input": 0.8}.items():
        rows[name] = value
    sets = [rows.assign(test_set=name, e_r=rows["e_r"] + shift) for name, shift in (("own", 0), ("r100like", 10))]
    return pd.concat(sets, ignore_index=True)
