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


def test_the_time_to_the_first_step_does_not_depend_on_a_clock_that_can_be_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    status = Status("abc", {}, 100)
    callback = StatusCallback(status, tmp_path, LaunchOptions().process_start)
    monkeypatch.setattr(time, "time", lambda: 0.0)  # set back by decades since the process started
    callback.on_train_batch_end(SimpleNamespace(global_step=1, is_global_zero=True))  # type: ignore[arg-type]
    assert status.seconds_to_first_step is not None
    assert 0 <= status.seconds_to_first_step < 10
