"""Sources of images and how they are split; the built-in photos; numbers that no library decides."""

import hashlib
import math
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pictures import noise, save
from slackoff.errors import SlackoffError
from slackoff.images import sources
from slackoff.images.bank import capacity, hash_uint64, splitmix64
from slackoff.images.sources import (
    PHOTOS,
    BuiltinPhoto,
    BuiltinSource,
    FolderSource,
    Split,
    image_sizes,
    map_in_threads,
    split_images,
)


@pytest.fixture
def photos(tmp_path):
    for number, name in enumerate(["b.png", "sub/a.png", "a.png"]):
        save(tmp_path / "photos" / name, noise(20 + number, 30, number))
    return tmp_path / "photos"


def test_names_sizes_and_pixels_belong_together(photos):
    source = FolderSource(photos)
    assert source.names == ("a.png", "b.png", "sub/a.png")
    assert len(source) == 3
    assert source.fixed_split is None
    assert image_sizes(source, [2, 0]) == [(21, 30), (22, 30)]
    for index, name in enumerate(source.names):
        np.testing.assert_array_equal(source.read(index), np.asarray(Image.open(photos / name)))
        assert source.read(index).shape[:2] == source.size(index)


def test_fingerprint_is_the_documented_hash_wherever_the_folder_lies(photos, tmp_path):
    source = FolderSource(photos)
    total = hashlib.sha256()
    for name in ("a.png", "b.png", "sub/a.png"):
        total.update(f"{name}\0{hashlib.sha256((photos / name).read_bytes()).hexdigest()}\n".encode())
    assert source.fingerprint() == total.hexdigest()
    assert FolderSource(shutil.move(photos, tmp_path / "elsewhere")).fingerprint() == total.hexdigest()


