"""Test sets: what they are made of, that they stay the same, and what they refuse."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from slackoff.config import build
from slackoff.data.streams import derive_seed
from slackoff.errors import SlackoffError
from slackoff.evaluation import PairFolder, RainOnHeldOut, StreaksOnHeldOut
from slackoff.images import BuiltinSource, FolderSource, read_clean, split_images
from slackoff.rain import RainRange, ThinRain, render_streaks


def held_out(count: int = 6) -> list:
    source = BuiltinSource()
    return RainOnHeldOut(count, 128, 0, ThinRain()).load(source, split_images(source, None).test)


def write_pairs(root: Path, *pairs: tuple[np.ndarray, np.ndarray]) -> Path:
    """A folder of pairs 1.png, 2.png ... from their clean and rainy pixels."""
    for folder, which in (("norain", 0), ("rainy", 1)):
        (root / folder).mkdir(parents=True)
        for number, pair in enumerate(pairs, 1):
            Image.fromarray(pair[which]).save(root / folder / f"{number}.png")
    return root


def photo(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 200, (height, width, 3), dtype=np.uint8)


def raining(clean: np.ndarray, where: Any, amount: int) -> tuple[np.ndarray, np.ndarray]:
    rainy = clean.copy()
    rainy[where] += np.uint8(amount)
    return clean, rainy


@pytest.fixture
def two_rains(tmp_path: Path) -> Path:
    """Two pairs over one background of 40 x 60, with rain of 20 and of 50 grey levels in rows 10 to 19."""
    return write_pairs(tmp_path / "pairs", *(raining(photo(0, 40, 60), np.s_[10:20], rain) for rain in (20, 50)))


def test_held_out_images_are_photos_under_rain_and_the_same_each_time():
    images = held_out()
    for image, again in zip(images, held_out(), strict=True):
        assert torch.equal(image.rainy, again.rainy)
        assert torch.equal(image.rainy, (image.background + image.rain).clamp(0, 1))
        assert image.origin["photograph"] in ("skimage/astronaut.png", "skimage/chelsea.png", "skimage/rocket.jpg")
    assert [image.name for image in held_out(3)] == [image.name for image in images[:3]]
    assert not torch.equal(images[0].rain, images[1].rain)


def test_rain_of_a_training_range_on_the_same_crops():
    """Against the renderer itself; the label keeps the names of two sets apart."""
    source, test = BuiltinSource(), split_images(BuiltinSource(), None).test
    rain_range = RainRange([200, 300], [5], [30, 31], [-5, 5])
    images = RainOnHeldOut(3, 128, 0, rain_range, label="seen").load(source, test)
    for number, (image, thin) in enumerate(zip(images, held_out(3), strict=True)):
        generator = torch.Generator().manual_seed(derive_seed(0, "test rain", number))
        assert torch.equal(image.rain, render_streaks(rain_range, 1, 128, 128, generator)[0])
        assert torch.equal(image.rainy, (image.background + image.rain).clamp(0, 1))
        assert torch.equal(image.background, thin.background)
        assert image.name == f"seen-{thin.name}"


def test_crops_that_are_too_small_for_the_rain_are_refused():
    rain_range = RainRange([200, 300], [5], [50, 60], [-5, 5])
    with pytest.raises(SlackoffError, match=r"size_px=30 is too small for rain\.length"):
        RainOnHeldOut(3, 30, 0, rain_range).load(BuiltinSource(), [0])


def test_pairs_over_one_background_share_their_source_and_rain_is_the_difference(two_rains: Path):
    first, second = PairFolder(str(two_rains)).load(BuiltinSource(), [])
    assert first.origin["source"] == second.origin["source"]
    assert first.origin["digest"] != second.origin["digest"]
    assert second.rain.shape == (1, 40, 60)
    assert (second.rain[0, 10:20] * 255).round().unique().tolist() == [50]
    assert second.rain[0, :10].abs().max() == 0


def test_the_centre_is_cropped_and_a_crop_that_does_not_fit_is_refused(two_rains: Path):
    whole = PairFolder(str(two_rains), count=1).load(BuiltinSource(), [])
    (crop,) = PairFolder(str(two_rains), count=1, crop_px=20).load(BuiltinSource(), [])
    assert torch.equal(crop.rainy, whole[0].rainy[:, 10:30, 20:40])
    with pytest.raises(SlackoffError, match=r"40x60, smaller than evaluation\.crop_px=50"):
        PairFolder(str(two_rains), crop_px=50).load(BuiltinSource(), [])


def test_nothing_held_out_is_refused_with_the_cure():
    with pytest.raises(SlackoffError, match=r"background\.held_out"):
        RainOnHeldOut(2, 128, 0, ThinRain()).load(BuiltinSource(), [])


def test_photographs_of_the_same_name_in_two_folders_are_two(tmp_path: Path):
    generator = np.random.default_rng(0)
    for name in ("a/001.png", "b/001.png"):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(generator.integers(0, 256, (140, 300, 3), dtype=np.uint8)).save(tmp_path / name)
    images = RainOnHeldOut(4, 128, 0, ThinRain()).load(FolderSource(tmp_path), [0, 1])
    assert sorted(image.origin["photograph"] for image in images) == ["a/001.png"] * 2 + ["b/001.png"] * 2
    assert len({image.name for image in images}) == 4
    assert len({image.origin["digest"] for image in images}) == 4


def test_a_digest_tells_what_an_image_is_made_from(tmp_path: Path):
    """The same wherever the photos lie and whatever they are called; another under other rain or of another photo."""
    generator = np.random.default_rng(0)
    for name in ("one/巴黎.png", "two/东京.png", "other/巴黎.png"):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(generator.integers(0, 256, (128, 128, 3), dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "two/东京.png").write_bytes((tmp_path / "one/巴黎.png").read_bytes())

    def digest_of(folder: str, **rain: float) -> str:
        (image,) = RainOnHeldOut(1, 128, 0, ThinRain(**rain)).load(FolderSource(tmp_path / folder), [0])
        return image.origin["digest"]

    assert digest_of("one") == digest_of("two")
    assert len({digest_of("one"), digest_of("other"), digest_of("one", angle_jitter_deg=2.0)}) == 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pairs of one background and one of another, 21 x 30 px, with rain of 11, 12 and 13 grey levels all over."""
    rains = (raining(photo(seed, 21, 30), np.s_[:], 10 + n) for n, seed in enumerate((7, 7, 8), 1))
    return write_pairs(tmp_path / "pairs", *rains)


