"""The main command at smoke size, as a person types it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import OmegaConf
from rich.console import Console
from typer.testing import CliRunner

from slackoff.__main__ import main
from slackoff.analysis.cost import NETWORK_COSTS, network_costs
from slackoff.cli.app import app
from slackoff.config.presets import compose_preset
from slackoff.errors import SlackoffError
from slackoff.record.status import Status
from slackoff.sweep.backend import Resources, Slot
from slackoff.sweep.expand import resolved
from slackoff.sweep.local import LocalBackend
from slackoff.sweep.manifest import Job
from slackoff.sweep.plan import Cell
from slackoff.sweep.planner_process import PlannerProcess
from slackoff.sweep.study import keep_network_costs, run_jobs

COMMAND = [sys.executable, "-m", "slackoff"]


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=280,
    )


def statuses(cwd: Path) -> dict[str, Status]:
    found = [json.loads(path.read_text()) for path in cwd.glob("runs/cells/*/status.json")]
    return {content["id"]: Status(**content) for content in found}


STUDY = ["+experiment=patchcount", "-m", "size=smoke", "background.patch_count=4", "schedule.log_every=1"]
STUDY += ["trainer.precision=32-true"]

Study = tuple[Path, subprocess.CompletedProcess[str]]
"""Where the command ran, and how it ended."""


@pytest.fixture(scope="module")
def study(once: Callable[[str, Callable[[Path], None]], Path]) -> Study:
    """One smoke study with two cells, one of which is made to fail by a rate that blows up."""

    def train(folder: Path) -> None:
        done = run(*STUDY, "task.learning_rate=1e-3,1e30", cwd=folder)
        (folder / "ended.json").write_text(json.dumps([done.returncode, done.stdout, done.stderr]))

    folder = once("study", train)
    return folder, subprocess.CompletedProcess([], *json.loads((folder / "ended.json").read_text()))


@pytest.fixture
def copied(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that study, to change; the test runs there."""
    without = shutil.ignore_patterns("wandb")  # it has links to logs that need not be there
    shutil.copytree(study[0] / "runs", tmp_path / "runs", ignore=without)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_failing_cell_is_said_at_once_and_does_not_stop_the_others(study):
    cwd, result = study
    assert result.returncode == 11, result.stdout + result.stderr
    states = sorted(status.state for status in statuses(cwd).values())
    assert states == ["done", "failed"]
    (failed,) = (status for status in statuses(cwd).values() if status.state == "failed")
    assert "The loss became NaN or infinite at step" in result.stdout
    assert failed.last_error in result.stdout
    assert "NonFiniteLossError" in (cwd / "runs/cells" / failed.id / "error.txt").read_text()
    assert "1 of 2 cells failed" in result.stdout


def test_every_cell_has_its_own_wandb_run(study):
    cwd, _ = study
    runs = [path.name for path in cwd.glob("runs/cells/*/wandb/offline-run-*")]
    ids = {name.rsplit("-run-", 1)[1].split("-", 1)[1] for name in runs}
    assert ids == {f"cell-{identity}" for identity in statuses(cwd)}
    assert {status.wandb_id for status in statuses(cwd).values()} == {f"cell-{i}" for i in statuses(cwd)}


