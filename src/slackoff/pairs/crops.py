"""Fixed crops of an image: its corners and its centre, and those of its mirror image."""

from typing import Literal, NamedTuple

from slackoff.errors import SlackoffError

TrainingCrops = Literal["random", "five"]
TRAINING_CROPS = ("random", "five")


class Crop(NamedTuple):
    """A square of an image.

    ``top`` and ``left``: corner in px, in the image as it is stored; ``mirrored``: the square is then turned left to
    right. ``name`` says where it lies in the image that it is a crop of, which for some is the mirrored one.
    """

    name: str
    top: int
    left: int
    mirrored: bool


def five_crops(height: int, width: int, side: int, mirror: bool = True) -> list[Crop]:
    """The four corners and the centre of an image; with ``mirror`` also those of the image turned left to right.

    The training and test crops of MENET (Fan, Chen, Li, 2020). The centre begins at round((size - side) / 2), halves to
    the even number, in the mirrored image as well: where width - side is odd, the mirrored centre is not the mirror
    image of the centre but lies a pixel beside it.

    Args:
        height, width: of the image in px, at least ``side``.
        side: of the crops in px.
        mirror: ten crops instead of five.
    """
    bottom, right = height - side, width - side
    corners = {"top_left": (0, 0), "top_right": (0, right), "bottom_left": (bottom, 0), "bottom_right": (bottom, right)}
    places = corners | {"centre": (round(bottom / 2), round(right / 2))}
    crops = [Crop(name, top, left, False) for name, (top, left) in places.items()]
    if mirror:
        crops += [Crop(f"mirrored_{name}", top, right - left, True) for name, (top, left) in places.items()]
    return crops


def crops_per_image(crops: TrainingCrops, mirror: bool) -> int:
    """Into how many training images one is made; 1 where places are drawn."""
    return (10 if mirror else 5) if crops == "five" else 1


def check_crops(crops: object, key: str, choices: tuple[str, ...] = TRAINING_CROPS) -> None:
    """Raise the SlackoffError that says which crops there are."""
    if crops not in choices:
        raise SlackoffError(f"{key}={crops} is not known: choose one of {', '.join(choices)}.")
