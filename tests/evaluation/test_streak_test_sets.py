"""Real streaks on held-out backgrounds: whose photos, whose rain, cut where."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from slackoff.errors import SlackoffError
from slackoff.evaluation import StreaksOnHeldOut
from slackoff.images import BuiltinSource, FolderSource, split_images


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Two pairs of 30 x 50: rain of 40 grey levels in column 25, and of 90 in row 15, the centre of each."""
    root = tmp_path / "pairs"
    clean = np.full((30, 50, 3), 60, np.uint8)
    for folder in ("rainy", "norain"):
        (root / folder).mkdir(parents=True)
    for name, where, amount in (("1", np.s_[:, 25], 40), ("2", np.s_[15, :], 90)):
        rainy = clean.copy()
        rainy[where] += np.uint8(amount)
        Image.fromarray(clean).save(root / "norain" / f"{name}.png")
        Image.fromarray(rainy).save(root / "rainy" / f"{name}.png")
    return root


@pytest.fixture
def photos(tmp_path: Path) -> FolderSource:
    """Ten photos of 40 x 20, taller than the rain and narrower; photo i is grey 20 i + 5, brighter at its centre."""
    root = tmp_path / "photos"
    root.mkdir()
    for number in range(10):
        pixels = np.full((40, 20, 3), 20 * number + 5, np.uint8)
        pixels[20, 10] = 250
        Image.fromarray(pixels).save(root / f"{number}.png")
    return FolderSource(root)


def digest(photos: FolderSource, number: int) -> str:
    return hashlib.sha256(photos.read(number).tobytes()).hexdigest()[:12]


def test_the_centres_of_rain_and_photo_are_laid_over_each_other(pairs, photos):
    images = StreaksOnHeldOut(str(pairs)).load(photos, [3, 7, 9])
    assert [image.name for image in images] == ["1-on-3.png", "2-on-7.png", "1-on-9.png"]
    assert [image.origin for image in images] == [{"source": digest(photos, number)} for number in (3, 7, 9)]
    for image, grey in zip(images, (65, 145, 185), strict=True):
        assert image.background.shape == (3, 30, 20)
        assert (image.background[0, 0, 0] * 255).round() == grey
        assert torch.equal(image.rainy, (image.background + image.rain).clamp(0, 1))
        assert (image.background[0, 15, 10] * 255).round() == 250
    in_column, in_row = ((images[number].rain[0] * 255).round() for number in (0, 1))
    assert in_column.nonzero()[:, 1].unique().tolist() == [10]
    assert in_row.nonzero()[:, 0].unique().tolist() == [15]
    assert (in_column.max(), in_row.max()) == (40, 90)


def test_count_and_crop_limit_the_set(pairs, photos):
    images = StreaksOnHeldOut(str(pairs), count=5, crop_px=8).load(photos, [0, 1])
    assert [image.name for image in images] == ["1-on-0.png", "2-on-1.png"] * 2 + ["1-on-0.png"]
    assert {tuple(image.rainy.shape) for image in images} == {(3, 8, 8)}
    assert (images[0].rain * 255).round().max() == 40


def test_other_backgrounds_are_split_by_themselves(pairs, photos):
    images = StreaksOnHeldOut(str(pairs), backgrounds=photos, held_out=3).load(BuiltinSource(), [0])
    held_out = {digest(photos, number) for number in split_images(photos, 3).test}
    assert {image.origin["source"] for image in images} == held_out


def test_the_photos_that_a_cell_trains_on_keep_the_split_of_the_cell(pairs, photos):
    test_set = StreaksOnHeldOut(str(pairs), backgrounds=FolderSource(photos.root), held_out=3)
    assert [image.origin["source"] for image in test_set.load(photos, [4])] == [digest(photos, 4)] * 2


def test_rain_backgrounds_and_their_split_are_part_of_the_fingerprint(pairs, photos, tmp_path):
    sets = [
        StreaksOnHeldOut(str(pairs)),
        StreaksOnHeldOut(str(pairs), backgrounds=photos, held_out=3),
        StreaksOnHeldOut(str(pairs), backgrounds=photos, held_out=4),
    ]
    before = [test_set.fingerprint() for test_set in sets]
    assert len(set(before)) == 3
    Image.fromarray(np.full((30, 50, 3), 70, np.uint8)).save(pairs / "rainy" / "1.png")
    assert not set(before) & {test_set.fingerprint() for test_set in sets}


def test_without_held_out_photos_it_is_refused(pairs, photos):
    with pytest.raises(SlackoffError, match=r"No background is held out .* set background\.held_out"):
        StreaksOnHeldOut(str(pairs)).load(photos, [])


def test_a_missing_folder_of_pairs_names_the_key(tmp_path):
    with pytest.raises(SlackoffError, match=r"roots\.rain100l=.*nowhere"):
        StreaksOnHeldOut(str(tmp_path / "nowhere"), key="roots.rain100l").fingerprint()
