"""Studies that measure instead of training: from their configs to record and page. No timing is judged."""

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from rich.console import Console

from pictures import noise, save
from slackoff.config.build import build
from slackoff.config.counting import count_network
from slackoff.config.presets import compose_preset
from slackoff.errors import SlackoffError
from slackoff.measurements import runtime
from slackoff.measurements.complexity import ComplexityMeasurement
from slackoff.measurements.complexity_orders import PUBLISHED
from slackoff.measurements.runtime import RuntimeMeasurement
from slackoff.measurements.study import run_measurement
from slackoff.measurements.timing import Timings
from slackoff.record.measurement import load_measurement
from slackoff.sweep.expand import resolved

GOOD = "_target_: torch.nn.Conv2d\nin_channels: 3\nout_channels: 3\nkernel_size: 3\npadding: 1\n"
BROKEN = {
    "refused": "_target_: slackoff.networks.UNet\nwidth: 0\n",
    "unreadable": "_target_: [",
    "breaking": GOOD.replace("in_channels: 3", "in_channels: 4"),
}


Configured = Callable[..., DictConfig]


@pytest.fixture
def configured(conf: Path, tmp_path: Path) -> Configured:
    """An experiment at smoke size: complexity over tiny folders, or menet_runtime of two networks and two rounds."""
    for stream, name in enumerate(PUBLISHED):
        for number in range(6):
            save(tmp_path / "data" / name / f"{number}.png", noise(64, 96, stream, number))
    small = {
        "complexity": ["patch_size_px=32"],
        "menet_runtime": ["rounds=2", "networks=[unet_tiny,resnet_small]", "size_px=32", "devices=[cpu]"],
    }

    def compose_study(experiment: str, *overrides: str) -> DictConfig:
        fixed = [f"+experiment={experiment}", "size=smoke", f"runs={tmp_path}/runs", f"data_root={tmp_path}/data"]
        fixed += [f"study.measure.{setting}" for setting in small[experiment]]
        with initialize_config_dir(str(conf), version_base="1.3"):
            composed = compose("config", [*fixed, *overrides])
        return OmegaConf.create(resolved(composed))

    return compose_study


def only_study(tmp_path: Path) -> Path:
    [folder] = (tmp_path / "runs" / "studies").iterdir()
    return folder


@pytest.mark.parametrize(
    ("experiment", "kind", "count", "words"),
    [
        ("complexity", "complexity", 4 * 8 * 4, ("Measuring 8 patches of each of 4 categories", "Urban100")),
        ("menet_runtime", "runtime", 2 * 2, ("Timing 2 networks on an image of 32x32 (CPU)", "resnet_small")),
    ],
)
def test_a_study_is_measured_once_and_always_drawn_alike(configured, tmp_path, experiment, kind, count, words) -> None:
    console = Console(record=True, width=160)
    assert run_measurement(configured(experiment), console) == 0
    folder = only_study(tmp_path)
    assert folder.name.startswith(f"{experiment}-smoke-")
    found = load_measurement(folder)
    assert (found.kind, found.size, found.experiment, len(found.rows)) == (kind, "smoke", experiment, count)
    assert len(list((folder / "patches").glob("*/*.png"))) == (4 * 8 if kind == "complexity" else 0)
    assert not (tmp_path / "runs" / "cells").exists()
    shown = console.export_text()
    assert all(text in shown for text in (*words, "index.html"))

    files = {path: path.read_bytes() for path in folder.rglob("*.*")}
    measured = (folder / f"{kind}.parquet").stat().st_mtime_ns
    shutil.rmtree(folder / "figures")
    (folder / "index.html").unlink()
    assert run_measurement(configured(experiment), console) == 0
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == files
    assert (folder / f"{kind}.parquet").stat().st_mtime_ns == measured
    assert f"This is measured already: only the report is drawn. Remove {folder} to measure" in console.export_text()


def test_categories_can_be_added_and_left_out(configured: Configured, tmp_path: Path) -> None:
    added = f"+study.measure.categories.mine.root={tmp_path}/data/div2k"
    run_measurement(configured("complexity", added, "~study.measure.categories.celeba"), Console(quiet=True))
    categories = load_measurement(only_study(tmp_path)).values("category")
    assert categories == ["div2k", "manga109", "urban100", "mine"]


def test_a_row_is_a_round_of_a_network_beside_what_it_is_made_of() -> None:
    rows = RuntimeMeasurement(["unet_tiny", "resnet_small"], 32, 2, devices=["cpu"]).measure()
    assert [*zip(rows["network"], rows["device"], rows["round"], strict=True)] == [
        (name, "cpu", number) for name in ("unet_tiny", "resnet_small") for number in (0, 1)
    ]
    assert (rows["seconds"] > 0).all()
    assert set(rows["threads"]) == {torch.get_num_threads()}
    for name, parameters, gflops in zip(rows["network"], rows["parameters"], rows["gflops"], strict=True):
        counted = count_network(name, compose_preset(name), 32)
        assert (parameters, gflops) == (counted.parameters, pytest.approx(counted.gflops))


