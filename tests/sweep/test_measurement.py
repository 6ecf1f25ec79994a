"""A study that measures instead of training: from its config to study.json, rows, pictures and page."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from rich.console import Console

from slackoff.analysis.complexity import load
from slackoff.analysis.complexity.orders import PUBLISHED
from slackoff.errors import SlackoffError
from slackoff.sweep.expand import resolved
from slackoff.sweep.measurement import run_measurement


@pytest.fixture
def configured(conf: Path, tmp_path: Path) -> Callable[..., DictConfig]:
    """The experiment at smoke size over tiny folders."""
    for stream, name in enumerate(PUBLISHED):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(6):
            pixels = np.random.default_rng([stream, number]).integers(0, 256, (64, 96, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{number}.png")

    def compose_study(*overrides: str) -> DictConfig:
        fixed = ["+experiment=complexity", "size=smoke", f"runs={tmp_path}/runs", f"data_root={tmp_path}/data"]
        with initialize_config_dir(str(conf), version_base="1.3"):
            composed = compose("config", [*fixed, "study.measure.patch_size_px=32", *overrides])
        return OmegaConf.create(resolved(composed))

    return compose_study


def test_the_experiment_measures_reports_and_does_not_measure_twice(
    configured: Callable[..., DictConfig], tmp_path: Path
) -> None:
    console = Console(record=True, width=160)
    assert run_measurement(configured(), console) == 0
    [folder] = (tmp_path / "runs" / "studies").iterdir()
    assert folder.name.startswith("complexity-smoke-")
    content = json.loads((folder / "study.json").read_text())
    assert (content["kind"], content["measure"]["count"], content["size"]) == ("complexity", 8, "smoke")
    assert len(pd.read_parquet(folder / "complexity.parquet")) == 4 * 8 * 4
    assert [len(pictures) for _, pictures in load(folder).examples()] == [8, 8, 8, 8]
    assert not (tmp_path / "runs" / "cells").exists()
    shown = console.export_text()
    assert "Measuring 8 patches of each of 4 categories" in shown
    assert "Urban100" in shown
    assert "index.html" in shown

    (folder / "index.html").unlink()
    kept = (folder / "complexity.parquet").stat().st_mtime_ns
    run_measurement(configured(), console)
    assert (folder / "index.html").is_file()
    assert (folder / "complexity.parquet").stat().st_mtime_ns == kept
    assert "measured already" in console.export_text()


def test_categories_can_be_added_and_left_out(configured: Callable[..., DictConfig], tmp_path: Path) -> None:
    added = configured(f"+study.measure.categories.mine.root={tmp_path}/data/div2k", "~study.measure.categories.celeba")
    run_measurement(added, Console(quiet=True))
    [folder] = (tmp_path / "runs" / "studies").iterdir()
    assert load(folder).categories == ["div2k", "manga109", "urban100", "mine"]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("roots.celeba=/nowhere/celeba", "roots.celeba=/nowhere/celeba"),
        ("+study.measure.categories.mine.root=/nowhere", "study.measure.categories.mine.root=/nowhere"),
        ("+study.measure.categories.mine.rot=x", "study.measure.categories.mine.root=FOLDER"),
        ("study.measure.depth=6", "study.measure.depth=6 does not fit"),
        ("study.measure.count=100000", "study.measure.count=100000"),
        ("study.measure._target_=slackoff.evaluation.PairFolder", "study.measure"),
    ],
)
def test_a_mistake_leaves_no_study(
    configured: Callable[..., DictConfig], tmp_path: Path, override: str, words: str
) -> None:
    with pytest.raises(SlackoffError, match=re.escape(words)):
        run_measurement(configured(override), Console(quiet=True))
    assert not list((tmp_path / "runs").rglob("study.json"))
