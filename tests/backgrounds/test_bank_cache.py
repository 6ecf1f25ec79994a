import errno
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from slackoff.errors import SlackoffError
from slackoff.images.bank import build_bank, cached_bank
from slackoff.images.sources import FolderSource


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "photos"
    root.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (70, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{number}.png")
    return FolderSource(root)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "not yet" / "cache"


@pytest.fixture
def decoded(source, monkeypatch):
    """The images that were decoded, in a list that grows."""
    read, seen = source.read, []
    monkeypatch.setattr(source, "read", lambda index: (seen.append(index), read(index))[1])
    return seen


def banks(cache):
    return sorted(cache.glob("*.npy"))


def test_equals_the_built_bank_and_is_read_only(source, cache):
    bank = cached_bank(cache, source, [0, 2], 32, 10, seed=1)
    np.testing.assert_array_equal(bank, build_bank(source, [0, 2], 32, 10, seed=1))
    assert bank.dtype == np.uint8
    assert not bank.flags.writeable
    assert isinstance(bank, np.memmap)
    with pytest.raises(ValueError):
        bank[0] = 0


def test_a_file_serves_every_smaller_count(source, cache, decoded):
    large = cached_bank(cache, source, [0, 1, 2], 32, 20, seed=1)
    decoded.clear()
    small = cached_bank(cache, source, [0, 1, 2], 32, 8, seed=1)
    assert decoded == []
    np.testing.assert_array_equal(small, large[:8])
    assert len(banks(cache)) == 1


def test_a_larger_count_replaces_the_file(source, cache):
    small = cached_bank(cache, source, [0, 1, 2], 32, 4, seed=1)
    large = cached_bank(cache, source, [0, 1, 2], 32, 20, seed=1)
    np.testing.assert_array_equal(large[:4], small)
    assert len(large) == 20
    assert len(banks(cache)) == 1


def test_everything_but_the_count_has_its_own_file(source, cache):
    cached_bank(cache, source, [0, 1], 32, 4, seed=1)
    cached_bank(cache, source, [1, 0], 32, 4, seed=1)
    cached_bank(cache, source, [0, 1], 16, 4, seed=1)
    cached_bank(cache, source, [0, 1], 32, 4, seed=2)
    source.paths[2].write_bytes(source.paths[1].read_bytes())
    cached_bank(cache, FolderSource(source.root), [0, 1], 32, 4, seed=1)
    assert len(banks(cache)) == 5


def test_a_known_fingerprint_saves_reading_the_files(source, cache, monkeypatch):
    known = source.fingerprint()
    bank = cached_bank(cache, source, [0], 32, 4, seed=1)
    monkeypatch.setattr(source, "fingerprint", lambda: pytest.fail("fingerprint was computed again"))
    np.testing.assert_array_equal(cached_bank(cache, source, [0], 32, 4, seed=1, fingerprint=known), bank)


@pytest.mark.parametrize("damage", ["empty", "half", "header", "zip", "shape", "dtype"])
def test_a_corrupt_file_is_rebuilt(source, cache, damage):
    expected = np.array(cached_bank(cache, source, [0, 1, 2], 32, 10, seed=1))
    path = banks(cache)[0]
    whole = path.read_bytes()
    if damage in ("shape", "dtype"):
        other = np.zeros((10, 32, 32, 4), np.uint8) if damage == "shape" else np.zeros((10, 32, 32, 3), np.float32)
        np.save(path, other)
    else:
        content = {"empty": b"", "half": whole[: len(whole) // 2], "zip": b"PK\3\4" + whole[4:]}
        path.write_bytes(content.get(damage, whole[:12] + b"{'descr" + bytes(40) + whole[59:]))
    np.testing.assert_array_equal(cached_bank(cache, source, [0, 1, 2], 32, 10, seed=1), expected)


def test_a_crash_while_building_leaves_nothing_that_counts(source, cache, monkeypatch):
    def crash(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        cached_bank(cache, source, [0, 1, 2], 32, 10, seed=1)
    assert [path.suffix for path in cache.iterdir() if path.suffix != ".lock"] == []
    monkeypatch.undo()
    assert len(cached_bank(cache, source, [0, 1, 2], 32, 10, seed=1)) == 10


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_names_the_folder_the_need_and_the_cure(source, cache, monkeypatch, code):
    def full(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SlackoffError) as caught:
        cached_bank(cache, source, [0, 1, 2], 32, 10, seed=1)
    sentence = str(caught.value)
    assert f"No space left in {cache} for a patch bank of 0.0 MB" in sentence
    assert "set background.cache_dir to a folder on another disk" in sentence
    assert banks(cache) == []


def test_a_folder_that_cannot_be_made_is_named(source, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SlackoffError, match=r"cannot be written to .*file/cache .*set background\.cache_dir"):
        cached_bank(tmp_path / "file" / "cache", source, [0], 32, 4, seed=1)


def test_too_large_a_request_makes_no_file(source, cache):
    with pytest.raises(SlackoffError, match=r"background\.patch_count=9999"):
        cached_bank(cache, source, [0], 32, 9999, seed=1)
    assert not cache.exists()


def test_several_processes_share_one_build(source, cache):
    code = (
        "import sys, zlib; from slackoff.images import FolderSource, cached_bank; "
        "bank = cached_bank(sys.argv[1], FolderSource(sys.argv[2]), [0, 1, 2], 32, int(sys.argv[3]), 1); "
        "print(zlib.crc32(bank[:4].tobytes()), len(bank))"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(cache), str(source.root), count],
            stdout=subprocess.PIPE,
            text=True,
        )
        for count in ("4", "20", "12", "20")
    ]
    printed = [process.communicate()[0].split() for process in started]
    assert [process.returncode for process in started] == [0] * 4
    assert [length for _, length in printed] == ["4", "20", "12", "20"]
    assert len({checksum for checksum, _ in printed}) == 1
    assert len(banks(cache)) == 1
