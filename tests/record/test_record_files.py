"""Files are there whole or not at all, also when the disk is full."""

import errno
import os
from pathlib import Path
from unittest.mock import Mock

import pytest

from slackoff.record import files
from slackoff.record.files import create_text, remove_partials, write_text, write_whole

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
    halves = []  # as a kill in the middle of writing leaves them
    for name in ("last.ckpt", "config.yaml"):
        write_whole(tmp_path / name, lambda partial: (partial.write_text("whole"), halves.append(partial)))
        halves[-1].write_text("ha")
    (tmp_path / ".other").touch()
    remove_partials(tmp_path, kept=("config.yaml",))
    assert sorted(tmp_path.iterdir()) == sorted(
        [halves[1], *(tmp_path / name for name in ("last.ckpt", "config.yaml", ".other"))]
    )
    os.utime(halves[1], (1, 1))
    remove_partials(tmp_path, kept=("config.yaml",))
    assert not halves[1].exists()


@pytest.mark.parametrize("name", ["x" * 251 + ".png", "é" * 126 + "z", os.fsdecode(b"\xff\xfe.png"), "$a_b {c}"])
def test_any_name_that_a_file_can_have(tmp_path: Path, name: str):
    write_text(tmp_path / name, "text")
    create_text(tmp_path / name[::-1], "text")
    assert {path.name for path in tmp_path.iterdir()} == {name, name[::-1]}


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


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("old")
    seen, fsync = [], os.fsync

    def flushed(descriptor: int) -> None:
        seen.append((os.fstat(descriptor).st_size, (tmp_path / "file").read_text()))
        fsync(descriptor)

    monkeypatch.setattr(files.os, "fsync", flushed)
    write_text(tmp_path / "file", "later")
    assert seen == [(5, "old")]
    assert (tmp_path / "file").read_text() == "later"


@pytest.mark.parametrize("times", [1, 2])
def test_a_file_that_was_replaced_over_a_network_is_opened_anew(tmp_path: Path, times: int, monkeypatch):
    (tmp_path / "file").write_text("text")
    stale = [OSError(errno.ESTALE, "Stale file handle")] * times
    monkeypatch.setattr(Path, "read_bytes", Mock(side_effect=[*stale, b"text"]))
    assert files.read_bytes(tmp_path / "file") == b"text"
    monkeypatch.setattr(Path, "read_bytes", Mock(side_effect=[PermissionError(13, "no"), b"text"]))
    with pytest.raises(PermissionError):
        files.read_bytes(tmp_path / "file")


def test_where_nothing_can_be_removed_the_first_error_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A file system that turns read-only in the middle refuses to remove the half, too."""
    monkeypatch.setattr(files.os, "fsync", FULL)
    monkeypatch.setattr(Path, "unlink", Mock(side_effect=OSError(errno.EROFS, "Read-only file system")))
    with pytest.raises(OSError, match="No space left"):
        write_text(tmp_path / "file", "new")
