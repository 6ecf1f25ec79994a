"""What the record of a cell says of the network that came of it: the facts of a model card."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from omegaconf import DictConfig, OmegaConf

from slackoff.analysis.groups import Group
from slackoff.analysis.statistics import Interval, difference_interval
from slackoff.analysis.summary import INPUTS, ORACLES, shown_measures
from slackoff.build import build
from slackoff.errors import SlackoffError
from slackoff.metrics.protocol import Protocol
from slackoff.record.status import Status, read_status

_CELL = "cell"


@dataclass(frozen=True)
class TestSet:
    """The results on one test set.

    - `images`: how many it has.
    - `measures`: mean with 95 % interval by column, in the order of a study's table.
    - `oracles`: what the background itself has, for E_R and the removal share; NaN where it was not recorded.
    - `inputs`: what the untouched rainy images have, for PSNR and SSIM.
    - `gains`: by how much it is better than they are, for PSNR and SSIM, paired over the images.
    """

    __test__ = False  # for pytest, which takes the name for one of its own

    name: str
    images: int
    measures: dict[str, Interval]
    oracles: dict[str, Interval]
    inputs: dict[str, Interval]
    gains: dict[str, Interval]


@dataclass(frozen=True)
class CellRecord:
    """`config.yaml`, `status.json`, `environment.json` and the results of a cell.

    `protocol` is one line with the name; `environment` is empty where the record has none.
    """

    folder: Path
    config: DictConfig
    status: Status
    protocol: str
    test_sets: tuple[TestSet, ...]
    environment: dict[str, Any] = field(default_factory=dict)


def read_record(folder: Path, teacher: bool = False) -> CellRecord:
    """The record of a cell that is done; nothing of it is changed.

    Args:
        folder: of the cell.
        teacher: the results of the moving average that taught it, in the place of its own.

    Raises:
        SlackoffError: a file of it is missing or damaged.
    """
    status = read_status(folder)
    if status is None:
        raise _damaged(folder / "status.json", "it is missing")
    path = folder / "config.yaml"
    try:
        config = OmegaConf.load(path)
        assert isinstance(config, DictConfig)
        protocol = build(config.evaluation.protocol, "evaluation.protocol")
        assert isinstance(protocol, Protocol)
        path = folder / ("images_teacher.parquet" if teacher else "images.parquet")
        test_sets = _test_sets(pd.read_parquet(path))
        path = folder / "environment.json"
        environment = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError, KeyError, AttributeError, AssertionError, pa.ArrowException) as error:
        raise _damaged(path, " ".join(str(error).split()) or type(error).__name__) from error
    named = replace(protocol, name=str(config.evaluation.protocol.get("name", protocol.name)))
    return CellRecord(folder, config, status, named.describe(), test_sets, environment)


def _test_sets(images: pd.DataFrame) -> tuple[TestSet, ...]:
    shown = shown_measures(images)
    return tuple(_test_set(str(name), rows, shown) for name, rows in images.groupby("test_set", sort=False))


def _test_set(name: str, rows: pd.DataFrame, shown: list[str]) -> TestSet:
    """By the statistics of a study's tables: a group of one cell."""
    rows = rows.assign(**{_CELL: 0}).reset_index(drop=True)
    group = Group(_CELL, {}, pd.DataFrame({_CELL: [0]}), rows)
    inputs = [measure for measure in shown if measure in INPUTS]
    return TestSet(
        name,
        rows["image"].nunique(),
        {measure: group.level(0, measure) for measure in shown},
        {measure: group.level(0, ORACLES[measure]) for measure in shown if measure in ORACLES},
        {measure: group.level(0, INPUTS[measure]) for measure in inputs},
        {measure: _gain(group, measure) for measure in inputs},
    )


def _gain(group: Group, measure: str) -> Interval:
    return difference_interval(group.table(0, measure), group.table(0, INPUTS[measure]), group.sources)


def _damaged(path: Path, why: str) -> SlackoffError:
    return SlackoffError(f"{path} cannot be read ({why}): run the command of its study again, which makes it anew")