def test_the_offline_run_of_a_cell_reads_back_whole(study):
    cwd, _ = study
    (done,) = (status for status in statuses(cwd).values() if status.state == "done")
    folder = cwd / "runs/cells" / done.id
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    inspect = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    lines = subprocess.run(inspect, capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()
    kinds: dict[str, list[dict[str, Any]]] = {}
    for record in map(json.loads, lines):
        kinds.setdefault(record["type"], []).append(record[record["type"]])
    steps = pd.read_parquet(folder / "steps.parquet").drop(columns="elapsed_s").set_index("step")
    logged = pd.DataFrame([row["item"] for row in kinds["history"]])
    assert logged["trainer/global_step"].is_monotonic_increasing
    merged = logged.groupby("trainer/global_step").last()[list(steps.columns)]
    pd.testing.assert_frame_equal(merged.astype(float), steps, check_names=False, check_dtype=False, rtol=1e-9)
    last = kinds["history"][-1]["item"]
    assert last["images.nrows"] == len(pd.read_parquet(folder / "images.parquet"))
    assert last["pictures/output.count"] == len(list(folder.glob("pictures/*/*")))
    assert kinds["config"][-1]["update"]["slackoff"]["status"]["state"] == "done"
    assert kinds["exit"] == [{**kinds["exit"][0], "exit_code": 0}]
    samples = kinds.get("stats", [])  # a cell may end before W&B takes the first
    assert all("memory_percent" in sample["item"] for sample in samples)


def test_the_study_is_reported_and_shown_in_wandb(study):
    cwd, result = study
    (folder,) = (cwd / "runs/studies").iterdir()
    assert "index.html" in result.stdout
    assert (folder / "index.html").stat().st_size > 10_000
    assert list(folder.glob("wandb/offline-run-*study-*"))
    content = json.loads((folder / "study.json").read_text())
    assert content["axis"] == "patch_count"
    assert len(content["cells"]) == 2


def test_the_record_of_a_done_cell_is_whole(study):
    cwd, _ = study
    (done,) = (status for status in statuses(cwd).values() if status.state == "done")
    folder = cwd / "runs/cells" / done.id
    images = pd.read_parquet(folder / "images.parquet")
    assert len(images) == 4
    assert {"e_r", "e_r_oracle", "e_b", "removal_share", "psnr_rgb", "ssim_rgb"} <= set(images)
    steps = pd.read_parquet(folder / "steps.parquet")
    assert steps["step"].is_unique
    assert steps["step"].is_monotonic_increasing
    assert steps["test/e_r"].count() == 2  # at steps 10 and 20
    assert steps["train/loss"].count() == 20
    final = steps["final/e_r"].dropna().item()
    assert final == pytest.approx(images["e_r"].mean(), rel=1e-6)
    assert len(list(folder.glob("pictures/*/*/output.png"))) == 2
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["packages"]["torch"]


def test_the_same_command_again_trains_only_what_is_missing(copied, monkeypatch, capsys):
    before = statuses(copied)
    (done,) = (status for status in before.values() if status.state == "done")
    monkeypatch.setattr(sys, "argv", ["slackoff", *STUDY, "task.learning_rate=1e-3"])
    main()
    assert "nothing to train" in capsys.readouterr().out
    assert statuses(copied)[done.id] == done


def test_status_shows_every_cell(study):
    cwd, _ = study
    table = run("status", cwd=cwd).stdout
    assert all(identity in table for identity in statuses(cwd))
    assert "failed" in table
    content = json.loads(run("status", "--json", cwd=cwd).stdout)
    assert {item["state"] for item in content} == {"done", "failed"}


def test_report_rebuilds_from_the_record_alone(copied):
    (folder,) = (copied / "runs/studies").iterdir()
    page = folder / "index.html"
    page.unlink()
    result = CliRunner().invoke(app, ["report", folder.name])
    assert result.exit_code == 0, result.output
    assert page.exists()


def test_a_report_whose_cells_lie_elsewhere_is_told_where(copied):
    (copied / "there").mkdir()
    (folder,) = (copied / "runs/studies").iterdir()
    folder = folder.rename(copied / "there" / folder.name)
    result = CliRunner().invoke(app, ["report", str(folder), "--runs", "elsewhere"])
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: None of the cells of {folder} is under elsewhere: say with --runs where they are, or run the study's "
        "command again\n"
    )
    assert CliRunner().invoke(app, ["report", str(folder), "--runs", "runs"]).exit_code == 0


@pytest.mark.slow
def test_wandb_that_cannot_be_reached_stops_nothing(tmp_path):
    result = run(
        "network=unet_tiny",
        "size=smoke",
        "schedule.steps=4",
        "schedule.evaluate_every=4",
        "evaluation.count=2",
        cwd=tmp_path,
        WANDB_MODE="online",
        WANDB_API_KEY="0" * 40,
        WANDB_BASE_URL="http://127.0.0.1:9",
        WANDB_INIT_TIMEOUT="3",
        WANDB__SERVICE_WAIT="10",
    )
    assert result.returncode == 0, result.stdout + result.stderr
    (status,) = statuses(tmp_path).values()
    assert status.state == "done"


CHEAP = ("size=smoke", "schedule.steps=4", "trainer.precision=32-true", "logger.wandb=false")
EXPERIMENTS = {
    "balance": 4,
    "rainrange": 4,
    "category": 2,
    "transfer": 2,
    "table2": 3,
    "paper150": 3,
    "moss_ablation": 6,
    "moss": 2,
}
EXPERIMENTS |= {"semi_generalisation": 4, "zoo": 8, "menet_ablation": 3, "menet_table2": 1, "menet_lossnet": 2}
EXPERIMENTS |= {"menet_slacking": 3}
"""Experiments whose smoke size takes minutes, with their number of cells."""


