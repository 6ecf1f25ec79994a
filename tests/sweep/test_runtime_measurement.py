"""A study that times networks: from its config to study.json, rows, figure and page. No timing is judged."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from slackoff.config.presets import compose_preset, count
from slackoff.errors import SlackoffError
from slackoff.evaluation.runtime import Timings
from slackoff.sweep.expand import resolved
from slackoff.sweep.measurement import run_measurement
from slackoff.sweep.runtime import RuntimeMeasurement

GOOD = "_target_: torch.nn.Conv2d\nin_channels: 3\nout_channels: 3\nkernel_size: 3\npadding: 1\n"
BROKEN = {
    "refused": "_target_: slackoff.networks.UNet\nwidth: 0\n",
    "unreadable": "_target_: [",
    "breaking": GOOD.replace("in_channels: 3", "in_channels: 4"),
}


@pytest.fixture
def configured(conf: Path, tmp_path: Path) -> Callable[..., DictConfig]:
    """The experiment at smoke size with two tiny networks and two rounds."""

    def compose_study(*overrides: str) -> DictConfig:
        fixed = ["+experiment=menet_runtime", "size=smoke", f"runs={tmp_path}/runs", "study.measure.rounds=2"]
        fixed += ["study.measure.networks=[unet_tiny,resnet_small]", "study.measure.size_px=32"]
        with initialize_config_dir(str(conf), version_base="1.3"):
            composed = compose("config", [*fixed, "study.measure.devices=[cpu]", *overrides])
        return OmegaConf.create(resolved(composed))

    return compose_study


def only_study(tmp_path: Path) -> Path:
    [folder] = (tmp_path / "runs" / "studies").iterdir()
    return folder


def test_the_experiment_times_reports_and_does_not_time_twice(
    configured: Callable[..., DictConfig], tmp_path: Path
) -> None:
    console = Console(record=True, width=160)
    assert run_measurement(configured(), console) == 0
    folder = only_study(tmp_path)
    content = json.loads((folder / "study.json").read_text())
    assert (content["kind"], content["measure"]["size_px"], content["size"]) == ("runtime", 32, "smoke")
    rows = pd.read_parquet(folder / "runtime.parquet")
    assert [*zip(rows["network"], rows["device"], rows["round"], strict=True)] == [
        (name, "cpu", number) for name in ("unet_tiny", "resnet_small") for number in (0, 1)
    ]
    assert (rows["seconds"] > 0).all()
    assert set(rows["threads"]) == {torch.get_num_threads()}
    for name, parameters, gflops in zip(rows["network"], rows["parameters"], rows["gflops"], strict=True):
        counted = count(name, compose_preset(name), 32)
        assert (parameters, gflops) == (counted.parameters, pytest.approx(counted.gflops))
    assert not (tmp_path / "runs" / "cells").exists()
    shown = console.export_text()
    assert "Timing 2 networks on an image of 32x32 (CPU)" in shown
    assert "index.html" in shown

    (folder / "index.html").unlink()
    kept = (folder / "runtime.parquet").stat().st_mtime_ns
    assert run_measurement(configured("study.measure.reference=resnet_small"), console) == 0
    assert "ratio to resnet_small" in (folder / "index.html").read_text()
    assert (folder / "runtime.parquet").stat().st_mtime_ns == kept
    shown = console.export_text()
    assert "measured already on this machine" in shown
    assert f"Remove {folder} to measure again" in shown


def test_another_machine_version_or_setting_is_another_study(monkeypatch: pytest.MonkeyPatch) -> None:
    def fingerprint(**settings: object) -> str:
        return RuntimeMeasurement(["unet_tiny"], devices=["cpu"], **settings).fingerprint()  # type: ignore[arg-type]

    first = fingerprint()
    assert fingerprint(reference="unet_tiny") == first
    from slackoff.sweep import runtime

    others = [fingerprint(size_px=64), fingerprint(rounds=3), fingerprint(threads=7)]
    here = runtime.describe_environment()
    for key, value in {"cpu": "Other CPU", "packages": here["packages"] | {"torch": "9.9"}}.items():
        with monkeypatch.context() as patched:
            patched.setattr(runtime, "describe_environment", lambda key=key, value=value: here | {key: value})
            others.append(fingerprint())
    assert len({first, *others}) == 6


def test_presets_that_fail_are_told_of_and_the_others_are_timed(
    configured: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf" / "network").mkdir(parents=True)
    for name, text in (BROKEN | {"good": GOOD}).items():
        (tmp_path / "conf" / "network" / f"{name}.yaml").write_text(text)
    config = configured("study.measure.networks=null")
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


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("study.measure.networks=[unet_tinny]", "There is no network 'unet_tinny' (study.measure.networks): did you"),
        ("study.measure.networks=unet_tiny", "study.measure.networks=unet_tiny is no list of presets"),
        ("study.measure.networks=[]", "is no list of presets"),
        ("study.measure.reference=unet", "study.measure.reference=unet is not measured: add it to"),
        ("study.measure.reference=unett", "There is no network 'unett' (study.measure.reference): did you mean"),
        ("study.measure.size_px=8", "study.measure.size_px=8 cannot be: give a whole number from 16 up."),
        ("study.measure.rounds=0", "study.measure.rounds=0 cannot be"),
        ("study.measure.warm_up=-1", "study.measure.warm_up=-1 cannot be"),
        ("study.measure.threads=0", "study.measure.threads=0 cannot be"),
        ("study.measure.budget_s=0", "study.measure.budget_s=0 cannot be: give seconds above 0."),
        ("study.measure.devices=[tpu]", "study.measure.devices=['tpu'] cannot be"),
        ("study.measure.devices=cpu", "study.measure.devices=cpu cannot be"),
    ],
)
def test_a_mistake_leaves_no_study(
    configured: Callable[..., DictConfig], tmp_path: Path, override: str, words: str
) -> None:
    with pytest.raises(SlackoffError, match=re.escape(words)):
        run_measurement(configured(override), Console(quiet=True))
    assert not list((tmp_path / "runs").rglob("study.json"))


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

    monkeypatch.setattr("slackoff.sweep.runtime.time_in_rounds", spy)
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
