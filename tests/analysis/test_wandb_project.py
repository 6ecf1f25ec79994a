"""A study that W&B holds gives the frames that its record gives."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import wandb
from analysis_record import Cell, image_rows, step_rows, write_study
from wandb_api_stub import StubRun, serving

from slackoff.analysis import Frames, load
from slackoff.analysis.tables import study_table
from slackoff.analysis.wandb_project import load_wandb
from slackoff.errors import SlackoffError
from slackoff.record.status import read_status
from slackoff.record.wandb_content import run_id, run_options
from slackoff.record.wandb_tags import tag_of

CELLS = [
    Cell({"patch_count": 8, "rain": "small"}),
    Cell({"patch_count": 64, "rain": "medium"}, images=6),
    Cell({"patch_count": 256, "rain": "small"}, state="failed", last_error="boom"),
]
FRAMES = ("cells", "steps", "images", "teachers")


def table_json(rows: pd.DataFrame) -> str:
    """A table as W&B keeps it."""
    return json.dumps(wandb.Table(dataframe=rows)._to_table_json(), default=float)


def events(cell: Cell) -> list[dict[str, Any]]:
    """What a cell logs, as WandbLogger names it: training and evaluation of one step in two events."""
    rows = []
    for row in step_rows(cell).to_dict("records"):
        step, elapsed = int(row.pop("step")), row.pop("elapsed_s")
        values = {key: value for key, value in row.items() if value == value}
        common = {"trainer/global_step": step, "_runtime": elapsed, "_timestamp": 1e9 + elapsed}
        for kind in ("train/", "test/"):
            logged = {key: value for key, value in values.items() if key.startswith(kind)}
            rows += [common | logged] if logged else []
    table = {"images": {"_type": "table-file"}, "epoch": 0, "trainer/global_step": 400, "_runtime": 20.0}
    return [{"trainer/global_step": 20, "train/loss": 7.0, "_runtime": 1.0}, *rows, table]


def run_of(cell: Cell, runs: Path) -> StubRun:
    """The run with the config that a cell gives it; the second one was trained for another study."""
    status = read_status(runs / "cells" / cell.id)
    assert status is not None
    done = cell.state == "done"
    if done:
        status.state = "running"  # its last word is of before its end
    group = "rainrange" if cell is CELLS[1] else "patchcount"
    about = {"name": group, "axis": "background.patch_count"}
    options = run_options({"study": about, "seed": 0}, status, "patchcount", cell.axes)
    return StubRun(
        run_id(cell.id),
        options["group"],
        options["config"],
        events(cell) if done else [],
        {"images": table_json(image_rows(cell))} if done else {},
        "finished" if done else "failed",
        (*options["tags"], tag_of("patchcount")),
    )


@pytest.fixture(scope="module")
def runs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("record") / "runs"


@pytest.fixture(scope="module")
def record(runs_folder: Path) -> Frames:
    return load(write_study(runs_folder, CELLS))


@pytest.fixture(scope="module")
def frames(record: Frames, runs_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Frames]:
    """The same study, asked of a server through the real `wandb.Api`."""
    study_run = StubRun("study-patchcount", "patchcount", {})
    other = StubRun("cell-1", "another", {"slackoff": {"id": "1"}})
    with (
        pytest.MonkeyPatch.context() as patch,
        serving([*(run_of(c, runs_folder) for c in CELLS), study_run, other]) as s,
    ):
        for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        patch.setenv("WANDB_BASE_URL", s.url)
        patch.setenv("WANDB_API_KEY", "k" * 40)
        patch.setenv("WANDB_SILENT", "true")
        yield load("wandb:me/rain/patchcount")


def test_frames_from_wandb_are_those_of_the_record(frames: Frames, record: Frames) -> None:
    assert list(frames.cells["state"]) == ["done", "done", "failed"]
    assert list(frames.cells["wandb_id"]) == [f"cell-{cell.id}" for cell in CELLS]
    pd.testing.assert_frame_equal(frames.cells.drop(columns="wandb_id"), record.cells.drop(columns="wandb_id"))
    common = [column for column in record.steps if column != "elapsed_s"]  # that clock is W&B's own
    assert set(frames.steps) == set(record.steps)
    pd.testing.assert_frame_equal(frames.steps[common], record.steps[common])
    pd.testing.assert_frame_equal(frames.images, record.images)
    pd.testing.assert_frame_equal(frames.teachers, record.teachers)


def test_a_study_from_wandb_has_the_same_table(frames: Frames, record: Frames) -> None:
    assert frames.study.name == "patchcount"
    pd.testing.assert_frame_equal(study_table(frames), study_table(record))


class FakeApi:
    """Runs without a server."""

    def __init__(self, *runs: Any) -> None:
        self.given = runs

    def runs(self, path: str, *, filters: dict[str, Any], lazy: bool) -> list[Any]:
        return list(self.given)


def fake_run(state: str = "finished", history: Any = (), summary: Any = None, **told: Any) -> Any:
    config = {"slackoff": {"id": "abc", "axis": "patch_count", "axes": {"patch_count": 8}, "label": {}, **told}}
    found = {"id": "cell-abc", "state": state, "config": config, "summary_metrics": summary or {}}
    return SimpleNamespace(**found, scan_history=lambda: history, file=None)


def test_a_run_that_logged_no_table_has_no_images() -> None:
    frames = load_wandb("me/rain/study", FakeApi(fake_run()))
    assert (frames.cells["state"][0], len(frames.images), len(frames.steps)) == ("done", 0, 0)
    assert str(frames.images["patch_count"].dtype) == "Int64"


@pytest.mark.parametrize(
    ("seen", "stated", "state"),
    [
        ("finished", "running", "done"),
        ("running", "running", "running"),
        ("crashed", "running", "interrupted"),
        ("failed", "interrupted", "interrupted"),
        ("failed", "running", "failed"),
    ],
)
def test_the_state_is_the_one_that_wandb_saw(seen: str, stated: str, state: str) -> None:
    frames = load_wandb("me/rain/study", FakeApi(fake_run(seen, status={"state": stated})))
    assert list(frames.cells["state"]) == [state]


def test_what_is_not_finite_and_what_is_no_number_in_a_history() -> None:
    rows = [
        {
            "trainer/global_step": 5,
            "train/loss": "NaN",
            "test/psnr_rgb": "Infinity",
            "video": {"_type": "x"},
            "_step": 0,
        },
        {"images": {"_type": "table-file"}, "_step": 1},
    ]
    steps = load_wandb("me/rain/study", FakeApi(fake_run(history=rows))).steps
    assert list(steps.columns) == ["cell", "step", "elapsed_s", "train/loss", "test/psnr_rgb"]
    assert list(steps["step"]) == [5]
    assert steps["train/loss"].isna().all()
    assert steps["test/psnr_rgb"][0] == float("inf")


def test_a_damaged_run_is_unreadable_and_a_newer_one_is_refused() -> None:
    frames = load_wandb("me/rain/study", FakeApi(fake_run(status={"attempts": "x"})))
    assert list(frames.cells["state"]) == ["unreadable"]
    assert "The run cell-abc in W&B cannot be read" in frames.cells["last_error"][0]
    with pytest.raises(SlackoffError, match="The run cell-abc in W&B is of record version 9"):
        load_wandb("me/rain/study", FakeApi(fake_run(status={"record_version": 9})))


def older() -> Any:
    return SimpleNamespace(id="cell-abc", config={"seed": 0})


class LostApi(FakeApi):
    """A server that is not there."""

    def runs(self, path: str, *, filters: dict[str, Any], lazy: bool) -> list[Any]:
        raise ConnectionError("nobody answers\nat that address")


@pytest.mark.parametrize(
    ("where", "api", "words"),
    [
        ("study", FakeApi(), "write wandb:ENTITY/PROJECT/STUDY"),
        ("a/b/c/d", FakeApi(), "write wandb:ENTITY/PROJECT/STUDY"),
        ("me/rain/study", FakeApi(), "The project me/rain in W&B has no cell of a study 'study'.*wandb sync"),
        ("me/rain/study", FakeApi(older()), "The run cell-abc in W&B was written by an older slackoff"),
        ("me/rain/study", FakeApi(fake_run(axes=None)), "damaged under 'slackoff'"),
        ("me/rain/study", LostApi(), r"wandb:me/rain/study cannot be read \(nobody answers\): .*wandb login"),
    ],
)
def test_what_cannot_be_read_from_wandb_is_said_in_a_sentence(where: str, api: Any, words: str) -> None:
    with pytest.raises(SlackoffError, match=words):
        load_wandb(where, api)
