"""A study published to a stub of the server: whole, once, and brought up to date."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import wandb
from published_record import COUNTS, STUDY, image_rows, write_cell, write_record
from typer.testing import CliRunner
from wandb_stub import ENTITY, KEY, Stub, serving

from slackoff.analysis import load
from slackoff.analysis.tables import study_table
from slackoff.analysis.wandb_source import tag_of
from slackoff.cli.app import app
from slackoff.wandb_view.publish import publish

STEP = "trainer/global_step"
CELLS = [f"cell-{identity}" for identity in COUNTS]


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    """A server that this process is logged in to."""
    with serving() as found:
        monkeypatch.setenv("WANDB_BASE_URL", found.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        wandb.teardown()  # it has read the environment already
        yield found
    wandb.teardown()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    write_record(tmp_path / "runs")
    return tmp_path / "runs"


def state(stub: Stub) -> dict[str, object]:
    """What the server holds, without times and without names that are drawn anew."""
    histories = {
        name: [{key: value for key, value in row.items() if key in (STEP, "train/loss")} for row in stub.history(name)]
        for name in stub.runs
    }
    views = sorted((view["type"], view["displayName"]) for view in stub.views.values())
    return {"histories": histories, "views": views, "tags": {name: run["tags"] for name, run in stub.runs.items()}}


def test_a_study_is_shown_whole_and_a_second_time_changes_nothing(stub: Stub, runs: Path):
    stub.projects.add("demo")
    stub.upsert_run({"id": None, "name": "somebody-else", "project": "demo", "tags": ["theirs"]})
    stub.upsert_view(
        {"entityName": ENTITY, "projectName": "demo", "type": "runs", "name": "n", "displayName": "Theirs"}
    )
    done = publish(STUDY, runs, "demo")
    assert (done.written, done.there, done.unstarted, done.study_written) == (3, 0, 0, True)
    assert set(stub.runs) == {"somebody-else", *CELLS, f"study-{STUDY}"}
    first, _, unfinished = CELLS
    assert [(row[STEP], row.get("train/loss"), row.get("final/e_r")) for row in stub.history(first)] == [
        (10, 0.4, None),
        (20, 0.3, None),
        (30, 0.2, None),
        (40, 0.1, 50.0),
        (40, None, None),
    ]
    last = stub.history(first)[-1]
    assert {f"pictures/{kind}" for kind in ("rainy", "output", "truth", "error", "rain_mask")} < set(last)
    table = json.loads(stub.files[first, last["images"]["path"]])
    assert len(table["data"]) == len(image_rows(0.0))
    marker = stub.config(first)["slackoff"]
    assert (marker["id"], marker["study"], marker["axes"]) == (first[5:], STUDY, {"patch_count": 8})
    assert (stub.runs[first]["state"], stub.runs[unfinished]["state"]) == ("finished", "failed")
    assert len(stub.history(unfinished)) == 4
    assert all(tag_of(STUDY) in run["tags"] for name, run in stub.runs.items() if name != "somebody-else")
    kinds = sorted(view["type"] for view in stub.views.values())
    assert kinds == ["project-view", "runs", "runs"]

    before, asked = state(stub), len(stub.asked)
    again = publish(STUDY, runs, "demo")
    assert (again.written, again.there, again.study_written) == (0, 3, False)
    assert (again.workspace, again.report) == (done.workspace, done.report)
    assert state(stub) == before
    assert "UpsertBucket" not in stub.asked[asked:]
    assert stub.unknown == []
    assert not any("delete" in name.lower() for name in stub.asked)

    image_rows(33.0).to_parquet(runs / "cells" / first[5:] / "images.parquet")
    newer = publish(STUDY, runs, "demo")
    assert (newer.written, newer.there, newer.study_written) == (1, 2, True)
    assert [row[STEP] for row in stub.history(first)] == [10, 20, 30, 40, 40, 40]
    write_cell(runs / "cells" / unfinished[5:], unfinished[5:], 1024, 40.0, done=True)
    assert publish(STUDY, runs, "demo").written == 1
    assert [row[STEP] for row in stub.history(unfinished)] == [10, 20, 30, 40, 40]
    assert stub.runs[unfinished]["state"] == "finished"
    assert publish(STUDY, runs, "demo").written == 0
    assert sorted(view["type"] for view in stub.views.values()) == kinds


def test_what_is_published_gives_the_frames_of_the_record(stub: Stub, runs: Path):
    """Read through the real client; a cell that another study had trained is found by its tag, other runs are not."""
    publish(STUDY, runs, "demo")
    stub.runs[CELLS[1]]["groupName"] = "rainrange"
    others = {"cell-1": "another", "of-the-group": "patchcount"}
    for name, group in others.items():
        stub.upsert_run({"name": name, "project": "demo", "groupName": group, "config": "{}"})
    stub.runs["cell-1"]["config"] = json.dumps({"slackoff": {"value": {"id": "1"}}})
    found, record = load(f"wandb:{ENTITY}/demo/{STUDY}"), load(STUDY, runs)
    assert found.study.name == STUDY
    assert list(found.cells["state"]) == ["done", "done", "interrupted"]
    assert list(found.cells["wandb_id"]) == CELLS
    for name in ("cells", "steps", "images", "teachers"):  # the order of columns is not kept by the client
        shown, written = (getattr(frames, name).drop(columns="wandb_id", errors="ignore") for frames in (found, record))
        pd.testing.assert_frame_equal(shown, written, check_like=True)
    pd.testing.assert_frame_equal(study_table(found), study_table(record))


def test_a_run_that_was_logged_live_is_joined_to_the_study_and_not_written_again(stub: Stub, runs: Path):
    publish(STUDY, runs, "demo")
    live = stub.runs[CELLS[0]]
    config = json.loads(live["config"])
    config["slackoff"]["value"] |= {"study": "patchcount", "axes": {"patch_count": 8}}
    live |= {"config": json.dumps(config), "tags": ["study=patchcount", "their tag"]}
    history = stub.history(CELLS[0])
    assert publish(STUDY, runs, "demo").written == 0
    assert live["tags"] == ["study=patchcount", "their tag", tag_of(STUDY)]
    assert stub.config(CELLS[0])["slackoff"]["study"] == STUDY
    assert stub.history(CELLS[0]) == history


def test_offline_runs_are_written_once_and_synced_whole(stub: Stub, runs: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WANDB_API_KEY")
    command = ["publish", "--study", "patchcount", "--runs", str(runs), "--offline"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "3 cells written, 0 were there already" in result.output
    folders = sorted((runs / "studies" / STUDY / "wandb").glob("offline-run-*"))
    assert len(folders) == 4
    assert "0 cells written, 3 were there already" in CliRunner().invoke(app, command).output
    assert sorted((runs / "studies" / STUDY / "wandb").glob("offline-run-*")) == folders
    assert not stub.asked
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    one, *_ = (str(folder) for folder in folders if folder.name.endswith(CELLS[0]))
    subprocess.run([sys.executable, "-m", "wandb", "sync", one], check=True, capture_output=True, timeout=120)
    assert list(stub.runs) == [CELLS[0]]
    assert [row[STEP] for row in stub.history(CELLS[0])] == [10, 20, 30, 40, 40]


def test_without_a_key_nothing_is_sent_and_the_cure_is_said(
    stub: Stub, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    wandb.teardown()
    result = CliRunner().invoke(app, ["publish", "--study", STUDY, "--runs", str(runs)])
    assert result.exit_code == 2
    assert f"There is no W&B API key for {stub.url}: run wandb login, or give --offline" in result.stderr
    assert not stub.runs


def test_a_name_that_fits_several_studies_is_refused(runs: Path):
    other = runs / "studies" / "patchcount-laptop-y"
    other.mkdir()
    (other / "study.json").write_text((runs / "studies" / STUDY / "study.json").read_text())
    result = CliRunner().invoke(app, ["publish", "--study", "patchcount", "--runs", str(runs), "--offline"])
    assert result.exit_code == 2
    assert (
        "--study patchcount fits several studies: name one of patchcount-laptop-y, patchcount-smoke-x" in result.stderr
    )


def test_a_tag_of_a_long_name_is_cut_and_stays_its_own():
    long = "x" * 80
    assert len(tag_of(long + "a")) == 64
    assert tag_of(long + "a") != tag_of(long + "b")
