import hashlib
import shutil

import numpy as np
import pytest
from PIL import Image

from slackoff.errors import SlackoffError
from slackoff.images.sources import FolderSource, image_sizes, map_in_threads


@pytest.fixture
def photos(tmp_path):
    root = tmp_path / "photos"
    (root / "sub").mkdir(parents=True)
    for number, name in enumerate(["b.png", "sub/a.png", "a.png"]):
        pixels = np.random.default_rng(number).integers(0, 256, (20 + number, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name)
    return root


def test_names_sizes_and_pixels_belong_together(photos):
    source = FolderSource(photos)
    assert source.names == ("a.png", "b.png", "sub/a.png")
    assert len(source) == 3
    assert source.fixed_split is None
    assert image_sizes(source, [2, 0]) == [(21, 30), (22, 30)]
    for index, name in enumerate(source.names):
        np.testing.assert_array_equal(source.read(index), np.asarray(Image.open(photos / name)))
        assert source.read(index).shape[:2] == source.size(index)


def test_fingerprint_is_the_documented_hash(photos):
    source = FolderSource(photos)
    total = hashlib.sha256()
    for name in ("a.png", "b.png", "sub/a.png"):
        total.update(f"{name}\0{hashlib.sha256((photos / name).read_bytes()).hexdigest()}\n".encode())
    assert source.fingerprint() == total.hexdigest()


def test_fingerprint_does_not_change_when_the_folder_moves(photos, tmp_path):
    before = FolderSource(photos).fingerprint()
    moved = shutil.move(photos, tmp_path / "elsewhere")
    assert FolderSource(moved).fingerprint() == before


@pytest.mark.parametrize("change", ["byte", "name", "more", "fewer"])
def test_fingerprint_changes_with_the_content(photos, change):
    before = FolderSource(photos).fingerprint()
    file = photos / "b.png"
    if change == "byte":
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    elif change == "name":
        file.rename(photos / "c.png")
    elif change == "more":
        shutil.copy(file, photos / "c.png")
    else:
        file.unlink()
    assert FolderSource(photos).fingerprint() != before


def test_a_file_that_vanished_is_named(photos):
    source = FolderSource(photos)
    (photos / "b.png").unlink()
    with pytest.raises(SlackoffError, match=r"b\.png cannot be read \(No such file or directory\): restore"):
        source.fingerprint()


def test_the_key_reaches_the_message(tmp_path):
    with pytest.raises(SlackoffError, match=r"background\.root=.*nowhere does not exist"):
        FolderSource(tmp_path / "nowhere")
    with pytest.raises(SlackoffError, match=r"teacher\.root=.*nowhere does not exist"):
        FolderSource(tmp_path / "nowhere", key="teacher.root")


def test_threads_keep_the_order_and_pass_errors_on():
    assert list(map_in_threads(lambda n: n * n, range(1000))) == [n * n for n in range(1000)]
    with pytest.raises(ZeroDivisionError):
        list(map_in_threads(lambda n: 1 / n, [1, 0]))
