from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from slackoff.errors import SlackoffError
from slackoff.images.bank import build_bank, held_out_crops, select_patches
from slackoff.images.sources import BuiltinSource, FolderSource


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
