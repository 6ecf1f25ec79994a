"""The status file tells the truth, also about cells whose process is gone."""

from pathlib import Path

import pytest
from filelock import FileLock

from slackoff.errors import SlackoffError
from slackoff.record.status import LOCK, Status, observed_status, read_status


def test_what_is_written_is_read(tmp_path: Path):
    status = Status("abc", {"network": "unet", "patch_count": 8}, 100, state="done", step=100, notes=["a note"])
    status.write(tmp_path)
    assert read_status(tmp_path) == status
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]


def test_no_file_is_no_status_and_a_damaged_one_is_named(tmp_path: Path):
    assert read_status(tmp_path) is None
    (tmp_path / "status.json").write_text("{")
    with pytest.raises(SlackoffError, match=r"status\.json is damaged .* remove the folder"):
        read_status(tmp_path)


def test_running_without_a_process_is_interrupted(tmp_path: Path):
    Status("abc", {}, 100, state="running").write(tmp_path)
    with FileLock(tmp_path / LOCK):
        status = observed_status(tmp_path)
        assert status is not None
        assert status.state == "running"
    status = observed_status(tmp_path)
    assert status is not None
    assert status.state == "interrupted"
