"""A study in W&B, published to a stub of the server or offline: whole, once, brought up to date, failing quietly."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import wandb
from wandb_stub import COUNTS, ENTITY, KEY, STUDY, Stub, image_rows, serving, write_cell, write_record

from slackoff.analysis import load
from slackoff.analysis.tables import study_table
from slackoff.analysis.wandb_source import tag_of
from slackoff.wandb_view import publish as publish_module
from slackoff.wandb_view.publish import curves, publish, show_study, study_run_id, with_lines
from verbs import call, mistake

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


def test_a_run_that_was_deleted_on_the_server_stops_nothing_else(stub: Stub, runs: Path, monkeypatch):
    waited: list[float] = []
    real = wandb.Settings

    def settings(**given: Any) -> wandb.Settings:
        if "init_timeout" in given:
            waited.append(given["init_timeout"])
            given["init_timeout"] = 2.0
        return real(**given)

    monkeypatch.setattr(wandb, "Settings", settings)
    stub.deleted |= set(CELLS[:2])
    told: list[str] = []
    done = publish(STUDY, runs, "demo", warn=told.append)
    assert (done.written, done.there, done.unstarted, done.study_written) == (1, 0, 0, True)
    assert set(stub.runs) == {CELLS[2], f"study-{STUDY}"}
    assert waited == [20.0, 5.0, 5.0, 5.0]  # the second deleted run is not waited for as long as the first
    assert done.workspace
    assert done.report
    sentence, _ = told
    assert done.failures == tuple(told)
    assert sentence.startswith(f"The run {CELLS[0]} of cell {CELLS[0][5:]} was not written to W&B (")
    assert "was previously created and deleted" in sentence
    assert sentence.endswith("publish to another project with --project NAME")


@pytest.mark.parametrize("part", ["_publish_cell", "publish_study", "save_workspace", "save_report"])
def test_whatever_wandb_raises_is_one_sentence_and_the_rest_goes_on(stub: Stub, runs: Path, monkeypatch, part: str):
    def fail(*_: object) -> None:
        raise wandb.errors.CommError("no\nluck")

    monkeypatch.setattr(publish_module, part, fail)
    result = call("publish", "--study", STUDY, "--runs", runs, "--project", "demo")
    count = 3 if part == "_publish_cell" else 1
    assert result.exit_code == 10 + count
    lines = result.stderr.splitlines()
    assert len(lines) == count
    assert all("was not written to W&B (CommError: no): look whether the files" in line for line in lines)
    if part != "_publish_cell":
        assert set(CELLS) <= set(stub.runs)
    assert ("Report: http" in result.stdout) == (part != "save_report")
    assert ("Workspace: http" in result.stdout) == (part != "save_workspace")


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
    command = ["publish", "--study", "patchcount", "--runs", runs, "--offline"]
    result = call(*command)
    assert result.exit_code == 0, result.output
    assert "3 cells written, 0 were there already" in result.output
    folders = sorted((runs / "studies" / STUDY / "wandb").glob("offline-run-*"))
    assert len(folders) == 4
    assert "0 cells written, 3 were there already" in call(*command).output
    assert sorted((runs / "studies" / STUDY / "wandb").glob("offline-run-*")) == folders
    assert not stub.asked
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    one, *_ = (str(folder) for folder in folders if folder.name.endswith(CELLS[0]))
    subprocess.run([sys.executable, "-m", "wandb", "sync", one], check=True, capture_output=True, timeout=120)
    assert list(stub.runs) == [CELLS[0]]
    assert [row[STEP] for row in stub.history(CELLS[0])] == [10, 20, 30, 40, 40]


def test_the_folder_to_upload_is_the_studys_own_wherever_that_lies(runs: Path, tmp_path: Path):
    """Given as a folder elsewhere than --runs, with a name that a shell and rich would take for something else."""
    moved = runs.with_name("my [runs] & co")
    runs.rename(moved)
    result = call("publish", "--study", moved / "studies" / STUDY, "--runs", tmp_path / "other", "--offline")
    assert result.exit_code == 0, result.output
    *_, upload = shlex.split(result.output.strip().splitlines()[-1])
    assert Path(upload) == moved / "studies" / STUDY / "wandb" / "offline-run-*"
    assert len(list(Path(upload).parent.glob("offline-run-*"))) == 4


def test_the_results_of_a_teacher_are_shown_beside_those_of_the_cell(runs: Path):
    folder = runs / "cells" / CELLS[0][5:]
    image_rows(20.0).to_parquet(folder / "images_teacher.parquet")
    assert call("publish", "--study", STUDY, "--runs", runs, "--offline").exit_code == 0
    (run,) = (runs / "studies" / STUDY / "wandb").glob(f"offline-run-*{CELLS[0]}")
    tables = {path.name.partition("_table")[0].rsplit("_", 2)[0] for path in run.glob("files/media/table/*.json")}
    assert {"images", "images_teacher"} <= tables


@pytest.mark.parametrize("damage", ["a: [", "just text", "study: {}"])
def test_a_damaged_config_is_one_sentence_and_the_others_go_on(runs: Path, damage: str):
    config = runs / "cells" / CELLS[0][5:] / "config.yaml"
    config.write_text(damage)
    result = call("publish", "--study", STUDY, "--runs", runs, "--offline")
    assert result.exit_code == 11, result.output
    assert "2 cells written, 0 were there already" in result.output
    (sentence,) = result.stderr.splitlines()
    assert sentence.startswith(f"The run {CELLS[0]} of cell {CELLS[0][5:]} was not written")
    assert len(list((runs / "studies" / STUDY / "wandb").glob("offline-run-*"))) == 3


def test_without_a_key_nothing_is_sent_and_the_cure_is_said(stub, runs, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    wandb.teardown()
    cure = f"There is no W&B API key for {stub.url}: run wandb login, or give --offline"
    assert cure in mistake("publish", "--study", STUDY, "--runs", runs)
    assert not stub.runs


def test_a_name_that_fits_several_studies_is_refused(runs: Path):
    other = runs / "studies" / "patchcount-laptop-y"
    other.mkdir()
    (other / "study.json").write_text((runs / "studies" / STUDY / "study.json").read_text())
    fitting = "--study patchcount fits several studies: name one of patchcount-laptop-y, patchcount-smoke-x"
    assert fitting in mistake("publish", "--study", "patchcount", "--runs", runs, "--offline")


def test_ids_and_tags_are_such_as_wandb_takes_and_their_own():
    assert study_run_id("a-b_c.d") == "study-a-b_c.d"
    assert re.fullmatch(r"study-a-b-c-d-[0-9a-f]{12}", study_run_id("a b/c:d"))
    assert len({study_run_id(name) for name in ("a b/c:d", "a-b/c:d", "巴黎", "东京", "x" * 200, "x" * 201)}) == 6
    assert len(study_run_id("x" * 200)) == 128
    long = "x" * 80
    assert len(tag_of(long + "a")) == 64
    assert tag_of(long + "a") != tag_of(long + "b")


def two_groups() -> pd.DataFrame:
    """Two groups on two test sets; the row without a value of the axis is that of the rainy input."""
    table = pd.DataFrame(
        {
            "patch_count": pd.array([None, 64, 8, 8, 64], dtype="Int64"),
            "network": [None, "unet", "unet", "resnet", "resnet"],
            "test set": "r100",
            "output": ["rainy input", *["network"] * 4],
            "e_r": [0.0, 30.0, 50.0, 45.0, np.nan],
        }
    )
    return table.assign(**dict.fromkeys(("removal_share", "e_b", "psnr_rgb", "ssim_rgb"), table["e_r"] / 100))


LABELS = ["network", "test set"]


def test_rows_with_results_are_ordered_and_say_which_line_they_belong_to():
    rows = with_lines(two_groups(), "patch_count", LABELS)
    assert rows["line"].tolist() == ["resnet, r100", "unet, r100", "unet, r100"]
    assert rows["patch_count"].tolist() == [8, 8, 64]
    assert rows["e_r"].tolist() == [45.0, 50.0, 30.0]
    assert set(with_lines(two_groups(), "patch_count", [])["line"]) == {"all"}


def test_every_measure_has_a_plot_for_each_test_set():
    rows = with_lines(two_groups(), "patch_count", LABELS)
    both = pd.concat([rows, rows.assign(**{"test set": "own"})], ignore_index=True)
    assert curves(both)[:2] == [("study on r100", "e_r", "r100"), ("study on r100", "removal_share", "r100")]
    assert {(key, name) for key, _, name in curves(both)} == {("study on r100", "r100"), ("study on own", "own")}
    assert len(curves(both)) == 10
    assert curves(rows.drop(columns="test set"))[0] == ("study", "e_r", "")


def test_a_study_is_one_offline_run_and_is_not_written_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = write_record(tmp_path / "runs")
    assert show_study(load(folder), "slackoff")
    assert not show_study(load(folder), "slackoff")
    (run,) = folder.glob("wandb/offline-run-*")
    assert run.name.endswith("study-patchcount-smoke-x")
    assert list(run.glob("*.wandb"))
    files = {path.name.split("_0_")[0] for path in run.glob("files/media/*/**/*") if path.is_file()}
    assert {"study", "study on own", "study on r100like", "claims", "curves", "report"} <= files
    (table,) = run.glob("files/media/table/study_0_*.json")
    content = json.loads(table.read_text())
    rows = pd.DataFrame(content["data"], columns=content["columns"]).set_index(["test set", "patch_count"])
    assert rows["e_r"].to_dict() == {
        ("own", 8): 50.0,
        ("own", 64): 45.0,
        ("r100like", 8): 60.0,
        ("r100like", 64): 55.0,
    }
    assert (rows["e_r_low"] < rows["e_r"]).all()
    image_rows(33.0).to_parquet(tmp_path / "runs/cells/0000000000bb/images.parquet")
    shutil.rmtree(run)
    assert show_study(load(folder), "slackoff")


def test_wandb_that_raises_fails_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog):
    def refuse(**options: object) -> None:
        raise wandb.errors.CommError("no server")

    monkeypatch.setattr(wandb, "init", refuse)
    assert not show_study(load(write_record(tmp_path / "runs")), "slackoff")
    assert "The study is not shown in W&B (CommError: no server)" in caplog.text
