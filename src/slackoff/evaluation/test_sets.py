"""Where test images come from: rain on held-out backgrounds, drawn or taken from real pairs, or a folder of pairs."""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple, Protocol, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slackoff.data.streams import cpu_generator
from slackoff.errors import SlackoffError, check_choices
from slackoff.images import (
    ImageSource,
    Layout,
    Pair,
    chosen_by_place,
    find_pairs,
    fingerprint,
    five_crops,
    held_out_crops,
    read_pair,
    split_images,
)
from slackoff.metrics.functional import rain_from_pair
from slackoff.rain import OwnRain, RainRange, ThinRain, add_rain, render_layer

TestCrops = Literal["centre", "five"]


class EvaluationImage(NamedTuple):
    """One test image, float32 in [0, 1]: (3, H, W) each, ``rain`` (1, H, W).

    ``name`` is for people. ``origin`` tells what the image is and what images have in common, as columns of the record:
    ``digest`` of all it is made from, another for any other image whatever the names are; ``photograph`` for crops of
    one photo, its path in its source; ``source`` for pairs over one and the same background (statistics resample those
    together), a digest of it. Digests are the same wherever the files lie.
    """

    name: str
    background: Tensor
    rain: Tensor
    rainy: Tensor
    origin: dict[str, str]


class StreamedImages(Sequence[EvaluationImage]):
    """Test images that are made anew at each use, so that one of them at a time is in memory.

    Each is made once at the start: a file that cannot be used is refused before any training.

    ``heads``: (name, digest) of each.

    Args:
        count: of images.
        make: the image of a number, the same whenever it is asked.
    """

    def __init__(self, count: int, make: Callable[[int], EvaluationImage]) -> None:
        self._make = make
        self.heads = [(image.name, image.origin["digest"]) for image in map(make, range(count))]

    def __len__(self) -> int:
        return len(self.heads)

    @overload
    def __getitem__(self, number: int) -> EvaluationImage: ...
    @overload
    def __getitem__(self, number: slice) -> list[EvaluationImage]: ...
    def __getitem__(self, number: int | slice) -> EvaluationImage | list[EvaluationImage]:
        if isinstance(number, slice):
            return [self._make(each) for each in range(len(self))[number]]
        return self._make(range(len(self))[number])


class ImageSet(Protocol):
    """What a config node ``evaluation.test_set`` builds."""

    def fingerprint(self) -> str:
        """Hexadecimal digest of the files the set is made from, beside the held-out backgrounds; part of identity."""

    def load(self, source: ImageSource, held_out: Sequence[int]) -> Sequence[EvaluationImage]:
        """Make the images, in a fixed order; as ``StreamedImages`` where they may be many."""


@dataclass(frozen=True)
class RainOnHeldOut:
    """Synthetic rain on crops of the backgrounds that were held out from training.

    Args:
        count: number of test images.
        size_px: side of each crop.
        seed: of the choice of crops and of the rain; not the training seed.
        rain: a training range, the generator of thin rain, or rain of one's own.
        label: what the names of the images begin with; tells apart test sets of the same crops.
    """

    count: int
    size_px: int
    seed: int
    rain: RainRange | ThinRain | OwnRain
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
        images = []
        for number, crop in enumerate(held_out_crops(source, held_out, self.size_px, self.count, self.seed)):
            generator = cpu_generator(self.seed, "test rain", number)
            rain = render_layer(self.rain, self.size_px, self.size_px, generator)[0]
            digest = _digest(crop.pixels, self.seed, number, self.rain)
            background, origin = _to_tensor(crop.pixels), {"digest": digest, "photograph": crop.image}
            name = f"{self.label}-{crop.name}" if self.label else crop.name
            images.append(EvaluationImage(name, background, rain, add_rain(background, rain), origin))
        return images