def load(folder: Path, **options):
    return PairFolder(str(folder), **options).load(BuiltinSource(), [])


def test_ten_crops_of_each_pair_with_names_and_one_source(folder):
    images = load(folder, crop_px=16, crops="five")
    assert len(images) == 30
    assert len({image.name for image in images}) == len({image.origin["digest"] for image in images}) == 30
    places = ["top_left", "top_right", "bottom_left", "bottom_right", "centre"]
    assert [image.name for image in images[10:20]] == [
        f"2-{mirrored}{place}" for mirrored in ("", "mirrored_") for place in places
    ]
    sources = [image.origin["source"] for image in images]
    assert len(set(sources[:20])) == 1
    assert len(set(sources)) == 2
    assert sources[0] == load(folder)[0].origin["source"]  # that of the whole photo


def test_the_crops_are_those_of_the_arrays(folder):
    images = {image.name: image for image in load(folder, crop_px=16, crops="five")}
    clean = np.asarray(Image.open(folder / "norain" / "3.png"))
    expected = {
        "3-bottom_left": clean[5:, :16],
        "3-centre": clean[2:18, 7:23],
        "3-mirrored_top_right": clean[:, ::-1][:16, 14:],
        "3-mirrored_centre": clean[:, ::-1][2:18, 7:23],
    }
    for name, pixels in expected.items():
        image = images[name]
        np.testing.assert_array_equal((image.background * 255).round().permute(1, 2, 0).numpy(), pixels)
        torch.testing.assert_close(image.rainy - image.background, torch.full((3, 16, 16), 13 / 255))
        torch.testing.assert_close(image.rain, torch.full((1, 16, 16), 13 / 255))


def test_count_and_numbers_count_pairs(folder):
    assert [image.name[0] for image in load(folder, crop_px=16, crops="five", count=2)] == ["1"] * 10 + ["2"] * 10
    assert {image.name[0] for image in load(folder, crop_px=16, crops="five", numbers=[3, 3])} == {"3"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crops": "five"}, r"crops=five needs their side: set evaluation\.crop_px=224$"),
        ({"crops": "five", "crop_px": 22}, r"is 21x30, smaller than evaluation\.crop_px=22"),
    ],
)
def test_crops_that_do_not_fit_are_refused(folder, options, message):
    with pytest.raises(SlackoffError, match=message):
        load(folder, **options)


def test_the_pairs_at_hand_are_split_by_scene(composed, shared_data):
    """No clean image of Rain100H's last pairs is one of its first ones, on which networks are trained."""
    root = f"roots.rain100h={shared_data('rain100h')}"
    config = composed("labelled=rain100h_first", "evaluation=rain100h_last", root)
    labelled = build.build_labelled(config)
    (tested,) = build.build_test_sets(config).values()
    first, last = ({read_clean(pair).tobytes() for pair in pairs} for pairs in (labelled.all_pairs, tested.chosen()))
    assert (len(labelled.all_pairs), len(first)) == (14, 12)
    assert (len(tested.chosen()), len(last)) == (6, 6)
    assert not first & last


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Two pairs of 30 x 50: rain of 40 grey levels in column 25, and of 90 in row 15, the centre of each."""
    clean = np.full((30, 50, 3), 60, np.uint8)
    return write_pairs(tmp_path / "pairs", raining(clean, np.s_[:, 25], 40), raining(clean, np.s_[15, :], 90))


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
    assert [image.origin["source"] for image in images] == [digest(photos, number) for number in (3, 7, 9)]
    assert len({image.origin["digest"] for image in images}) == 3
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


@pytest.mark.parametrize("crops", [{}, {"crops": "five", "crop_px": 32}])
def test_pairs_are_read_when_they_are_asked_for_and_none_is_kept(shared_data, crops):
    images = PairFolder(str(shared_data("rain100l")), count=3, **crops).load(None, [])
    again = [images[number] for number in range(len(images))]
    assert len(again) == (30 if crops else 3)
    for number, (first, second) in enumerate(zip(images, again, strict=True)):
        assert (first.name, first.origin["digest"]) == images.heads[number]
        assert first.origin == second.origin
        assert all(torch.equal(*both) for both in zip(first[1:4], second[1:4], strict=True))
    assert images[-1].name == again[-1].name
    assert images[0] is not again[0]
