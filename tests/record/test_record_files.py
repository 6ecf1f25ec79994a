"""Files are there whole or not at all, also when the disk is full."""

import errno
import os
from pathlib import Path
from unittest.mock import Mock

import pytest

from slackoff.record import files
from slackoff.record.files import create_text, remove_partials, write_text

FULL = Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_text(tmp_path / "file", "old")
    monkeypatch.setattr(files.os, "fsync", FULL)
    with pytest.raises(OSError, match="No space left"):
        write_text(tmp_path / "file", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_a_name_is_not_taken_by_a_file_that_could_not_be_written(tmp_path: Path, monkeypatch):
    """Where there are no hard links the name comes first and the text a moment later."""
    monkeypatch.setattr(files.os, "link", Mock(side_effect=PermissionError(1, "no hard links here")))
    with monkeypatch.context() as disk:
        disk.setattr(Path, "read_text", FULL)
        with pytest.raises(OSError, match="No space left"):
            create_text(tmp_path / "file", "text")
    assert list(tmp_path.iterdir()) == []
    create_text(tmp_path / "file", "text")
    assert (tmp_path / "file").read_text() == "text"


def test_halves_of_killed_processes_are_removed_but_not_what_others_may_be_writing(tmp_path: Path):
    names = [".last.ckpt.0a1b.partial", ".config.yaml.0a1b.partial", "last.ckpt", ".other"]
    for name in names:
        (tmp_path / name).write_text("")
    remove_partials(tmp_path, kept=("config.yaml",))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])


def test_a_link_whose_answer_got_lost_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real = os.link

    def lossy(source: Path, target: Path) -> None:
        real(source, target)
        real(source, target)  # the network sends the request again

    monkeypatch.setattr(files.os, "link", lossy)
    create_text(tmp_path / "file", "text")
    assert (tmp_path / "file").read_text() == "text"
    with pytest.raises(FileExistsError):
        create_text(tmp_path / "file", "other")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
