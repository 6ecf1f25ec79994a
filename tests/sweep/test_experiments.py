"""Every study of the paper at smoke size, as a person types it: it trains, shares cells and ends in a report."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXPERIMENTS = {"balance": 4}
"""Experiment to its number of cells."""

FURTHER = {"rainrange": 4, "category": 2, "transfer": 2, "table2": 3, "paper150": 3}
FURTHER |= {"moss_ablation": 6, "moss": 2, "semi_generalisation": 4}
FURTHER |= {"zoo": 8}
FURTHER |= {"menet_ablation": 3, "menet_table2": 1, "menet_lossnet": 2, "menet_slacking": 3}
"""The same for those that are made as these are; they take minutes."""


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "slackoff", *arguments],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=280,
    )


def cells(records: Path) -> dict[str, int]:
    """Identity of each cell to how often it was trained."""
    found = [json.loads(path.read_text()) for path in records.glob("runs/cells/*/status.json")]
    return {status["id"]: status["attempts"] for status in found if status["state"] == "done"}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_a_study_ends_in_a_report(tmp_path, experiment):
    ends_in_a_report(tmp_path, experiment, EXPERIMENTS[experiment])


@pytest.mark.slow
@pytest.mark.parametrize("experiment", FURTHER)
def test_a_further_study_ends_in_a_report(tmp_path, experiment):
    ends_in_a_report(tmp_path, experiment, FURTHER[experiment])


def ends_in_a_report(records: Path, experiment: str, count: int) -> None:
    cheap = ("size=smoke", "schedule.steps=4", "trainer.precision=32-true", "logger.wandb=false")
    result = run(f"+experiment={experiment}", "-m", *cheap, cwd=records)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "\N{HORIZONTAL ELLIPSIS}" not in result.stdout.partition("interval")[0].partition("took")[2]
    (study,) = records.glob(f"runs/studies/{experiment}-*/study.json")
    content = json.loads(study.read_text())
    assert len(content["cells"]) == count
    assert {cell["id"] for cell in content["cells"]} <= cells(records).keys()
    assert (study.parent / "index.html").stat().st_size > 50_000
    claims = json.loads((study.parent / "claims.json").read_text())
    assert {claim["verdict"] for claim in claims} <= {"supported", "contradicted", "not enough data"}
    assert list((study.parent / "figures").glob("curves*.png"))


@pytest.mark.slow
def test_a_cell_that_studies_share_is_trained_once(tmp_path):
    for experiment in ("rainrange", "balance"):
        ends_in_a_report(tmp_path, experiment, 4)
    trained = cells(tmp_path)
    assert len(list(tmp_path.glob("runs/studies/*/study.json"))) == 2
    assert len(trained) == 4  # rain small, large: N = 4, 16
    assert set(trained.values()) == {1}
