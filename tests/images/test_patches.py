"""Patches: which are chosen, the bank that is made of them, and its file."""

import errno
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from slackoff.errors import SlackoffError
from slackoff.images.bank import (
    Patch,
    build_bank,
    cached_bank,
    capacity,
    capacity_without_overlap,
    held_out_crops,
    select_patches,
)
from slackoff.images.sources import BuiltinSource, FolderSource

SIDES = st.integers(32, 110)


SIZES = st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=6)


PATCH = st.sampled_from([4, 8, 16, 20, 32])


SEED = st.integers(0, 2**32)


PINNED = [Patch(1, 0, 0), Patch(0, 2, 26), Patch(1, 32, 32), Patch(0, 66, 26), Patch(1, 0, 32), Patch(0, 34, 58)]


def coverage(sizes, patches, size_px):
    """How often each pixel of each image is used."""
    used = [np.zeros(size, int) for size in sizes]
    for image, top, left in patches:
        window = used[image][top : top + size_px, left : left + size_px]
        assert window.shape == (size_px, size_px)
        window += 1
    return used


@settings(max_examples=40)
@given(sizes=SIZES, size_px=PATCH, seed=SEED)
def test_all_patches_are_different_inside_and_as_many_as_promised(sizes, size_px, seed):
    total = capacity(sizes, size_px)
    patches = select_patches(sizes, size_px, total, seed)
    assert len(set(patches)) == len(patches) == total
    assert min(min(patch) for patch in patches) >= 0
    coverage(sizes, patches, size_px)
    with pytest.raises(SlackoffError):
        select_patches(sizes, size_px, total + 1, seed)


@settings(max_examples=60)
@given(sizes=SIZES, size_px=PATCH, seed=SEED, data=st.data())
def test_selections_are_nested(sizes, size_px, seed, data):
    total = capacity(sizes, size_px)
    large = data.draw(st.integers(1, total))
    small = data.draw(st.integers(1, large))
    assert select_patches(sizes, size_px, large, seed)[:small] == select_patches(sizes, size_px, small, seed)


