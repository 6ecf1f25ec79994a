"""Training crops that are fixed once and for all, instead of random places."""

import torch
from torch import Generator, Tensor

from slackoff.data.image_bank import Crops, ImageBank
from slackoff.pairs import five_crops


class FixedCrops:
    """The corners and the centre of the images of a bank and, with ``mirror``, those of the mirrored images.

    Args:
        bank: images, none smaller than a crop.
        side: of the crops in px.
        mirror: ten crops of each image instead of five.
    """

    def __init__(self, bank: ImageBank, side: int, mirror: bool) -> None:
        sizes = zip(bank.height.tolist(), bank.width.tolist(), strict=True)
        places = [[crop[1:] for crop in five_crops(height, width, side, mirror)] for height, width in sizes]
        self.places = torch.tensor(places, dtype=torch.int64)

    def draw(self, images: Tensor, generator: Generator) -> Crops:
        """One crop of each of the given images, all of its crops equally likely; see ``ImageBank.draw``."""
        chosen = torch.randint(self.places.shape[1], (len(images),), generator=generator)
        return Crops(images, *self.places[images, chosen].unbind(1))