def test_another_reference_is_drawn_and_not_measured(configured: Configured, tmp_path: Path) -> None:
    run_measurement(configured("menet_runtime"), Console(quiet=True))
    measured = (only_study(tmp_path) / "runtime.parquet").stat().st_mtime_ns
    run_measurement(configured("menet_runtime", "study.measure.reference=resnet_small"), Console(quiet=True))
    assert "ratio to resnet_small" in (only_study(tmp_path) / "index.html").read_text()
    assert (only_study(tmp_path) / "runtime.parquet").stat().st_mtime_ns == measured


def test_another_machine_version_or_setting_is_another_study(monkeypatch: pytest.MonkeyPatch) -> None:
    def fingerprint(**settings: object) -> str:
        return RuntimeMeasurement(["unet_tiny"], devices=["cpu"], **settings).fingerprint()  # type: ignore[arg-type]

    first = fingerprint()
    assert fingerprint(reference="unet_tiny") == first
    others = [fingerprint(size_px=64), fingerprint(rounds=3), fingerprint(threads=7)]
    here = runtime.describe_environment()
    for key, value in {"cpu": "Other CPU", "packages": here["packages"] | {"torch": "9.9"}}.items():
        with monkeypatch.context() as patched:
            patched.setattr(runtime, "describe_environment", lambda key=key, value=value: here | {key: value})
            others.append(fingerprint())
    assert len({first, *others}) == 6


def test_presets_that_fail_are_told_of_and_the_others_are_timed(configured, tmp_path, monkeypatch) -> None:
    (tmp_path / "conf" / "network").mkdir(parents=True)
    for name, text in (BROKEN | {"good": GOOD}).items():
        (tmp_path / "conf" / "network" / f"{name}.yaml").write_text(text)
    config = configured("menet_runtime", "study.measure.networks=null")
    monkeypatch.setattr("slackoff.config.presets.config_folder", lambda: tmp_path / "conf")
    for _ in range(2):  # measured, then only drawn
        console = Console(record=True, width=200)
        assert run_measurement(config, console) == 3
        shown = console.export_text()
        assert "network=refused on the CPU: network.width=0" in shown
        assert "network=unreadable on the CPU: network/unreadable.yaml cannot be read" in shown
        assert re.search("network=breaking on the CPU: .*4 channels", shown)
    rows = pd.read_parquet(only_study(tmp_path) / "runtime.parquet").set_index("network")
    assert (rows.loc["good", "seconds"] > 0).all()
    assert rows.loc[list(BROKEN), "seconds"].isna().all()
    page = (only_study(tmp_path) / "index.html").read_text()
    assert "network=refused" in page
    assert page.count("failed") >= 3


CHOICE = "cannot be: give a list, each item one of"


@pytest.mark.parametrize(
    ("experiment", "override", "words"),
    [
        ("complexity", "roots.celeba=/nowhere/celeba", "roots.celeba=/nowhere/celeba"),
        ("complexity", "study.measure.count=100000", "Category celeba: "),
        ("complexity", "study.measure._target_=slackoff.evaluation.PairFolder", "study.measure"),
        ("menet_runtime", "study.measure.rounds=0", "study.measure.rounds=0 cannot be"),
    ],
)
def test_a_mistake_leaves_no_study(configured, tmp_path, experiment, override, words) -> None:
    with pytest.raises(SlackoffError, match=re.escape(words)):
        run_measurement(configured(experiment, override), Console(quiet=True))
    assert not list((tmp_path / "runs").rglob("study.json"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"patch_size_px": 30, "depth": 2}, "depth=2 does not fit patches of 30 px and blocks of 2: give 1 to 1, or"),
        ({"depth": 6}, "depth=6 does not fit patches of 32 px and blocks of 2: give 1 to 5, or null for 5."),
        ({"depth": 0}, "depth=0 cannot be: give a whole number from 1 up or null"),
        ({"filter_size": 3}, "patch_size_px=32 is no multiple of study.measure.filter_size=3"),
        ({"filter_size": 1}, "filter_size=1 cannot be: give a whole number from 2 up"),
        ({"count": 0}, "count=0 cannot be: give a whole number from 1 up"),
        ({"colours": ["hsv"]}, f"colours=[hsv] {CHOICE} rgb, grey"),
        ({"normalised": []}, "normalised=[] leaves nothing to measure"),
        ({"categories": {}}, "categories is empty"),
        ({"categories": {"../up": {"root": "x"}}}, "categories has '../up', which is no file name"),
        ({"categories": {"mine": {"rot": "x"}}}, "categories.mine={'rot': 'x'} names no images: give study.measure."),
        ({"categories": {"mine": {"root": "/nowhere"}}}, "categories.mine.root=/nowhere"),
        ({"networks": ["unet_tinny"]}, "There is no network 'unet_tinny' (study.measure.networks): did you"),
        ({"networks": []}, "networks=[] leaves nothing to measure"),
        ({"reference": "unet"}, "reference=unet is not measured: add it to study.measure.networks"),
        ({"reference": "unett"}, "There is no network 'unett' (study.measure.reference): did you mean"),
        ({"size_px": 8}, "size_px=8 cannot be: give a whole number from 16 up"),
        ({"rounds": 0}, "rounds=0 cannot be"),
        ({"warm_up": -1}, "warm_up=-1 cannot be"),
        ({"threads": 0}, "threads=0 cannot be"),
        ({"budget_s": 0}, "budget_s=0 cannot be: give seconds above 0."),
        ({"devices": ["tpu"]}, f"devices=[tpu] {CHOICE} cpu, cuda"),
        ({"devices": []}, "devices=[] leaves nothing to measure"),
    ],
)
def test_a_setting_that_cannot_be_is_named(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "photo.png")
    node: dict[str, Any] = {"_target_": "slackoff.measurements.runtime.RuntimeMeasurement", "networks": ["unet_tiny"]}
    if settings.keys() & set(inspect.signature(ComplexityMeasurement).parameters):
        node = {"_target_": "slackoff.measurements.complexity.ComplexityMeasurement", "patch_size_px": 32}
        node |= {"categories": {"mine": {"root": str(tmp_path)}}}
    words = words if words.startswith("There") else f"study.measure.{words}"
    with pytest.raises(SlackoffError, match="^" + re.escape(words)):
        build(OmegaConf.create(node | settings), "study.measure")


