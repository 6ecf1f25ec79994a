"""Test sets of fixed crops of pairs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from slackoff.errors import SlackoffError
from slackoff.evaluation import PairFolder
from slackoff.images import BuiltinSource


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pairs of one background and one of another, 21 x 30 px."""
    for name in ("rainy", "norain"):
        (tmp_path / name).mkdir()
    for number, seed in enumerate((7, 7, 8)):
        clean = np.random.default_rng(seed).integers(0, 200, (21, 30, 3), dtype=np.uint8)
        Image.fromarray(clean).save(tmp_path / "norain" / f"{number}.png")
        Image.fromarray(clean + np.uint8(10 + number)).save(tmp_path / "rainy" / f"{number}.png")
    return tmp_path


def load(folder: Path, **options):
    return PairFolder(str(folder), **options).load(BuiltinSource(), [])


def test_ten_crops_of_each_pair_with_names_and_one_source(folder):
    images = load(folder, crop_px=16, crops="five")
    assert len(images) == 30
    assert len({image.name for image in images}) == 30
    places = ["top_left", "top_right", "bottom_left", "bottom_right", "centre"]
    assert [image.name for image in images[10:20]] == [
        f"1-{mirrored}{place}" for mirrored in ("", "mirrored_") for place in places
    ]
    sources = [image.origin["source"] for image in images]
    assert len(set(sources[:20])) == 1
    assert len(set(sources)) == 2
    assert sources[0] == load(folder)[0].origin["source"]  # that of the whole photo


def test_the_crops_are_those_of_the_arrays(folder):
    images = {image.name: image for image in load(folder, crop_px=16, crops="five")}
    clean = np.asarray(Image.open(folder / "norain" / "2.png"))
    expected = {
        "2-bottom_left": clean[5:, :16],
        "2-centre": clean[2:18, 7:23],
        "2-mirrored_top_right": clean[:, ::-1][:16, 14:],
        "2-mirrored_centre": clean[:, ::-1][2:18, 7:23],
    }
    for name, pixels in expected.items():
        image = images[name]
        np.testing.assert_array_equal((image.background * 255).round().permute(1, 2, 0).numpy(), pixels)
        torch.testing.assert_close(image.rainy - image.background, torch.full((3, 16, 16), 12 / 255))
        torch.testing.assert_close(image.rain, torch.full((1, 16, 16), 12 / 255))


def test_count_and_numbers_count_pairs(folder):
    assert [image.name[0] for image in load(folder, crop_px=16, crops="five", count=2)] == ["0"] * 10 + ["1"] * 10
    assert {image.name[0] for image in load(folder, crop_px=16, crops="five", numbers=[3, 3])} == {"2"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crops": "five"}, r"crops=five needs their side: set evaluation\.crop_px=224$"),
        ({"crops": "six"}, r"crops=six is not known: choose one of centre, five\.$"),
        ({"crops": "five", "crop_px": 22}, r"is 21x30, smaller than evaluation\.crop_px=22"),
    ],
)
def test_crops_that_do_not_fit_are_refused(folder, options, message):
    with pytest.raises(SlackoffError, match=message):
        load(folder, **options)


def test_the_pairs_at_hand_are_split_by_scene(composed, shared_data):
    """No clean image of Rain100H's last pairs is one of its first ones, on which networks are trained."""
    from slackoff.config import build
    from slackoff.images import read_clean

    root = f"roots.rain100h={shared_data('rain100h')}"
    config = composed("labelled=rain100h_first", "evaluation=rain100h_last", root)
    labelled = build.build_labelled(config)
    (tested,) = build.build_test_sets(config).values()
    first, last = ({read_clean(pair).tobytes() for pair in pairs} for pairs in (labelled.all_pairs, tested.pairs()))
    assert (len(labelled.all_pairs), len(first)) == (14, 12)
    assert (len(tested.pairs()), len(last)) == (6, 6)
    assert not first & last
