"""Where unlabelled images come from, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pair_files import RAIN, SIZES, coordinates, write_pairs, write_photos

from slackoff.data import ImageBank, Surroundings, UnlabelledFolder, UnlabelledRest, UnlabelledSynthesised
from slackoff.errors import SlackoffError
from slackoff.images import LabelledPairs
from slackoff.rain import RainRange, ThinRain

SIDE = 32
NARROW = RainRange([200, 300], [1, 3], [10, 20], [-30, 30], key="unlabelled.rain")
THIN = ThinRain(key="unlabelled.rain")


def further(count: int) -> NDArray[np.uint8]:
    generator = np.random.default_rng(0)
    return np.stack([generator.integers(0, 200, (SIDE, SIDE, 3), dtype=np.uint8) for _ in range(count)])


def around(labelled: LabelledPairs | None = None, side: int = SIDE) -> Surroundings:
    return Surroundings(side, labelled, further)


def images(bank: ImageBank) -> list[NDArray[np.uint8]]:
    """Each image of a bank as it lies there."""
    found = []
    for start, height, width in zip(bank.start.tolist(), bank.height.tolist(), bank.width.tolist(), strict=True):
        found.append(bank.pixels[start : start + height * width].reshape(height, width, 3).numpy())
    return found


def test_a_folder_gives_its_photos_whole(tmp_path: Path):
    source = UnlabelledFolder(str(write_photos(tmp_path / "photos")), 4)
    for number, image in enumerate(images(source.load(around()))):
        np.testing.assert_array_equal(image, coordinates(number, SIZES[number]))
    assert source.fingerprint() == UnlabelledFolder(str(write_photos(tmp_path / "again")), 9).fingerprint()


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_the_rest_is_the_rainy_images_that_are_not_labelled(tmp_path: Path, share: float):
    labelled = LabelledPairs(str(write_pairs(tmp_path / "pairs", versions=2)), share=share, seed=5)
    kept = {int(pair.clean_path.stem) for pair in labelled.split[0]}
    found = {(image[0, 0, 0] - RAIN) for image in images(UnlabelledRest(4).load(around(labelled)))}
    expected = {scene + version for scene in range(4) if scene not in kept for version in range(2)}
    assert found == expected
    assert len(labelled.split[0]) == 8 * share
    assert len(UnlabelledRest(4).load(around(labelled))) == 8 * (1 - share)


@pytest.mark.parametrize("rain", [NARROW, THIN])
def test_synthesised_images_are_rain_on_the_further_patches_for_good(rain: RainRange | ThinRain):
    def made(count: int, seed: int = 0) -> list[NDArray[np.uint8]]:
        return images(UnlabelledSynthesised(rain, count, 4, seed=seed).load(around()))

    few, many, other = made(3), made(6), made(3, seed=1)
    torch.manual_seed(5)
    for number, (image, patch) in enumerate(zip(many, further(6), strict=True)):
        layer = image.astype(int) - patch
        assert layer.min() >= 0
        assert layer.max() > 20
        if number < 3:
            np.testing.assert_array_equal(few[number], image)
            assert (other[number] != image).any()


@pytest.mark.parametrize("rain", [NARROW, THIN])
def test_each_patch_has_a_rain_layer_of_its_own(rain: RainRange | ThinRain):
    dark = Surroundings(SIDE, None, lambda count: np.zeros((count, SIDE, SIDE, 3), np.uint8))
    layers = images(UnlabelledSynthesised(rain, 5, 4).load(dark))
    assert len({layer.tobytes() for layer in layers}) == 5


def test_no_rest_is_refused_with_the_cure(tmp_path: Path):
    root = str(write_pairs(tmp_path / "pairs"))
    for labelled in (None, LabelledPairs(root), LabelledPairs(root, share=1.0), LabelledPairs(root, share=0.99)):
        with pytest.raises(SlackoffError, match=r"^unlabelled=rest .* add labelled=pairs .*labelled\.share=0\.1$"):
            UnlabelledRest(4).check(around(labelled))


def test_images_smaller_than_a_patch_are_named(tmp_path: Path):
    folder = UnlabelledFolder(str(write_photos(tmp_path / "photos")), 4)
    rest = UnlabelledRest(4)
    labelled = LabelledPairs(str(write_pairs(tmp_path / "pairs")), share=0.5)
    folder.check(around())
    rest.check(around(labelled))
    with pytest.raises(
        SlackoffError, match=r"/1\.png \(32 x 33 px\) is smaller .*background\.patch_size_px=33.*1 of 4"
    ):
        folder.check(around(side=33))
    with pytest.raises(SlackoffError, match=r"1_0\.png \(32 x 33 px\) is smaller than a patch"):
        rest.load(around(labelled, side=33))


def test_an_empty_a_missing_and_a_damaged_folder_are_refused(tmp_path: Path):
    with pytest.raises(SlackoffError, match=r"^unlabelled\.root=.*none does not exist"):
        UnlabelledFolder(str(tmp_path / "none"), 4).check(around())
    with pytest.raises(SlackoffError, match=r"^unlabelled\.root=.* holds no image"):
        UnlabelledFolder(str(tmp_path), 4).fingerprint()
    photos = write_photos(tmp_path / "photos")
    whole = (photos / "2.png").read_bytes()
    (photos / "2.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SlackoffError, match=r"2\.png is truncated or damaged"):
        UnlabelledFolder(str(photos), 4).load(around())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: UnlabelledFolder("x", 0), r"^unlabelled\.batch_size=0 is no count: give a whole number from 1 up"),
        (lambda: UnlabelledRest(-1), r"^unlabelled\.batch_size=-1 is no count"),
        (lambda: UnlabelledSynthesised(NARROW, 0, 2), r"^unlabelled\.patch_count=0 is no count"),
    ],
)
def test_values_that_do_not_fit_are_refused(make, words):
    with pytest.raises(SlackoffError, match=words):
        make()


def test_a_patch_too_small_for_the_rain_is_refused():
    photos = UnlabelledSynthesised(NARROW, 2, 2)
    with pytest.raises(SlackoffError, match=r"^background\.patch_size_px=10 is too small for unlabelled\.rain\.length"):
        photos.check(around(side=10))
