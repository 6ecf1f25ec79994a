"""The status file tells the truth, also about cells whose process is gone."""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from slackoff.cell.callbacks import StatusCallback
from slackoff.cell.launch import LaunchOptions
from slackoff.errors import SlackoffError
from slackoff.record.ledger import HeartbeatMonitor, claim, end_attempt
from slackoff.record.status import Status, observed_status, read_status


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


def test_running_is_believed_as_long_as_its_process_lives(tmp_path: Path):
    Status("abc", {}, 100, state="running").write(tmp_path)
    attempt = claim(tmp_path)
    assert state(tmp_path) == "running"
    end_attempt(attempt, "interrupted")
    assert state(tmp_path) == "interrupted"


def test_what_a_dead_process_could_not_say_the_ledger_says(tmp_path: Path):
    Status("abc", {}, 100, state="running").write(tmp_path)
    end_attempt(claim(tmp_path), "failed", "killed by signal 9")
    status = observed_status(tmp_path, HeartbeatMonitor())
    assert status is not None
    assert (status.state, status.last_error) == ("failed", "killed by signal 9")


def test_done_stays_done_whatever_the_ledger_says(tmp_path: Path):
    Status("abc", {}, 100, state="done").write(tmp_path)
    end_attempt(claim(tmp_path), "failed", "died after its last word")
    assert state(tmp_path) == "done"


def test_the_time_to_the_first_step_does_not_depend_on_a_clock_that_can_be_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    status = Status("abc", {}, 100)
    callback = StatusCallback(status, tmp_path, LaunchOptions().process_start)
    monkeypatch.setattr(time, "time", lambda: 0.0)  # set back by decades since the process started
    callback.on_train_batch_end(SimpleNamespace(global_step=1, is_global_zero=True))  # type: ignore[arg-type]
    assert status.seconds_to_first_step is not None
    assert 0 <= status.seconds_to_first_step < 10


def state(folder: Path) -> str | None:
    status = observed_status(folder, HeartbeatMonitor())
    return status.state if status else None