@pytest.mark.slow
@pytest.mark.parametrize(("experiment", "count"), EXPERIMENTS.items())
def test_a_study_ends_in_a_report(tmp_path: Path, experiment: str, count: int) -> None:
    result = run(f"+experiment={experiment}", "-m", *CHEAP, cwd=tmp_path, COLUMNS="80")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "\N{HORIZONTAL ELLIPSIS}" not in result.stdout.partition("interval")[0].partition("took")[2]
    (file,) = tmp_path.glob(f"runs/studies/{experiment}-*/study.json")
    content = json.loads(file.read_text())
    assert len(content["cells"]) == count
    done = {status.id for status in statuses(tmp_path).values() if status.state == "done"}
    assert {cell["id"] for cell in content["cells"]} <= done
    assert (file.parent / "index.html").stat().st_size > 50_000
    claims = json.loads((file.parent / "claims.json").read_text())
    assert {claim["verdict"] for claim in claims} <= {"supported", "contradicted", "not enough data"}
    assert list((file.parent / "figures").glob("curves*.png"))


@pytest.mark.slow
def test_a_cell_that_studies_share_is_trained_once(tmp_path: Path) -> None:
    for experiment in ("rainrange", "balance"):
        test_a_study_ends_in_a_report(tmp_path, experiment, 4)
    assert len(list(tmp_path.glob("runs/studies/*/study.json"))) == 2
    assert [status.attempts for status in statuses(tmp_path).values()] == [1] * 4  # rain small, large: N = 4, 16


HERE = Resources([Slot({}, "cpu 0")], LocalBackend, local=True)
SETTINGS = {"size_px": 32, "rounds": 3, "budget_s": 0.2}


def priced(name: str, cost: Any = SETTINGS, **changes: Any) -> Cell:
    node = OmegaConf.to_container(compose_preset(name)) | changes
    content = {"network": node, "study": {"options": {"cost": cost} if cost else {}}}
    return Cell("0" * 12, content, Path(), {"network": node["name"]}, {})


def test_costs_are_kept_and_measured_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = [priced("unet_tiny"), priced("ddn_small"), priced("unet_tiny")]
    keep_network_costs(cells, tmp_path, Console())
    found = network_costs(tmp_path)
    assert found is not None
    assert list(found.networks) == ["unet_tiny", "ddn_small"]
    assert [cost.parameters for cost in found.networks.values()] == [1727, 19737]
    assert all(cost.timing.median > 0 and not cost.failure for cost in found.networks.values())
    assert "Timing 2 networks" in capsys.readouterr().out
    path = tmp_path / NETWORK_COSTS / "study.json"
    before = path.read_text()
    keep_network_costs(cells, tmp_path, Console())
    assert path.read_text() == before
    assert not capsys.readouterr().out
    path.write_text(json.dumps(json.loads(before) | {"fingerprint": "of another machine"}))
    keep_network_costs(cells[:1], tmp_path, Console())
    found = network_costs(tmp_path)
    assert found is not None
    assert list(found.networks) == ["unet_tiny"]


def test_a_network_that_fails_is_said_and_the_others_are_timed(tmp_path: Path) -> None:
    cells = [priced("unet_tiny"), priced("ddn_small", _target_="slackoff.networks.NoSuch")]
    keep_network_costs(cells, tmp_path, Console())
    found = network_costs(tmp_path)
    assert found is not None
    assert found.networks["unet_tiny"].timing.rounds == 3
    assert "NoSuch" in found.networks["ddn_small"].failure


def test_a_study_that_does_not_ask_has_none(tmp_path: Path) -> None:
    keep_network_costs([priced("unet_tiny", cost=None)], tmp_path, Console())
    assert network_costs(tmp_path) is None


@pytest.mark.parametrize(
    ("cost", "sentence"),
    [
        ({"size_px": 8}, r"study\.options\.cost\.size_px=8 cannot be: give a whole number from 16 up"),
        ({"budget_s": 0}, r"study\.options\.cost\.budget_s=0 cannot be"),
        ({"size": 32}, r"study\.options\.cost\.size=32 is not known: did you mean 'study\.options\.cost\.size_px'\?"),
        (True, r"study\.options\.cost=true cannot be: give keys and their values"),
    ],
)
def test_mistakes_in_what_networks_cost_are_found_before_training(composed, cost: Any, sentence: str) -> None:
    config = composed()
    OmegaConf.update(config, "study.options.cost", cost, force_add=True)
    with pytest.raises(SlackoffError, match=sentence):
        run_jobs([Job([])], [resolved(config)], HERE, PlannerProcess(), Console(quiet=True))


def test_one_name_is_one_network() -> None:
    with pytest.raises(SlackoffError, match="Two networks of this study have the name unet_tiny"):
        keep_network_costs([priced("unet_tiny"), priced("unet_tiny", width=5)], Path(), Console())
