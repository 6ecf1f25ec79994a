"""The status file tells the truth, also about cells whose process is gone."""

import json
import os
import time
from dataclasses import asdict, fields
from pathlib import Path
from types import SimpleNamespace

import pytest

from slackoff.cell.callbacks import StatusCallback
from slackoff.cell.launch import LaunchOptions
from slackoff.errors import SlackoffError
from slackoff.record.ledger import HeartbeatMonitor, claim, end_attempt
from slackoff.record.status import DamagedStatusError, Status, observed_status, read_status


def test_what_is_written_is_read(tmp_path: Path):
    status = Status("abc", {"network": "unet", "patch_count": 8}, 100, state="done", step=100, notes=["a note"])
    status.write(tmp_path)
    assert read_status(tmp_path) == status
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]


def test_no_file_is_no_status_and_a_damaged_one_is_named(tmp_path: Path):
    assert read_status(tmp_path) is None
    (tmp_path / "status.json").write_text("{")
    with pytest.raises(SlackoffError, match=r"status\.json is damaged .* run the command of its study again"):
        read_status(tmp_path)


@pytest.mark.parametrize(
    ("written", "outcome", "error", "expected"),
    [
        ("running", None, None, ("running", None)),  # its process lives
        ("running", "interrupted", None, ("interrupted", None)),
        ("running", "failed", "killed by signal 9", ("failed", "killed by signal 9")),
        ("running", "none was made", None, ("interrupted", None)),
        ("pending", "none was made", None, ("pending", None)),
        ("done", "failed", "died after its last word", ("done", None)),
    ],
)
def test_what_a_dead_process_could_not_say_the_ledger_says(tmp_path: Path, written, outcome, error, expected):
    Status("abc", {}, 100, state=written).write(tmp_path)
    if outcome != "none was made":
        attempt = claim(tmp_path)
        if outcome is not None:
            end_attempt(attempt, outcome, error)
    status = observed_status(tmp_path, HeartbeatMonitor())
    assert status is not None
    assert (status.state, status.last_error) == expected


def test_a_cell_of_another_machine_or_boot_that_is_silent_for_long_is_lost(tmp_path: Path):
    Status("abc", {}, 100, state="running").write(tmp_path)
    attempt = claim(tmp_path)
    content = json.loads(attempt.path.read_text())
    attempt.path.write_text(
        json.dumps(content | {"owner": content["owner"] | {"host": "node7", "place": "before the reboot"}})
    )
    assert observed_status(tmp_path, HeartbeatMonitor()).state == "running"
    an_hour_ago = time.time() - 3600
    os.utime(attempt.path, (an_hour_ago, an_hour_ago))
    status = observed_status(tmp_path, HeartbeatMonitor())
    assert status.state == "lost"
    assert f"no sign of life of process {os.getpid()} on node7 for 60 min" in status.last_error


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("attempts", "x", "attempts: Input should be a valid integer"),
        ("attempts", True, "attempts: Input should be a valid integer"),
        ("step", -1, "step: "),
        ("steps_total", 2**64, "steps_total: "),
        ("state", "asleep", "state: "),
        ("started_at", "yesterday", "started_at: "),
        ("train_seconds", float("nan"), "train_seconds: "),
        ("notes", ["a", 1], "notes.1: "),
        ("label", ["a"], "label: "),
        ("id", "../elsewhere", "id: "),
        ("last_error", "\ud800", "Invalid JSON: "),
        ("state", None, "state: "),
    ],
)
def test_a_wrong_value_is_named_with_its_key(tmp_path: Path, key, value, words):
    content = {**asdict(Status("abc", {}, 100)), key: value}
    (tmp_path / "status.json").write_text(json.dumps(content))
    with pytest.raises(DamagedStatusError) as raised:
        read_status(tmp_path)
    assert str(raised.value).startswith(f"{tmp_path}/status.json is damaged ({words}")


@pytest.mark.parametrize("key", [field.name for field in fields(Status)])
def test_a_missing_key_is_named(tmp_path: Path, key: str):
    content = asdict(Status("abc", {}, 100))
    del content[key]
    (tmp_path / "status.json").write_text(json.dumps(content))
    with pytest.raises(DamagedStatusError, match=rf"{key}: Field required"):
        read_status(tmp_path)


def test_the_time_to_the_first_step_does_not_depend_on_a_clock_that_can_be_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    status = Status("abc", {}, 100)
    callback = StatusCallback(status, tmp_path, LaunchOptions().process_start)
    monkeypatch.setattr(time, "time", lambda: 0.0)  # set back by decades since the process started
    callback.on_train_batch_end(SimpleNamespace(global_step=1, is_global_zero=True))  # type: ignore[arg-type]
    assert status.seconds_to_first_step is not None
    assert 0 <= status.seconds_to_first_step < 10
