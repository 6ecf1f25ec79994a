"""Writes a record as a sweep would leave it, with results whose means are known exactly."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from PIL import Image

from slackoff.analysis import Frames, load
from slackoff.analysis.claims import Claim, check
from slackoff.analysis.claims.claim import Effect
from slackoff.record.ledger import claim
from slackoff.record.results import picture_folder
from slackoff.record.status import State, Status

Change = Callable[[pd.DataFrame], pd.DataFrame]

MakeFrames = Callable[..., Frames]
"""The fixture frames_of: cells, the name of the main axis and edits of results to frames."""

EditImages = Callable[["Cell", Change], None]
"""The fixture edit_images: changes the results of a cell on disk."""

ORACLE_E_R = 40.0
ORACLE_SHARE = 0.96
INPUT_PSNR = 25.5
INPUT_SSIM = 0.85

CONFIG = """\
background: {name: builtin, patch_count: %s, patch_size_px: 64}
rain: {name: medium, width: [5, 7, 9], length: [20, 40]}
network: {_target_: slackoff.networks.UNet, width: 24}
evaluation:
  name: r100_like
  protocol: {name: slackoff-v1, thresholds: [0, 10, 20, 50], headline: 10, quantise: true}
seed: 0
"""
ENVIRONMENT = {
    "python": "3.12.1",
    "platform": "Linux-6.1",
    "device": "cpu",
    "cpu": "Some CPU @ 2.5GHz",
    "cores": 2,
    "gpu": None,
    "git_commit": "0123456789abcdef",
    "git_dirty": False,
    "packages": {"torch": "2.15.0", "lightning": "2.6.6"},
}


@dataclass
class Cell:
    """One cell to write: its axes, and the means that its results have over the test images."""

    axes: dict[str, Any]
    e_r: float = 40.0
    share: float = 0.6
    e_b: float = 10.0
    psnr: float = 27.0
    ssim: float = 0.9
    state: State | Literal["missing"] = "done"
    last_error: str | None = None
    images: int = 20
    noise: float = 1.0
    test_set: str = "R100-like"
    label: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        text = json.dumps(self.axes, sort_keys=True)
        return f"{hash_of(text):012x}"


def hash_of(text: str) -> int:
    """The same number for the same text in every process."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16)


def image_rows(cell: Cell) -> pd.DataFrame:
    """Results per image: an image's difficulty is common to all cells, its noise is the cell's, both average to 0."""
    hard = _centred(0, cell.images)
    own = {name: cell.noise * _centred(hash_of(cell.id + name) % 2**31, cell.images) for name in "rsbp"}
    share = cell.share + 0.05 * hard + 0.01 * own["s"]
    rows = pd.DataFrame(
        {
            "test_set": cell.test_set,
            "image": [f"{number:04d}-photo" for number in range(cell.images)],
            "height": 128,
            "width": 96,
            "e_r": cell.e_r + 6 * hard + own["r"],
            "e_b": cell.e_b + 2 * hard + own["b"],
            "e_r_oracle": ORACLE_E_R + 0 * hard,
            "residual_rms": 15 + hard,
            "removal_share": share,
            "removal_share_oracle": ORACLE_SHARE + 0 * hard,
            "leftover_rms": 9 + hard,
            "psnr_rgb": cell.psnr + 2 * hard + own["p"],
            "ssim_rgb": cell.ssim + 0.03 * hard,
            "psnr_rgb_input": INPUT_PSNR + 2 * hard,
            "ssim_rgb_input": INPUT_SSIM + 0.03 * hard,
        }
    )
    for threshold, shift in ((0, -5), (10, 0), (20, 4), (50, 15)):
        for name in ("e_r", "e_r_oracle", "e_b"):
            rows[f"{name}_t{threshold}"] = rows[name] + shift
    return rows


def _centred(seed: int, count: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=count)
    return values - values.mean()


def step_rows(cell: Cell, total: int = 400) -> pd.DataFrame:
    """A loss every 20 steps and an evaluation every 100, ending at the cell's means."""
    step = np.arange(20, total + 1, 20)
    rows = pd.DataFrame({"step": step, "elapsed_s": step / 20.0, "train/loss": 0.2 / np.sqrt(step)})
    tested = step % 100 == 0
    ends = {"test/e_r": cell.e_r, "test/removal_share": cell.share, "test/e_b": cell.e_b}
    ends |= {"test/psnr_rgb": cell.psnr, "test/ssim_rgb": cell.ssim}
    for name, end in ends.items():
        rows[name] = np.where(tested, end * (0.4 + 0.6 * step / total), np.nan)
    return rows


