"""Where test images come from: thin rain on held-out backgrounds, or a folder of (rainy, clean) pairs."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from slackoff.data.streams import derive_seed
from slackoff.errors import SlackoffError
from slackoff.images import (
    ImageSource,
    Pair,
    check_crops,
    chosen_by_place,
    find_pairs,
    fingerprint,
    five_crops,
    held_out_crops,
    read_pair,
)
from slackoff.metrics.functional import rain_from_pair
from slackoff.rain import RainRange, ThinRain, add_rain, render_layer

TestCrops = Literal["centre", "five"]
TEST_CROPS = ("centre", "five")


class EvaluationImage(NamedTuple):
    """One test image, float32 in [0, 1]: (3, H, W) each, ``rain`` (1, H, W).

    ``name`` is unique in its test set. ``origin`` tells what images have in common, as columns of the record:
    ``photograph`` for crops of one photo, its path in its source; ``source`` for pairs over one and the same background
    (statistics resample those together), a digest of it, the same wherever that lies.
    """

    name: str
    background: Tensor
    rain: Tensor
    rainy: Tensor
    origin: dict[str, str]


class ImageSet(Protocol):
    """What a config node ``evaluation.test_set`` builds."""

    def fingerprint(self) -> str:
        """Hexadecimal digest of the files the set is made from, beside the held-out backgrounds; part of identity."""

    def load(self, source: ImageSource, held_out: Sequence[int]) -> list[EvaluationImage]:
        """Make the images, in a fixed order."""


@dataclass(frozen=True)
class RainOnHeldOut:
    """Synthetic rain on crops of the backgrounds that were held out from training.

    Args:
        count: number of test images.
        size_px: side of each crop.
        seed: of the choice of crops and of the rain; not the training seed.
        rain: a training range, or the generator of thin rain.
        label: what the names of the images begin with; tells apart test sets of the same crops.
    """

    count: int
    size_px: int
    seed: int
    rain: RainRange | ThinRain
    label: str = ""

    def fingerprint(self) -> str:
        return ""

    def load(self, source: ImageSource, held_out: Sequence[int]) -> list[EvaluationImage]:
        """See ``ImageSet``.

        Raises:
            SlackoffError: no image is held out, the held-out ones cannot give ``count`` crops, or the crops are too
                small for the rain.
        """
        if isinstance(self.rain, RainRange):
            self.rain.check_side(self.size_px, "the side of a test image, size_px")
        if not held_out:
            raise SlackoffError(
                "No background is held out for this test set: set background.held_out to a share such as 0.1, "
                "or use evaluation=rain100l with evaluation.root=..."
            )
        crops = held_out_crops(source, held_out, self.size_px, self.count, self.seed)
        images = []
        for number, crop in enumerate(crops):
            generator = Generator().manual_seed(derive_seed(self.seed, "test rain", number))
            background = to_tensor(crop.pixels)
            rain = render_layer(self.rain, self.size_px, self.size_px, generator)[0]
            rainy = add_rain(background, rain)
            name = f"{self.label}-{crop.name}" if self.label else crop.name
            images.append(EvaluationImage(name, background, rain, rainy, {"photograph": crop.image}))
        return images


@dataclass(frozen=True)
class ThinRainOnHeldOut(RainOnHeldOut):
    """R100-like rain on held-out crops; a name of its own, since identities of cells hold it."""


@dataclass(frozen=True)
class PairFolder:
    """A folder of (rainy, clean) pairs, such as Rain100L.

    Args:
        root: the folder; see docs/datasets.md for the layouts.
        count: take only the first so many pairs; None takes all.
        crop_px: side of what is measured; None measures whole images.
        key: the config key that names ``root``, for messages.
        layout: see ``slackoff.images.find_pairs``.
        numbers: [first, last] of the pairs in the order of the numbers in their names, see
            ``slackoff.images.chosen_by_place``; None takes all, in the order of their names.
        crops: "centre": the centre square of ``crop_px``; "five": ten squares of each pair, its corners, its centre and
            those of the mirrored pair, see ``slackoff.images.five_crops``. Each is a test image of its own, named by
            the pair and the crop.

    Raises:
        SlackoffError: such crops are not known, or have no side.
    """

    root: str
    count: int | None = None
    crop_px: int | None = None
    key: str = "evaluation.root"
    layout: str = "auto"
    numbers: Sequence[int] | None = None
    crops: TestCrops = "centre"

    def __post_init__(self) -> None:
        check_crops(self.crops, "The crops of a test set of pairs: crops", TEST_CROPS)
        if self.crops == "five" and self.crop_px is None:
            raise SlackoffError("A test set of pairs with crops=five needs their side: set evaluation.crop_px=224")

    def fingerprint(self) -> str:
        """Of all pairs of the folder: which of them are taken stands in the config, which counts as well."""
        return fingerprint(find_pairs(self.root, self.key, self.layout))

    def pairs(self) -> list[Pair]:
        """The pairs that the test set is made of, before ``count``; raises as ``load``."""
        found = find_pairs(self.root, self.key, self.layout)
        return found if self.numbers is None else chosen_by_place(found, self.numbers, self.key)

    def load(self, source: ImageSource, held_out: Sequence[int]) -> list[EvaluationImage]:
        """See ``ImageSet``; the backgrounds are not used.

        Raises:
            SlackoffError: see ``find_pairs``, ``chosen_by_place`` and ``read_pair``; or a pair is smaller than
                ``crop_px``.
        """
        images: list[EvaluationImage] = []
        for pair in self.pairs()[: self.count]:
            rainy, clean = (self._centre(pixels, pair.name) for pixels in read_pair(pair))
            o, b = to_tensor(rainy), to_tensor(clean)
            digest = hashlib.sha256(clean.tobytes()).hexdigest()[:12]
            rain = rain_from_pair(o[None], b[None])[0]
            image = EvaluationImage(pair.name, b, rain, o, {"source": digest})
            images += _five(image, self.crop_px) if self.crops == "five" and self.crop_px else [image]
        return images

    def _centre(self, pixels: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
        """What is read of an image: the centre square or, for five crops as well, the whole."""
        if self.crop_px is None:
            return pixels
        height, width = pixels.shape[:2]
        if min(height, width) < self.crop_px:
            raise SlackoffError(
                f"The pair {name} in {self.root} is {height}x{width}, smaller than evaluation.crop_px={self.crop_px}: "
                "lower it, or set it to null for whole images"
            )
        if self.crops == "five":
            return pixels
        top, left = (height - self.crop_px) // 2, (width - self.crop_px) // 2
        return pixels[top : top + self.crop_px, left : left + self.crop_px]


def _five(image: EvaluationImage, side: int) -> list[EvaluationImage]:
    """Crops that look into the image and its mirror image, so that ten of them take the memory of two."""
    mirrored = image._replace(background=image.background.flip(2), rain=image.rain.flip(2), rainy=image.rainy.flip(2))
    height, width = image.rainy.shape[1:]
    crops = []
    for crop in five_crops(height, width, side):
        whole, left = (mirrored, width - side - crop.left) if crop.mirrored else (image, crop.left)
        rows, columns = slice(crop.top, crop.top + side), slice(left, left + side)
        background, rain, rainy = (x[:, rows, columns] for x in (whole.background, whole.rain, whole.rainy))
        crops.append(EvaluationImage(f"{image.name}-{crop.name}", background, rain, rainy, image.origin))
    return crops


def to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """uint8 (H, W, 3) to float32 (3, H, W) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).float() / 255.0