@dataclass(frozen=True)
class PairFolder:
    """A folder of (rainy, clean) pairs, such as Rain100L.

    Args:
        root: the folder, or a list of pairs; see docs/datasets.md for the layouts.
        count: take only the first so many pairs; None takes all.
        crop_px: side of what is measured; None measures whole images.
        key: the config key that names ``root``, for messages.
        layout, darker_rain: see ``slackoff.images.find_pairs``.
        numbers: [first, last] of the pairs in the order of the numbers in their names, see
            ``slackoff.images.chosen_by_place``; None takes all, in the order of their names.
        crops: "centre": the centre square of ``crop_px``; "five": ten squares of each pair, its corners, its centre and
            those of the mirrored pair, see ``slackoff.images.five_crops``. Each is a test image of its own, named by
            the pair and the crop.
        rainy, clean, pairs: in the place of ``root``, see ``slackoff.images.find_pairs``.

    Raises:
        SlackoffError: five crops have no side.
    """

    root: str | None = None
    count: int | None = None
    crop_px: int | None = None
    key: str = "evaluation.root"
    layout: Layout = "auto"
    numbers: tuple[int, int] | None = None
    crops: TestCrops = "centre"
    darker_rain: bool = False
    rainy: str | None = None
    clean: str | None = None
    pairs: str | None = None

    def __post_init__(self) -> None:
        check_choices(PairFolder, layout=self.layout, crops=self.crops)
        if self.crops == "five" and self.crop_px is None:
            raise SlackoffError("A test set of pairs with crops=five needs their side: set evaluation.crop_px=224")

    def fingerprint(self) -> str:
        """Of all pairs of the folder: which of them are taken stands in the config, which counts as well."""
        return fingerprint(self._found())

    def chosen(self) -> list[Pair]:
        """The pairs that the test set is made of, before ``count``; raises as ``load``."""
        found = self._found()
        return found if self.numbers is None else chosen_by_place(found, self.numbers, self.key)

    def _found(self) -> list[Pair]:
        places = {"rainy": self.rainy, "clean": self.clean, "pairs": self.pairs}
        return find_pairs(self.root, self.key, self.layout, self.darker_rain, **places)

    def load(self, source: ImageSource, held_out: Sequence[int]) -> StreamedImages:
        """See ``ImageSet``; the backgrounds are not used.

        Raises:
            SlackoffError: see ``find_pairs``, ``chosen_by_place`` and ``read_pair``; or a pair is smaller than
                ``crop_px``.
        """
        pairs = self.chosen()[: self.count]

        @lru_cache(maxsize=1)  # the crops of a pair follow each other
        def images_of(number: int) -> list[EvaluationImage]:
            pair = pairs[number]
            rainy, clean = (self._cropped(pixels, pair.name) for pixels in read_pair(pair))
            o, b = _to_tensor(rainy), _to_tensor(clean)
            rain = rain_from_pair(o[None], b[None])[0]
            origin = {"digest": _digest(rainy, clean), "source": _digest(clean)}
            image = EvaluationImage(pair.name, b, rain, o, origin)
            return _five(image, self.crop_px) if self.crops == "five" and self.crop_px else [image]

        each = 10 if self.crops == "five" else 1
        return StreamedImages(len(pairs) * each, lambda number: images_of(number // each)[number % each])

    def _cropped(self, pixels: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
        """What is read of an image: the centre square or, for five crops as well, the whole."""
        if self.crop_px is None:
            return pixels
        height, width = pixels.shape[:2]
        if min(height, width) < self.crop_px:
            raise SlackoffError(
                f"The pair {name} in {self.root} is {height}x{width}, smaller than evaluation.crop_px={self.crop_px}: "
                "lower it, or set it to null for whole images"
            )
        return pixels if self.crops == "five" else pixels[_centre(pixels.shape, self.crop_px, self.crop_px)]


def _five(image: EvaluationImage, side: int) -> list[EvaluationImage]:
    """Crops that look into the image and its mirror image, so that ten of them take the memory of two."""
    whole = torch.cat([image.background, image.rain, image.rainy])
    mirrored, (height, width) = whole.flip(2), whole.shape[1:]
    crops = []
    for crop in five_crops(height, width, side):
        pixels, left = (mirrored, width - side - crop.left) if crop.mirrored else (whole, crop.left)
        background, rain, rainy = pixels[:, crop.top : crop.top + side, left : left + side].split([3, 1, 3])
        origin = image.origin | {"digest": _digest(image.origin["digest"], side, crop.name)}
        crops.append(EvaluationImage(f"{image.name}-{crop.name}", background, rain, rainy, origin))
    return crops


@dataclass(frozen=True)
class StreaksOnHeldOut:
    """The rain layers of a folder of pairs on held-out backgrounds ("Networks are Slacking Off", Figures 4 to 7, 10).

    Test image i has the rain of pair i and held-out background i, each list begun again when it ends, until every
    background and every pair was used or ``count`` is reached. Of both the centre is taken, as large as both allow:
    nothing is resized, so neither streaks nor photos lose their sharpness. The paper does not say how it did this.

    Args:
        root: the folder of pairs, such as Rain100L; R is taken from each as the largest channel of O - B.
        count: number of test images; None gives as many as there are pairs or backgrounds, whichever are more.
        crop_px: largest side of a test image; None sets no limit.
        backgrounds: whose held-out photos to use; None uses those of the cell's own backgrounds.
        held_out: share or number of ``backgrounds`` that may be used here. Ignored where these are the very photos that
            the cell trains on: then the cell's own split counts.
        key: the config key that names ``root``, for messages.
        darker_rain: see ``slackoff.images.find_pairs``.
    """

    root: str
    count: int | None = None
    crop_px: int | None = None
    backgrounds: ImageSource | None = None
    held_out: float | int | None = None
    key: str = "evaluation.root"
    darker_rain: bool = False

    def fingerprint(self) -> str:
        pairs = PairFolder(self.root, key=self.key, darker_rain=self.darker_rain)
        digest = hashlib.sha256(pairs.fingerprint().encode())
        if self.backgrounds is not None:
            digest.update(f"{self.backgrounds.fingerprint()} {self.held_out}".encode())
        return digest.hexdigest()

    def load(self, source: ImageSource, held_out: Sequence[int]) -> StreamedImages:
        """See ``ImageSet``.

        Raises:
            SlackoffError: no background is held out, or see ``find_pairs`` and ``read_pair``.
        """
        if self.backgrounds is not None and self.backgrounds.fingerprint() != source.fingerprint():
            source = self.backgrounds
            held_out = split_images(source, self.held_out, key="evaluation.held_out").test
        if not held_out:
            raise SlackoffError(
                "No background is held out for the streak test set: set background.held_out (and evaluation.held_out) "
                "to a share such as 0.1"
            )
        rains = PairFolder(self.root, self.count, key=self.key, darker_rain=self.darker_rain).load(source, [])
        total = self.count or max(len(rains), len(held_out))
        turns = math.lcm(len(rains), len(held_out))
        return StreamedImages(
            total, lambda i: self._compose(rains[i % len(rains)], source, held_out[i % len(held_out)], i // turns)
        )

    def _compose(self, rain: EvaluationImage, source: ImageSource, number: int, turn: int) -> EvaluationImage:
        photo = source.read(number)
        limit = self.crop_px or max(photo.shape)
        height = min(photo.shape[0], rain.rain.shape[-2], limit)
        width = min(photo.shape[1], rain.rain.shape[-1], limit)
        background = _to_tensor(photo[_centre(photo.shape, height, width)])
        streaks = rain.rain[:, *_centre(rain.rain.shape[1:], height, width)]
        name = f"{rain.name}-on-{source.names[number]}"
        origin = {"digest": _digest(rain.origin["digest"], photo, height, width, turn), "source": _digest(photo)}
        return EvaluationImage(name, background, streaks, add_rain(background, streaks), origin)


def _digest(*parts: object) -> str:
    """12 hexadecimal digits of pixels, and of whatever else is the same text on every machine."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.tobytes() if isinstance(part, np.ndarray) else f"\0{part}".encode())
    return digest.hexdigest()[:12]


def _centre(whole: Sequence[int], height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of the middle of an image of this height and width."""
    top, left = (whole[0] - height) // 2, (whole[1] - width) // 2
    return slice(top, top + height), slice(left, left + width)


def _to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """uint8 (H, W, 3) to float32 (3, H, W) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).float() / 255.0