def write_cell(runs: Path, cell: Cell) -> Path:
    """Writes the folder of one cell; state 'missing' writes none."""
    folder = runs / "cells" / cell.id
    if cell.state == "missing":
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    count = cell.axes.get("patch_count", 64)
    (folder / "config.yaml").write_text(CONFIG % count)
    (folder / "environment.json").write_text(json.dumps(ENVIRONMENT))
    label = {"network": "unet", "background": "builtin", "patch_count": count, "seed": 0, **cell.label}
    status = Status(cell.id, label, 400, cell.state, attempts=1, last_error=cell.last_error)
    status.started_at = "2026-01-02T03:04:05+00:00"
    if cell.state != "pending":
        status.train_seconds, status.seconds_to_first_step = 100.0, 4.0
    if cell.state == "done":
        status.finished_at, status.evaluate_seconds, status.step = "2026-01-02T03:06:05+00:00", 8.0, 400
    status.write(folder)
    if cell.state == "running":
        claim(folder)  # this process holds it
    if cell.state == "done":
        image_rows(cell).to_parquet(folder / "images.parquet")
        step_rows(cell).to_parquet(folder / "steps.parquet")
        write_pictures(folder, cell)
    return folder


def write_pictures(
    folder: Path, cell: Cell, names: tuple[str, ...] = ("0000-photo", "0003-photo"), test_set: str = "R100-like"
) -> None:
    """Small pictures whose grey value tells them apart: rainy 200, output 100 + share, background 100."""
    for name in names:
        place = picture_folder(folder, (test_set, name))
        place.mkdir(parents=True, exist_ok=True)
        greys = {"rainy": 200, "output": 100 + round(100 * (1 - cell.share)), "background": 100}
        for kind, grey in greys.items():
            Image.new("RGB", (24, 16), (grey, grey, grey)).save(place / f"{kind}.png")


def write_study(
    runs: Path, cells: list[Cell], name: str = "patchcount", axis: str = "patch_count", **more: Any
) -> Path:
    """Writes the cells and the study over them, with `more` keys; the folder of the study."""
    for cell in cells:
        write_cell(runs, cell)
    folder = runs / "studies" / name
    folder.mkdir(parents=True, exist_ok=True)
    study = {
        "name": name,
        "experiment": "patchcount",
        "title": "Patch count",
        "question": "Do fewer training patches help against unseen rain?",
        "size": "laptop",
        "axis": axis,
        "created_at": "2026-01-02T03:00:00+00:00",
        "command": "python -m slackoff +experiment=patchcount -m",
        "cells": [{"id": cell.id, "axes": cell.axes} for cell in cells],
        "paper": "Figure 4 & Table 2, 100 % of <it>",
        "claims": [],
        "test_sets": [],
        "options": {},
        **more,
    }
    (folder / "study.json").write_text(json.dumps(study))
    return folder


def counts(**means: list[float]) -> list[Cell]:
    """Cells at 8, 64 and 1024 patches with the given means of e_r, share, e_b, psnr, ssim."""
    return [
        Cell({"patch_count": count}, **{name: values[i] for name, values in means.items()})
        for i, count in enumerate((8, 64, 1024))
    ]


RowsOfTable2 = dict[tuple[int, str], tuple[float, float, float]]
"""E_R, E_B and PSNR by number of backgrounds and rain."""

ROWS_OF_TABLE2: RowsOfTable2 = {
    (1024, "medium"): (26.5, 5.4, 28.5),
    (64, "medium"): (45.5, 14.8, 25.3),
    (256, "large"): (40.4, 8.5, 29.1),
}
"""Close to the published ones of RCDNet."""


def table2_cells(rows: RowsOfTable2 = ROWS_OF_TABLE2, network: str = "rcdnet") -> list[Cell]:
    """Rows of Table 2 for one network; the removal share follows E_R."""
    return [
        Cell({"network": network, "rain": rain, "patch_count": n}, e_r, e_r / 80, e_b, psnr, test_set="r100")
        for (n, rain), (e_r, e_b, psnr) in rows.items()
    ]


def by_id(frames: Frames) -> dict[str, Claim]:
    """The claims of a study of one group, by their ids."""
    return {claim.id: claim for claim in check(frames)}


def checked(runs: Path, cells: list[Cell], *families: str, **more: Any) -> dict[str, Claim]:
    """The claims of a study that names these families and has one comparison, by their ids; the references apart."""
    found = check(load(write_study(runs, cells, claims=list(families), **more)))
    claims = [claim for claim in found if claim.family != "references"]
    by_name = {claim.id: claim for claim in claims}
    assert len(by_name) == len(claims)
    return by_name


def effect(claim: Claim) -> Effect:
    """The size of what a claim is about, which it must have."""
    assert claim.effect is not None
    return claim.effect


def verdicts(claims: dict[str, Claim]) -> dict[str, str]:
    """Id to verdict."""
    return {name: claim.verdict for name, claim in claims.items()}
