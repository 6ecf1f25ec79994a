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

from pictures import noise, save
from slackoff.errors import SlackoffError
from slackoff.images.bank import Keys, Patch, build_bank, cached_bank, capacity, held_out_crops, select_patches
from slackoff.images.sources import BuiltinSource, FolderSource

SIDES = st.integers(32, 110)
SIZES = st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=6)
PATCH = st.sampled_from([4, 8, 16, 20, 32])
SEED = st.integers(0, 2**32)
PINNED = [Patch(1, 0, 0), Patch(0, 2, 26), Patch(1, 32, 32), Patch(0, 66, 26), Patch(1, 0, 32), Patch(0, 34, 58)]


def whole_patches(sizes, size_px):
    """How many of each image do not overlap."""
    return [(height // size_px) * (width // size_px) for height, width in sizes]


def coverage(sizes, patches, size_px):
    """How often each pixel of each image is used."""
    used = [np.zeros(size, int) for size in sizes]
    for image, top, left in patches:
        window = used[image][top : top + size_px, left : left + size_px]
        assert window.shape == (size_px, size_px)
        window += 1
    return used


@settings(max_examples=60)
@given(sizes=SIZES, size_px=PATCH, seed=SEED, data=st.data())
def test_patches_differ_lie_inside_take_turns_and_get_finer_level_by_level(sizes, size_px, seed, data):
    total, own = capacity(sizes, size_px), whole_patches(sizes, size_px)
    patches = select_patches(sizes, size_px, total, seed)
    assert len(set(patches)) == len(patches) == total
    assert min(min(patch) for patch in patches) >= 0
    coverage(sizes, patches, size_px)
    with pytest.raises(SlackoffError):
        select_patches(sizes, size_px, total + 1, seed)

    small = data.draw(st.integers(1, total))
    assert patches[:small] == select_patches(sizes, size_px, small, seed)

    # No overlap until no further whole patch fits; an image gives its next one only when all others gave as many or
    # have no more.
    assert max(used.max() for used in coverage(sizes, patches[: sum(own)], size_px)) == 1
    given_by = Counter(patch.image for patch in patches[: min(small, sum(own))])
    assert all(given_by[image] >= min(own[image], max(given_by.values()) - 1) for image in range(len(sizes)))

    # Distances to a level-0 patch are multiples of a whole patch, then of a half, then of a quarter.
    anchor: dict[int, Patch] = {}
    fineness = []
    for patch in patches:
        first = anchor.setdefault(patch.image, patch)
        away = (patch.top - first.top, patch.left - first.left)
        steps = (size_px, size_px // 2, size_px // 4)
        fineness.append(next(level for level, step in enumerate(steps) if all(d % step == 0 for d in away)))
    assert fineness == sorted(fineness)
    assert fineness.count(0) == sum(own)


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
        save(tmp_path / f"folder {number % 2}" / f"photo.{number}.png", noise(height, width, number))
    return FolderSource(tmp_path)


@pytest.fixture
def decoded(source, monkeypatch):
    """The images that were decoded, in a list that grows."""
    read, seen = source.read, []
    monkeypatch.setattr(source, "read", lambda index: (seen.append(index), read(index))[1])
    return seen


def test_rows_are_the_chosen_windows_read_by_opencv_and_every_image_is_decoded_once(source, decoded):
    indices = [3, 0, 2]
    bank = build_bank(source, indices, 32, 25, seed=5)
    assert sorted(decoded) == sorted(indices)
    assert bank.shape == (25, 32, 32, 3)
    assert bank.dtype == np.uint8
    sizes = [cv2.imread(str(source.paths[index])).shape[:2] for index in indices]
    for row, (image, top, left) in enumerate(select_patches(sizes, 32, 25, seed=5)):
        whole = cv2.imread(str(source.paths[indices[image]]))[..., ::-1]
        np.testing.assert_array_equal(bank[row], whole[top : top + 32, left : left + 32])


def test_an_image_that_cannot_be_cropped_is_named(source):
    with pytest.raises(SlackoffError, match=r"^folder 0/photo\.2\.png \(40 x 130 px\) is smaller than a patch"):
        build_bank(source, [0, 1, 2, 3], 48, 4, seed=0)
    path = source.paths[1]
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(SlackoffError, match=r"photo\.2\.png is truncated or damaged"):
        build_bank(source, [0, 1, 2, 3], 32, 10, seed=0)


def test_crops_are_distinct_nested_take_turns_and_do_not_overlap():
    source = BuiltinSource()
    test = source.fixed_split.test
    crops = held_out_crops(source, test, 128, 12, seed=1)
    few = held_out_crops(source, test, 128, 3, seed=1)
    assert [crop.name for crop in few] == [crop.name for crop in crops[:3]]
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


def test_crop_names_are_fit_for_files_even_if_image_names_are_not(source):
    names = [crop.name for crop in held_out_crops(source, [0, 1, 2, 3], 32, 20, seed=0)]
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_") for name in names)
    assert len(set(names)) == 20
    with pytest.raises(SlackoffError, match=r"evaluation\.count=999 is more than"):
        held_out_crops(source, [0], 32, 999, seed=0)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "not yet" / "cache"


def banks(cache):
    return sorted(cache.glob("*.npy"))


def test_equals_the_built_bank_and_is_read_only(source, cache):
    bank = cached_bank(cache, source, [0, 2], 32, 10, seed=1)
    np.testing.assert_array_equal(bank, build_bank(source, [0, 2], 32, 10, seed=1))
    assert bank.dtype == np.uint8
    assert isinstance(bank, np.memmap)
    with pytest.raises(ValueError):
        bank[0] = 0


@pytest.mark.parametrize(("counts", "decodings"), [((20, 8), 3), ((4, 20), 6)], ids=["serves", "is replaced"])
def test_one_file_serves_smaller_counts_and_is_replaced_by_a_larger_one(source, cache, decoded, counts, decodings):
    first, second = (cached_bank(cache, source, [0, 1, 2], 32, count, seed=1) for count in counts)
    assert (len(first), len(second)) == counts
    assert len(decoded) == decodings
    np.testing.assert_array_equal(first[: len(second)], second[: len(first)])
    assert len(banks(cache)) == 1


def test_everything_but_the_count_has_its_own_file(source, cache):
    for indices, size_px, seed in (([0, 1], 32, 1), ([1, 0], 32, 1), ([0, 1], 16, 1), ([0, 1], 32, 2)):
        cached_bank(cache, source, indices, size_px, 4, seed)
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


NO_SPACE = (
    "No space left in {} for a patch bank of 0.0 MB: free some, or set background.cache_dir to a folder on another"
)


@pytest.mark.parametrize(
    ("error", "raised", "words"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt, ""),
        *((OSError(code, os.strerror(code)), SlackoffError, NO_SPACE) for code in (errno.ENOSPC, errno.EDQUOT)),
    ],
)
def test_a_build_that_ends_early_leaves_nothing_that_counts(source, cache, monkeypatch, error, raised, words):
    def fail(*_):
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(raised) as caught:
        cached_bank(cache, source, [0, 1, 2], 32, 10, seed=1)
    assert words.format(cache) in str(caught.value)
    assert [path.suffix for path in cache.iterdir() if path.suffix != ".lock"] == []
    monkeypatch.undo()
    assert len(cached_bank(cache, source, [0, 1, 2], 32, 10, seed=1)) == 10


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


SQUARES, SMALL = [(96, 96)] * 2, [(96, 96), (8, 8), (9, 9)]
TOO_MANY = "background.patch_count=163 is more than the 162 patches of 32 px that 2 images can give: "
TOO_MANY += "lower background.patch_count to 162 or less, lower background.patch_size_px, or add images"
TOO_SMALL = "{} ({} x {} px) is smaller than a patch, background.patch_size_px=32: "
TOO_SMALL += "remove it or lower background.patch_size_px (2 of 3 images are too small)"


@pytest.mark.parametrize(
    ("sizes", "size_px", "count", "options", "words"),
    [
        (SQUARES, 32, 163, {}, TOO_MANY),
        ([(32, 32)], 32, 99, {"keys": Keys("evaluation.count", "a.size_px")},
         "evaluation.count=99 is more than the 1 patches of 32 px that 1 images can give: "
         "lower evaluation.count to 1 or less, lower a.size_px"),
        *((SQUARES, 32, count, {}, f"background.patch_count={count} is not a number of patches: set it to 1 or more")
          for count in (0, -5)),
        ([], 32, 1, {}, "more than the 0 patches of 32 px that 0 images can give"),
        *((SQUARES, side, 1, {}, f"background.patch_size_px={side} does not fit the lattice: use a positive multiple")
          for side in (0, -4, 30, 2)),
        *(([(96, 96), (height, width), (8, 8)], 32, 1, {"names": ["a.png", "b/s.png", "c.png"]},
           TOO_SMALL.format("b/s.png", width, height)) for height, width in ((31, 96), (96, 31))),
        (SMALL, 32, 1, {}, TOO_SMALL.format("image 1", 8, 8)),
    ],
)  # fmt: skip
def test_a_choice_that_cannot_be_made_names_its_key_and_the_cure(sizes, size_px, count, options, words):
    with pytest.raises(SlackoffError) as caught:
        select_patches(sizes, size_px, count, seed=0, **options)
    assert words in str(caught.value)