@settings(max_examples=60)
@given(sizes=SIZES, size_px=PATCH, seed=SEED)
def test_no_overlap_until_no_further_whole_patch_fits(sizes, size_px, seed):
    most = sum((height // size_px) * (width // size_px) for height, width in sizes)
    assert capacity_without_overlap(sizes, size_px) == most
    patches = select_patches(sizes, size_px, most, seed)
    assert max(used.max() for used in coverage(sizes, patches, size_px)) == 1


@settings(max_examples=40)
@given(sizes=SIZES, size_px=PATCH, seed=SEED)
def test_later_levels_halve_the_distance_between_patches(sizes, size_px, seed):
    """Distances to a level-0 patch are multiples of a whole patch, then of a half, then of a quarter."""
    half, quarter = size_px // 2, size_px // 4
    patches = select_patches(sizes, size_px, capacity(sizes, size_px), seed)
    anchor: dict[int, Patch] = {}
    fineness = []
    for patch in patches:
        first = anchor.setdefault(patch.image, patch)
        away = (patch.top - first.top, patch.left - first.left)
        fineness.append(next(k for k, step in enumerate((size_px, half, quarter)) if all(d % step == 0 for d in away)))
    assert fineness == sorted(fineness)
    assert fineness.count(0) == capacity_without_overlap(sizes, size_px)


@settings(max_examples=40)
@given(sizes=SIZES, size_px=PATCH, seed=SEED, data=st.data())
def test_images_take_turns(sizes, size_px, seed, data):
    """In level 0, an image gives its next patch only when all others gave as many or have no more."""
    own = [(height // size_px) * (width // size_px) for height, width in sizes]
    count = data.draw(st.integers(1, sum(own)))
    given_by = Counter(patch.image for patch in select_patches(sizes, size_px, count, seed))
    most = max(given_by.values())
    assert all(given_by[image] >= min(own[image], most - 1) for image in range(len(sizes)))


@pytest.mark.parametrize("level_count", [9, 9 + 16, 9 + 16 + 56])
def test_numbers_of_patches_of_a_square_image(level_count):
    """3 x 3 whole patches, then 5 x 5 half-patch and 9 x 9 quarter-patch positions."""
    patches = select_patches([(96, 96)], 32, level_count, seed=4)
    step = {9: 32, 25: 16, 81: 8}[level_count]
    grid = range(0, 65, step)
    assert sorted(patches) == sorted(Patch(0, top, left) for top in grid for left in grid)


def test_a_face_of_178_x_218_gives_six_patches_of_128():
    """Margins of 50 and 90 px hold 1 and 2 quarter-patch steps of 32 px."""
    assert capacity([(218, 178)], 128) == 2 * 3
    assert capacity_without_overlap([(218, 178)], 128) == 1


def test_the_same_seed_gives_the_same_choice_and_another_seed_another():
    sizes = [(300, 451), (400, 600), (512, 512)]
    again = [select_patches(sizes, 64, 40, seed=3) for _ in range(2)]
    assert again[0] == again[1]
    choices = {tuple(select_patches(sizes, 64, 40, seed=seed)) for seed in range(20)}
    assert len(choices) == 20
    assert len({choice[0].image for choice in choices}) == 3
    assert len({(patch.top % 64, patch.left % 64) for choice in choices for patch in choice[:3]}) > 20


def test_the_choice_is_pinned():
    """A changed choice changes results under an unchanged cell: then raise the cache's selection version."""
    assert select_patches([(100, 90), (64, 120)], 32, 6, seed=1) == PINNED


def test_large_collections_stay_within_their_images():
    patches = np.array(select_patches([(1356, 2040)] * 800, 128, 30_000, seed=0))
    assert len(np.unique(patches, axis=0)) == 30_000
    assert np.bincount(patches[:, 0], minlength=800).min() >= 37
    assert patches.max(axis=0).tolist() <= [799, 1356 - 128, 2040 - 128]
    faces = np.array(select_patches([(218, 178)] * 200_000, 128, 30_000, seed=0))
    assert len(np.unique(faces[:, 0])) == 30_000


@pytest.fixture
def source(tmp_path):
    for number, (height, width) in enumerate([(70, 90), (64, 64), (130, 40), (50, 200)]):
        pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
        folder = tmp_path / f"folder {number % 2}"
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / f"photo.{number}.png")
    return FolderSource(tmp_path)


def test_rows_are_the_chosen_windows_read_by_opencv(source):
    indices = [3, 0, 2]
    bank = build_bank(source, indices, 32, 25, seed=5)
    assert bank.shape == (25, 32, 32, 3)
    assert bank.dtype == np.uint8
    sizes = [cv2.imread(str(source.paths[index])).shape[:2] for index in indices]
    for row, (image, top, left) in enumerate(select_patches(sizes, 32, 25, seed=5)):
        whole = cv2.imread(str(source.paths[indices[image]]))[..., ::-1]
        np.testing.assert_array_equal(bank[row], whole[top : top + 32, left : left + 32])


def test_banks_are_nested_and_seeded(source):
    large = build_bank(source, [0, 1, 2, 3], 32, 30, seed=5)
    np.testing.assert_array_equal(build_bank(source, [0, 1, 2, 3], 32, 8, seed=5), large[:8])
    assert (build_bank(source, [0, 1, 2, 3], 32, 8, seed=6) != large[:8]).any()


def test_every_image_is_decoded_once(source, monkeypatch):
    read, seen = source.read, []

    def counting_read(index):
        seen.append(index)
        return read(index)

    monkeypatch.setattr(source, "read", counting_read)
    build_bank(source, [0, 1, 2, 3], 32, 30, seed=0)
    assert sorted(seen) == [0, 1, 2, 3]


def test_an_image_smaller_than_the_patch_is_named(source):
    with pytest.raises(SlackoffError, match=r"^folder 0/photo\.2\.png \(40 x 130 px\) is smaller than a patch"):
        build_bank(source, [0, 1, 2, 3], 48, 4, seed=0)


def test_a_damaged_image_is_named(source):
    path = source.paths[1]
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(SlackoffError, match=r"photo\.2\.png is truncated or damaged"):
        build_bank(source, [0, 1, 2, 3], 32, 10, seed=0)


def test_crops_are_distinct_take_turns_and_do_not_overlap():
    source = BuiltinSource()
    test = source.fixed_split.test
    crops = held_out_crops(source, test, 128, 12, seed=1)
    stems = [crop.name.split("-")[1] for crop in crops]
    assert len(set(stems[:3])) == 3
    assert {stems.count(stem) for stem in stems} == {4}
    assert len({crop.name for crop in crops}) == 12
    used = {}
    for index, (name, image, pixels) in enumerate(crops):
        number, stem, top, left = name.split("-")
        assert int(number) == index
        photo = next(i for i in test if Path(source.names[i]).stem == stem)
        assert image == source.names[photo]
        top, left = int(top[1:]), int(left[1:])
        np.testing.assert_array_equal(pixels, source.read(photo)[top : top + 128, left : left + 128])
        mask = used.setdefault(stem, np.zeros(source.size(photo), int))
        mask[top : top + 128, left : left + 128] += 1
    assert max(mask.max() for mask in used.values()) == 1


def test_crops_are_nested_names_included():
    source = BuiltinSource()
    few = held_out_crops(source, source.fixed_split.test, 64, 3, seed=1)
    many = held_out_crops(source, source.fixed_split.test, 64, 20, seed=1)
    assert [crop.name for crop in few] == [crop.name for crop in many[:3]]
    np.testing.assert_array_equal(few[2].pixels, many[2].pixels)


def test_crop_names_are_fit_for_files_even_if_image_names_are_not(source):
    names = [crop.name for crop in held_out_crops(source, [0, 1, 2, 3], 32, 20, seed=0)]
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_") for name in names)
    assert len(set(names)) == 20


def test_too_many_crops_name_their_own_key(source):
    with pytest.raises(SlackoffError, match=r"evaluation\.count=999 is more than"):
        held_out_crops(source, [0], 32, 999, seed=0)


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
            [sys.executable, "-c", code, str(cache), str(source.root), count], stdout=subprocess.PIPE, text=True
        )
        for count in ("4", "20", "12", "20")
    ]
    printed = [process.communicate()[0].split() for process in started]
    assert [process.returncode for process in started] == [0] * 4
    assert [length for _, length in printed] == ["4", "20", "12", "20"]
    assert len({checksum for checksum, _ in printed}) == 1
    assert len(banks(cache)) == 1


SQUARES = [(96, 96)] * 2


@pytest.mark.parametrize(
    ("choose", "words"),
    [
        (
            lambda: select_patches(SQUARES, 32, 163, seed=0),
            "background.patch_count=163 is more than the 162 patches of 32 px that 2 images can give",
        ),
        (lambda: select_patches(SQUARES, 32, 163, seed=0), "lower background.patch_count to 162 or less"),
        (
            lambda: select_patches([(32, 32)], 32, 99, 0, count_key="evaluation.count", size_key="a.size_px"),
            "evaluation.count=99 is more than the 1 patches",
        ),
        (
            lambda: select_patches([(32, 32)], 32, 99, 0, count_key="evaluation.count", size_key="a.size_px"),
            "lower a.size_px",
        ),
        (lambda: select_patches(SQUARES, 32, 0, seed=0), "background.patch_count=0 "),
        (lambda: select_patches(SQUARES, 32, -5, seed=0), "set it to 1 or more"),
        (lambda: select_patches([], 32, 1, seed=0), "more than the 0 patches of 32 px that 0 images can give"),
        *((lambda s=s: capacity(SQUARES, s), f"background.patch_size_px={s} ") for s in (0, -4, 30, 2)),
        (lambda: capacity(SQUARES, 30), "multiple of 4"),
        *(
            (
                lambda size=size, count=count: count([(96, 96), size, (8, 8)], 32, names=["a.png", "b/s.png", "c.png"]),
                f"b/s.png ({size[1]} x {size[0]} px) is smaller than a patch",
            )
            for size in ((31, 96), (96, 31))
            for count in (capacity, capacity_without_overlap)
        ),
        (lambda: select_patches([(96, 96), (8, 8), (9, 9)], 32, 1, seed=0), "image 1 (8 x 8 px) is smaller"),
        (
            lambda: select_patches([(96, 96), (8, 8), (9, 9)], 32, 1, seed=0),
            "remove it or lower background.patch_size_px (2 of 3 images are too small)",
        ),
    ],
)
def test_a_choice_that_cannot_be_made_names_its_key_and_the_cure(choose, words):
    with pytest.raises(SlackoffError) as caught:
        choose()
    assert words in str(caught.value)