CHANGES = {
    "a byte": lambda file: file.write_bytes(file.read_bytes()[:-1] + b"?"),
    "a name": lambda file: file.rename(file.with_name("c.png")),
    "one more": lambda file: shutil.copy(file, file.with_name("c.png")),
    "one less": lambda file: file.unlink(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_fingerprint_changes_with_the_content(photos, change):
    before = FolderSource(photos).fingerprint()
    change(photos / "b.png")
    assert FolderSource(photos).fingerprint() != before


def test_a_file_that_vanished_is_named(photos):
    source = FolderSource(photos)
    (photos / "b.png").unlink()
    with pytest.raises(SlackoffError, match=r"b\.png cannot be read \(No such file or directory\): restore"):
        source.fingerprint()


def test_threads_keep_the_order_and_pass_errors_on():
    assert list(map_in_threads(lambda n: n * n, range(1000))) == [n * n for n in range(1000)]
    with pytest.raises(ZeroDivisionError):
        list(map_in_threads(lambda n: 1 / n, [1, 0]))


def source_of(digests, fixed_split=None) -> SimpleNamespace:
    """What a split needs to know of an ImageSource; its names have nothing to do with the digests."""
    digests = list(digests)
    return SimpleNamespace(digests=digests, fixed_split=fixed_split, names=[f"{n}.png" for n in range(len(digests))])


def digests(count: int) -> SimpleNamespace:
    return source_of(f"content {index}" for index in range(count))


@given(count=st.integers(2, 200), share=st.floats(0, 0.99), seed=st.integers(0, 1000))
def test_both_sides_are_disjoint_and_together_everything(count, share, seed):
    wanted = max(1, math.floor(share * count + 0.5)) if share else 0
    if wanted == count:
        with pytest.raises(SlackoffError):
            split_images(digests(count), share, seed=seed)
        return
    train, test = split_images(digests(count), share, seed=seed)
    assert sorted(train + test) == list(range(count))
    assert train == sorted(train)
    assert test == sorted(test)
    assert len(test) == wanted


@pytest.mark.parametrize(("held_out", "expected"), [(0, 0), (0.0, 0), (1, 1), (0.001, 1), (10, 10), (0.25, 25)])
def test_share_and_count(held_out, expected):
    assert len(split_images(digests(100), held_out).test) == expected


def test_copies_of_a_file_stay_on_one_side():
    source = source_of(f"content {index % 10}" for index in range(30))
    for seed in range(20):
        train, test = split_images(source, 4, seed=seed)
        assert {index % 10 for index in train}.isdisjoint(index % 10 for index in test)
        assert len(test) == 6  # the copies of the second one come along


def test_split_depends_on_the_files_alone_not_on_their_names_or_order():
    forward = digests(50)
    backward = source_of(forward.digests[::-1])
    held_out = {forward.digests[index] for index in split_images(forward, 0.2).test}
    assert held_out == {backward.digests[index] for index in split_images(backward, 0.2).test}


def test_adding_images_moves_few_others():
    before = split_images(digests(100), 20)
    after = split_images(digests(101), 20)
    assert len(set(before.test) & set(after.test)) >= 19


def test_seed_decides_and_every_image_is_held_out_by_some_seed():
    seen = set()
    for seed in range(40):
        seen |= set(split_images(digests(20), 0.2, seed=seed).test)
    assert seen == set(range(20))
    assert split_images(digests(20), 0.2) == split_images(digests(20), 0.2)


def test_a_fixed_split_is_given_as_it_is_and_cannot_be_changed():
    source = source_of("ab", Split([1], [0]))
    assert split_images(source, None) == ([1], [0])
    with pytest.raises(SlackoffError, match=r"background\.held_out=0\.1 does not apply.*set background\.held_out=null"):
        split_images(source, 0.1)


@pytest.mark.parametrize(
    ("held_out", "words"),
    [
        (None, "is not a number: give a share"),
        (-1, "is negative: give the number"),
        (-0.1, "is not a share: give a number from 0"),
        (1.0, "is not a share: give a number from 0"),
        (float("nan"), "is not a share: give a number from 0"),
        (5, "leaves none of the 5 images for training: lower"),
        (99, "leaves none of the 5 images for training: lower"),
        (0.95, "leaves none of the 5 images for training: lower"),
    ],
)
def test_wrong_values_are_named_with_key_and_cure(held_out, words):
    with pytest.raises(SlackoffError) as caught:
        split_images(digests(5), held_out)
    assert f"background.held_out={held_out} {words}" in str(caught.value)


@pytest.fixture(scope="module")
def builtin_source():
    return BuiltinSource()


def test_photos_are_colour_photos_of_a_useful_size(builtin_source):
    assert len(builtin_source) == len(set(builtin_source.names)) == 9
    for index in range(len(builtin_source)):
        pixels = builtin_source.read(index)
        height, width = builtin_source.size(index)
        assert pixels.shape == (height, width, 3)
        assert min(height, width) >= 300
        hue_spread = np.ptp(pixels.astype(int), axis=2).mean()
        assert hue_spread > 10  # a grey photo has 0
        assert pixels.std() > 25


def test_split_is_by_photo_and_has_room(builtin_source):
    train, test = builtin_source.fixed_split
    assert sorted(train + test) == list(range(9))
    held_out = [builtin_source.names[index] for index in test]
    assert held_out == ["skimage/astronaut.png", "skimage/chelsea.png", "skimage/rocket.jpg"]
    assert capacity(image_sizes(builtin_source, train), 128) >= 1024


def test_no_two_photos_show_the_same_scene(builtin_source):
    """Thumbnails of any two are little correlated; the two views of the motorcycle would not be."""
    small = [
        cv2.resize(builtin_source.read(i), (16, 16), interpolation=cv2.INTER_AREA).ravel()
        for i in range(len(builtin_source))
    ]
    correlation = np.corrcoef(small) - np.eye(len(builtin_source))
    assert correlation.max() < 0.8


def test_finding_the_photos_imports_nothing_heavy():
    code = (
        "import sys; from slackoff.images import BuiltinSource; BuiltinSource().fingerprint(); "
        "heavy = 'torch', 'skimage', 'sklearn', 'matplotlib', 'scipy', 'cv2'; "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_photo_that_a_version_no_longer_ships_is_named(monkeypatch):
    monkeypatch.setattr(sources, "PHOTOS", (*PHOTOS, BuiltinPhoto("skimage", "data/gone.png", held_out=False)))
    with pytest.raises(SlackoffError) as caught:
        BuiltinSource()
    assert "skimage/gone.png is not part of the installed scikit-image" in str(caught.value)
    assert "background=folder background.root=" in str(caught.value)


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(sources, "find_spec", lambda name: None)
    with pytest.raises(SlackoffError, match=r"needs scikit-image, which is not installed: install it"):
        BuiltinSource()


# First outputs of the generator started at 1234567, as published for checking implementations of splitmix64.
PUBLISHED = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]


def test_splitmix64_gives_the_published_numbers():
    step = 0x9E3779B97F4A7C15
    states = np.array([(1234567 + k * step) % 2**64 for k in range(5)], np.uint64)
    assert splitmix64(states).tolist() == PUBLISHED


def test_a_chain_of_parts_is_a_chain_of_steps_in_plain_integers():
    def step(state: int) -> int:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
        return state ^ (state >> 31)

    expected = [step(step(step(0 ^ 7) ^ 11) ^ part) for part in range(4)]
    assert hash_uint64(7, 11, np.arange(4)).tolist() == expected


@pytest.mark.parametrize("seed", [-1, 0, 2**63, 2**64 + 5, 10**30])
def test_any_integer_is_a_seed(seed):
    assert hash_uint64(seed).tolist() == hash_uint64(seed % 2**64).tolist()


def test_photos_of_any_name_have_a_name_of_their_own_that_can_be_printed(tmp_path):
    """Not UTF-8, a line break, and the file whose name is what is made of another's."""
    accents = ["é.png", "e\N{COMBINING ACUTE ACCENT}.png"]
    files = [os.fsdecode(b"\xff.png"), "\\xff.png", "a\nb.png", "a b.png", "巴黎.png", *accents]
    for number, name in enumerate(files):
        Image.fromarray(noise(8, 8, number)).save(tmp_path / name)
    source = FolderSource(tmp_path)
    assert len({*source.names}) == len(files)
    assert all(name.isprintable() and name.encode() for name in source.names)
    assert len(source.fingerprint()) == 64
