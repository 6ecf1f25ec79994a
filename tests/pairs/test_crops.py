"""Where the fixed crops lie."""

import numpy as np
import pytest

from slackoff.errors import SlackoffError
from slackoff.images import CropPlace, LabelledPairs, crops_per_image, five_crops

NAMES = ["top_left", "top_right", "bottom_left", "bottom_right", "centre"]


def cut(image: np.ndarray, crop: CropPlace, side: int) -> np.ndarray:
    square = image[crop.top : crop.top + side, crop.left : crop.left + side]
    return square[:, ::-1] if crop.mirrored else square


@pytest.mark.parametrize(("height", "width", "side"), [(321, 481, 224), (481, 321, 224), (320, 480, 224), (7, 10, 4)])
def test_ten_crops_are_five_of_the_image_and_five_of_its_mirror_image(height, width, side):
    """The crops of the mirrored image are cut from it here, and not mirrored afterwards."""
    image = np.arange(height * width).reshape(height, width)
    crops = five_crops(height, width, side)
    assert [crop.name for crop in crops] == NAMES + [f"mirrored_{name}" for name in NAMES]
    for picture, five in ((image, crops[:5]), (image[:, ::-1], crops[5:])):
        top, left = round((height - side) / 2), round((width - side) / 2)
        expected = [
            picture[:side, :side],
            picture[:side, -side:],
            picture[-side:, :side],
            picture[-side:, -side:],
            picture[top : top + side, left : left + side],
        ]
        for crop, square in zip(five, expected, strict=True):
            np.testing.assert_array_equal(cut(image, crop, side), square)


def test_the_centre_of_a_berkeley_photo_begins_at_48_and_128():
    """(321 - 224) / 2 = 48.5 and (481 - 224) / 2 = 128.5, rounded to even."""
    centre, mirrored = (five_crops(321, 481, 224)[number] for number in (4, 9))
    assert centre == ("centre", 48, 128, False)
    assert mirrored == ("mirrored_centre", 48, 129, True)  # 129 from the left is 128 from the right


def test_a_whole_image_is_all_of_its_crops():
    assert {crop[1:] for crop in five_crops(5, 5, 5)} == {(0, 0, False), (0, 0, True)}
    assert len(five_crops(9, 9, 5, mirror=False)) == 5


def test_how_many_training_images_one_makes():
    assert [crops_per_image("five", True), crops_per_image("five", False)] == [10, 5]
    assert crops_per_image("random", True) == 1


def test_other_crops_are_refused():
    with pytest.raises(SlackoffError, match=r"^labelled\.crops=six is not known: choose one of random, five\.$"):
        LabelledPairs("anywhere", crops="six")