@pytest.mark.parametrize("experiment", ["complexity", "menet_runtime"])
def test_a_damaged_record_is_named_with_the_cure(configured: Configured, tmp_path: Path, experiment: str) -> None:
    run_measurement(configured(experiment), Console(quiet=True))
    folder = only_study(tmp_path)
    found = load_measurement(folder)
    path = folder / f"{found.kind}.parquet"
    column, number = {"complexity": ("c_0", "half_variance"), "runtime": ("seconds", "gflops")}[found.kind]
    cure = re.escape(f": remove {folder} and run the study's command")
    for rows, words in (
        (found.rows.drop(columns=[column, number]), f"lacks {', '.join(sorted([column, number], reverse=True))}"),
        (found.rows.head(0), "lacks any row"),
        (found.rows.assign(**{number: "fast"}), "is missing or damaged"),
    ):
        rows.to_parquet(path)
        with pytest.raises(SlackoffError, match=f"{re.escape(f'{path} {words}')}.*{cure}"):
            load_measurement(folder)
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(SlackoffError, match=f"{re.escape(f'{path} is missing or damaged')}.*{cure}"):
        load_measurement(folder)
    content = json.loads((folder / "study.json").read_text())
    lacking = [json.dumps(content | {key: {}}) for key in ("measure", "environment")]
    for text in (*lacking, "{", '{"kind": "complexity"}', '{"kind": "other", "measure": {}}', "[]"):
        (folder / "study.json").write_text(text)
        with pytest.raises(SlackoffError, match=r"study\.json is missing or damaged"):
            load_measurement(folder)


def test_a_gpu_that_is_asked_for_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SlackoffError, match="torch finds no GPU here"):
        RuntimeMeasurement(devices=["cuda"])
    assert RuntimeMeasurement().timed_devices == ["cpu"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert RuntimeMeasurement().timed_devices == ["cpu", "cuda"]


def test_threads_hold_for_the_measuring_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    seen = []

    def spy(*_: object) -> Timings:
        seen.append(torch.get_num_threads())
        return Timings({"unet_tiny": {0: 0.5}})

    monkeypatch.setattr(runtime, "time_in_rounds", spy)
    rows = RuntimeMeasurement(["unet_tiny"], 32, threads=before + 1, devices=["cpu"]).measure()
    assert seen == [before + 1]
    assert list(rows["threads"]) == [before + 1]
    assert torch.get_num_threads() == before


@pytest.mark.slow
def test_the_study_runs_as_a_person_types_it(tmp_path: Path) -> None:
    """Presets are composed inside a command that Hydra runs."""
    command = [sys.executable, "-m", "slackoff", "+experiment=menet_runtime", "-m", "size=smoke"]
    command += ["study.measure.networks=[unet_tiny]", "study.measure.rounds=1", "study.measure.size_px=32"]
    result = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"COLUMNS": "80"}, capture_output=True, text=True, timeout=200
    )
    assert result.returncode == 0, result.stderr
    assert np.isfinite(pd.read_csv(only_study(tmp_path) / "tables" / "runtime.csv")["seconds"]).all()
