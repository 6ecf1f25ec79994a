"""Which pairs are labelled: nested, by clean image, whatever the files are called."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slackoff.errors import SlackoffError
from slackoff.images import LabelledPairs, Pair, find_pairs, limited

SCENES, VERSIONS = 20, 3


@pytest.fixture(scope="module")
def rain1400(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty scenes under three rains each, noise of 12 x 8 px."""
    root = tmp_path_factory.mktemp("rain1400")
    generator = np.random.default_rng(0)
    for scene in range(1, SCENES + 1):
        names = [f"ground_truth/{scene}.png", *(f"rainy_image/{scene}_{number + 1}.png" for number in range(VERSIONS))]
        for name in names:
            (root / name).parent.mkdir(exist_ok=True)
            Image.fromarray(generator.integers(0, 256, (8, 12, 3), dtype=np.uint8)).save(root / name)
    return root


def names(pairs: list[Pair]) -> set[str]:
    return {pair.name for pair in pairs}


def scenes(pairs: list[Pair]) -> set[str]:
    return {pair.clean_path.stem for pair in pairs}


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_a_smaller_share_is_part_of_a_larger_one_and_the_rest_is_the_rest(rain1400, seed):
    pairs = find_pairs(rain1400, "root")
    before: set[str] = set()
    for share, count in ((0.01, 1), (0.1, 2), (0.2, 4), (0.4, 8), (0.6, 12), (0.99, 20), (1, 20), (None, 20)):
        labelled, rest = limited(pairs, share, seed)
        assert len(scenes(labelled)) == count
        assert len(labelled) == count * VERSIONS  # all versions of a scene are on one side
        assert before <= names(labelled)
        assert sorted([*labelled, *rest]) == pairs
        assert not scenes(labelled) & scenes(rest)
        before = names(labelled)


def test_the_order_is_that_of_a_hash_of_the_clean_files(rain1400):
    labelled, _ = limited(find_pairs(rain1400, "root"), 0.2, seed=3)
    files = sorted((rain1400 / "ground_truth").iterdir())
    digest = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    ranked = sorted(digest, key=lambda stem: hashlib.sha256(f"3:{digest[stem]}".encode()).digest())
    assert scenes(labelled) == set(ranked[:4])
    assert scenes(limited(find_pairs(rain1400, "root"), 0.2, seed=4)[0]) != set(ranked[:4])


def test_neither_names_nor_order_nor_place_count(rain1400, tmp_path):
    for folder in ("rainy_image", "ground_truth"):
        (tmp_path / folder).mkdir()
        for path in (rain1400 / folder).iterdir():
            scene, *version = path.stem.split("_")
            renamed = "_".join([str(100 - int(scene)), *version])
            shutil.copy(path, tmp_path / folder / f"{renamed}.png")
    here, there = find_pairs(rain1400, "root"), find_pairs(tmp_path, "root")
    expected = {str(100 - int(scene)) for scene in scenes(limited(here, 0.4, 0)[0])}
    assert scenes(limited(there, 0.4, 0)[0]) == expected
    assert names(limited(here[::-1], 0.4, 0)[0]) == names(limited(here, 0.4, 0)[0])


def test_side_by_side_images_of_one_scene_stay_together(tmp_path):
    """Their files differ; what decides is the clean half."""
    generator = np.random.default_rng(0)
    for scene in range(6):
        clean = generator.integers(0, 256, (8, 10, 3), dtype=np.uint8)
        for version in range(2):
            rainy = generator.integers(0, 256, (8, 10, 3), dtype=np.uint8)
            Image.fromarray(np.hstack([rainy, clean])).save(tmp_path / f"{scene}_{version}.png")
    labelled, rest = limited(find_pairs(tmp_path, "root", "side_by_side"), 0.5, 0)
    assert [len(labelled), len(rest)] == [6, 6]
    assert not {name.split("_")[0] for name in names(labelled)} & {name.split("_")[0] for name in names(rest)}


@pytest.mark.parametrize("share", [0, -0.1, 1.01, float("nan")])
def test_what_is_no_share_is_refused(share):
    with pytest.raises(SlackoffError, match=r"^labelled\.share=\S+ is no share: give a number above 0 and up to 1"):
        limited([], share, 0)
    with pytest.raises(SlackoffError, match=r"^labelled\.share="):
        LabelledPairs("anywhere", share=share)


def test_another_layout_is_refused():
    with pytest.raises(SlackoffError, match=r"^labelled\.layout=both is not known: choose one of auto, side_by_side"):
        LabelledPairs("anywhere", layout="both")


def test_pairs_smaller_than_a_patch_are_named(rain1400):
    folder = LabelledPairs(str(rain1400), share=0.1)
    folder.check(8)
    message = r"10_1\.png \(12 x 8 px\) is smaller than a patch, background\.patch_size_px=9: .*60 of 60 images are too"
    with pytest.raises(SlackoffError, match=message):
        folder.check(9)


def test_the_digest_follows_every_file_and_not_the_share(rain1400, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(rain1400, moved)
    first = LabelledPairs(str(rain1400)).fingerprint()
    assert LabelledPairs(str(moved), share=0.1, seed=4).fingerprint() == first
    Image.new("RGB", (12, 8)).save(moved / "ground_truth/3.png")
    assert LabelledPairs(str(moved)).fingerprint() != first


def test_pairs_of_which_others_are_tested_on_are_taken_by_their_numbers(rain1400):
    some = LabelledPairs(str(rain1400), numbers=[4, 9])
    assert [pair.name for pair in some.all_pairs] == ["2_1", "2_2", "2_3", "3_1", "3_2", "3_3"]
    assert some.fingerprint() != LabelledPairs(str(rain1400)).fingerprint()
    with pytest.raises(SlackoffError, match=r"numbers=\[4, 99\] of labelled.root: there are only 60 pairs"):
        _ = LabelledPairs(str(rain1400), numbers=[4, 99]).all_pairs
