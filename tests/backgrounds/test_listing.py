import os
from pathlib import Path

import pytest

from slackoff.errors import SlackoffError
from slackoff.images.files import list_images
from slackoff.images.files import list_images as reexported

KEY = "background.root"


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def listed(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in list_images(root, KEY)]


def test_finds_every_common_format_in_any_case_at_any_depth(tmp_path):
    names = ["a.png", "b.JPG", "c.jpeg", "d.bmp", "e.tif", "f.TIFF", "g.webp", "h.ppm", "deep/er/z.Png"]
    touch(tmp_path, *names, "notes.txt", "png", "archive.png.zip", "rain.gif")
    assert listed(tmp_path) == sorted(names)


def test_order_is_that_of_the_relative_path(tmp_path):
    touch(tmp_path, "b/1.png", "b.png", "a/z.png", "a-/0.png", "B.png", "10.png", "9.png")
    assert listed(tmp_path) == ["10.png", "9.png", "B.png", "a-/0.png", "a/z.png", "b.png", "b/1.png"]


def test_hidden_files_and_folders_are_skipped(tmp_path):
    touch(tmp_path, "a.png", ".b.png", ".cache/c.png", "__MACOSX/._a.png")
    assert listed(tmp_path) == ["a.png"]


def test_links_are_followed_but_a_loop_or_a_second_way_is_not_walked_twice(tmp_path):
    touch(tmp_path, "outside/o.png", "root/in/a.png")
    root = tmp_path / "root"
    (root / "in" / "loop").symlink_to(root)
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "same").symlink_to(tmp_path / "outside")
    (root / "self").symlink_to("self")
    (root / "file.png").symlink_to(tmp_path / "outside" / "o.png")
    assert listed(root) == ["file.png", "in/a.png", "link/o.png"]


def test_a_broken_link_is_listed_so_that_reading_it_complains(tmp_path):
    touch(tmp_path, "a.png")
    (tmp_path / "b.png").symlink_to("nowhere.png")
    assert listed(tmp_path) == ["a.png", "b.png"]


def test_a_folder_named_like_an_image_is_a_folder(tmp_path):
    touch(tmp_path, "a.png/b.png")
    assert listed(tmp_path) == ["a.png/b.png"]


def test_home_is_expanded(tmp_path, monkeypatch):
    touch(tmp_path, "photos/a.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert list_images("~/photos", KEY) == [tmp_path / "photos" / "a.png"]


@pytest.mark.parametrize(
    ("root", "words"),
    [
        ("missing", "does not exist: give it the path"),
        ("a.txt", "is a file: give it the folder"),
        ("empty", "holds no image: put files ending in .bmp, .jpeg"),
    ],
)
def test_a_wrong_folder_is_named_with_its_key_and_the_cure(tmp_path, root, words):
    touch(tmp_path, "a.txt", "empty/notes.txt", "empty/sub/.hidden.png")
    with pytest.raises(SlackoffError) as caught:
        list_images(tmp_path / root, KEY)
    assert f"{KEY}={tmp_path / root} {words}" in str(caught.value)


@pytest.mark.parametrize("root", [None, ""])
def test_no_folder_at_all(root):
    with pytest.raises(SlackoffError, match=r"background\.root is not set: give it the path"):
        list_images(root, KEY)


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    touch(tmp_path, "a.png", "locked/b.png")
    scan = os.scandir

    def refuse_locked(folder):
        if Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse_locked)
    with pytest.raises(SlackoffError, match=r"background\.root: .*locked cannot be listed \(Permission denied\): make"):
        list_images(tmp_path, KEY)


def test_is_also_offered_beside_the_readers():
    assert reexported is list_images
