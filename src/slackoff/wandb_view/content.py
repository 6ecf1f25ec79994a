"""What a run in W&B shows of a cell, the same while it trains and when it is replayed from the record."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from omegaconf import OmegaConf
from PIL import Image

from slackoff.metrics.columns import HEADLINE_THRESHOLD
from slackoff.record.results import KINDS, Named, kept_pictures
from slackoff.record.status import Status

Pixels = NDArray[np.uint8]
Pictures = Mapping[Named, Mapping[str, Pixels]]
"""Test image to its pictures: uint8 (H, W, 3) under rainy, output and background."""

STEP = "trainer/global_step"
"""The key that every value in W&B stands against: the trainer's step."""

DIGEST = "record"
"""Key of a run's config, inside ``slackoff`` or ``slackoff_study``, that tells which record the run shows."""

RESULTS = ("steps.parquet", "images.parquet")
"""Files of a cell that W&B shows, and whose digest tells whether it shows all of them."""

ERROR_GAIN = 4
"""Error maps are this many times brighter than the error: white is 64 grey levels or more."""

_LONGEST_TAG = 64  # characters that W&B takes
_LONGEST_SIDE_PX = 320


def run_id(identity: str) -> str:
    """The id of a cell's run: the same wherever and however often it is shown."""
    return f"cell-{identity}"


def run_options(
    config: Mapping[str, Any], status: Status, study: str = "", axes: Mapping[str, Any] | None = None
) -> Any:
    """The options of ``wandb.init`` that say which cell a run is of.

    Args:
        config: the cell's resolved config, as plain values.
        status: the cell's status.
        study: full name of the study, which a cell in training does not know; else the name of its experiment.
        axes: the cell's values along the axes of the study; else its value along the main axis.

    Returns:
        ``name``, ``group``, ``job_type``, ``tags`` and ``config``: the cell's own with a further key ``slackoff``, a
        dict of ``id``, ``label``, ``study``, ``axis``, ``axes`` and ``status``, what ``status.json`` holds.
    """
    about = config["study"]
    experiment, axis = about["name"], str(about["axis"]).rpartition(".")[-1]
    axes = {axis: OmegaConf.select(OmegaConf.create(dict(config)), about["axis"])} if axes is None else axes
    words = (about["variant"], *(value for key, value in status.label.items() if key != "variant"))
    marker = {
        "id": status.id,
        "label": dict(status.label),
        "study": study or experiment,
        "axis": axis,
        "axes": dict(axes),
        "status": asdict(status),
    }
    return {
        "name": " ".join(str(word) for word in words if word != ""),
        "group": experiment or study,
        "job_type": "cell",
        "tags": [
            f"{key}={value}"[:_LONGEST_TAG]
            for key, value in {"study": experiment, **status.label}.items()
            if value not in ("", None)
        ],
        "config": {**config, "slackoff": marker},
    }


def headline_threshold(config: Mapping[str, Any]) -> float:
    """Grey levels above which the cell's protocol counts a pixel as rain."""
    return float(config["evaluation"]["protocol"].get("headline", HEADLINE_THRESHOLD))


def pictures(found: Pictures, threshold: float) -> dict[str, Any]:
    """Lists of ``wandb.Image`` under ``pictures/...``: rainy, output, truth, error and rain_mask, one a test image.

    Captions name the image and its test set. The error is the mean absolute difference of output and truth over the
    channels, times `ERROR_GAIN`. The rain mask is an overlay on the rainy image: where the largest O - B of the three
    channels is above ``threshold`` grey levels. Pictures of more than 320 pixels are shrunk; the record keeps
    them whole.
    """
    import wandb

    shown: dict[str, Any] = {}
    for (test_set, image), each in found.items():
        rainy, output, truth = (each[kind] for kind in KINDS)
        mask = {"mask_data": _small(rain_mask(rainy, truth, threshold)), "class_labels": {0: "no rain", 1: "rain"}}
        for kind, pixels, words, masks in (
            ("rainy", rainy, "rainy", None),
            ("output", output, "output", None),
            ("truth", truth, "truth", None),
            ("error", error_map(output, truth), "error", None),
            ("rain_mask", rainy, f"rain above {threshold:g} grey levels", {"rain": mask}),
        ):
            picture = wandb.Image(_small(pixels), caption=f"{image} of {test_set}: {words}", masks=masks)
            shown.setdefault(f"pictures/{kind}", []).append(picture)
    return shown


def error_map(output: Pixels, truth: Pixels) -> Pixels:
    """The mean absolute difference over the channels times `ERROR_GAIN`, uint8 (H, W)."""
    difference = np.abs(output.astype(np.float32) - truth.astype(np.float32)).mean(axis=2)
    return np.minimum(difference * ERROR_GAIN, 255).round().astype(np.uint8)


def rain_mask(rainy: Pixels, truth: Pixels, threshold: float) -> Pixels:
    """uint8 (H, W): 1 where the largest O - B of the channels is above ``threshold`` grey levels, else 0."""
    rain = (rainy.astype(np.int16) - truth.astype(np.int16)).max(axis=2)
    return (rain > threshold).astype(np.uint8)


def read_pictures(folder: Path) -> Pictures:
    """The pictures of a cell's own network in its record; those that are not complete are passed over."""
    return {
        named: {kind: np.asarray(Image.open(place / f"{kind}.png").convert("RGB")) for kind in KINDS}
        for named, place in kept_pictures(folder).items()
    }


def image_tables(rows: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """The results per test image as ``wandb.Table``: ``images`` of the cell's network, ``images_NAME`` of another.

    Args:
        rows: by name of the network, such as 'teacher'; the cell's own has none.
    """
    import wandb

    return {
        "_".join(filter(None, ("images", name))): wandb.Table(dataframe=table, allow_mixed_types=True)
        for name, table in rows.items()
    }


def record_digest(folder: Path) -> str:
    """16 hexadecimal digits that change with the results of a cell; empty where there are none yet."""
    files = [path for name in RESULTS if (path := folder / name).is_file()]
    files = files or list(folder.glob("steps.jsonl"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16] if files else ""


def with_step(row: Mapping[str, float]) -> dict[str, float]:
    """A row of the record as W&B gets it: the values that it has, and the step."""
    values = {key: value for key, value in row.items() if key != "step" and value == value}
    return {**values, STEP: int(row["step"])}


def known_step(run: Any) -> int:
    """The last step that a run has on its server already; -1 where it is new or offline."""
    return int(run.summary.get(STEP, -1)) if run.resumed and not run.offline else -1


def _small(pixels: Pixels) -> Pixels:
    """At most 320 pixels a side; the labels of a mask, 0 and 1, are rounded to labels again."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((_LONGEST_SIDE_PX, _LONGEST_SIDE_PX), Image.Resampling.LANCZOS)
    return np.asarray(picture)
