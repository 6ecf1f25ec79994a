"""Where rainy images without truth come from: a folder, the pairs that are left out, other synthesised rain."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from slackoff.data.streams import ImageBank, cpu_generator
from slackoff.errors import SlackoffError
from slackoff.images import FolderSource, LabelledPairs, image_sizes, pair_sizes, read_rainy
from slackoff.images.sources import map_in_threads, refuse_small
from slackoff.rain import RainRange, ThinRain, add_rain, render_layer


class Surroundings(NamedTuple):
    """What unlabelled images may be made from, beside their own folder.

    ``further_patches(n)`` gives n patches that are not in the training bank: uint8, (n, P, P, 3), RGB.
    """

    patch_size_px: int
    labelled: LabelledPairs | None
    further_patches: Callable[[int], NDArray[np.uint8]]


class UnlabelledPhotos(ABC):
    """What a config node ``unlabelled`` builds.

    ``batch_size``: images of the global batch; ``mirror``: whether half of the crops are turned left to right.

    Raises:
        SlackoffError: a value is out of range.
    """

    batch_size: int
    mirror: bool

    def __post_init__(self) -> None:
        _check_count(self.batch_size, "unlabelled.batch_size")

    def fingerprint(self) -> str:
        """Hexadecimal digest of the files that are read here and nowhere else in the config; part of identity."""
        return ""

    @abstractmethod
    def check(self, surroundings: Surroundings) -> None:
        """Find every mistake that can be found without decoding; raises as ``load``."""

    @abstractmethod
    def load(self, surroundings: Surroundings) -> ImageBank:
        """Read or make the images.

        Raises:
            SlackoffError: an image, a pair or a patch that is asked for is not there, is unreadable, or too small.
        """


@dataclass(frozen=True)
class UnlabelledFolder(UnlabelledPhotos):
    """Rainy photos of a folder, at any depth.

    Args:
        root: the folder.
        batch_size, mirror: see ``UnlabelledPhotos``.
        key: the config key that names ``root``, for messages.
    """

    root: str
    batch_size: int
    mirror: bool = True
    key: str = "unlabelled.root"

    @cached_property
    def source(self) -> FolderSource:
        return FolderSource(self.root, self.key)

    def fingerprint(self) -> str:
        return self.source.fingerprint()

    def check(self, surroundings: Surroundings) -> None:
        sizes = image_sizes(self.source, range(len(self.source)))
        refuse_small(list(map(str, self.source.paths)), sizes, surroundings.patch_size_px)

    def load(self, surroundings: Surroundings) -> ImageBank:
        self.check(surroundings)
        numbers = range(len(self.source))
        return ImageBank(map_in_threads(self.source.read, numbers), image_sizes(self.source, numbers))


@dataclass(frozen=True)
class UnlabelledRest(UnlabelledPhotos):
    """The rainy images of the pairs that ``labelled.share`` leaves out.

    Args:
        batch_size, mirror: see ``UnlabelledPhotos``.
    """

    batch_size: int
    mirror: bool = True

    def check(self, surroundings: Surroundings) -> None:
        labelled = surroundings.labelled
        if labelled is None or not labelled.split[1]:
            raise SlackoffError(
                "unlabelled=rest takes the pairs that labelled.share leaves out, and there are none: add "
                "labelled=pairs labelled.root=PATH and a labelled.share below 1, such as labelled.share=0.1"
            )
        labelled.check(surroundings.patch_size_px)

    def load(self, surroundings: Surroundings) -> ImageBank:
        self.check(surroundings)
        assert surroundings.labelled is not None
        rest = surroundings.labelled.split[1]
        return ImageBank(map_in_threads(read_rainy, rest), pair_sizes(rest))


@dataclass(frozen=True)
class UnlabelledSynthesised(UnlabelledPhotos):
    """Other rain than the training rain on other patches of the training photos.

    The patches are those that follow the training bank in the same nested choice: none of them is in the bank, and they
    overlap neither it nor each other for as long as the photos have room. Each has one rain layer for good, which
    depends on (seed, its number) alone.

    Args:
        rain: a training range or thin rain.
        patch_count: how many patches.
        batch_size, mirror: see ``UnlabelledPhotos``.
        seed: of the rain.
    """

    rain: RainRange | ThinRain
    patch_count: int
    batch_size: int
    mirror: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_count(self.patch_count, "unlabelled.patch_count")

    def check(self, surroundings: Surroundings) -> None:
        side = surroundings.patch_size_px
        if isinstance(self.rain, RainRange):
            self.rain.check_side(side, "background.patch_size_px")
        surroundings.further_patches(self.patch_count)

    def load(self, surroundings: Surroundings) -> ImageBank:
        self.check(surroundings)
        side = surroundings.patch_size_px
        patches = surroundings.further_patches(self.patch_count)
        rainy = (self._rainy(patch, number) for number, patch in enumerate(patches))
        return ImageBank(rainy, [(side, side)] * len(patches))

    def _rainy(self, patch: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
        generator = cpu_generator(self.seed, "unlabelled rain", number)
        background = torch.from_numpy(np.array(patch)).permute(2, 0, 1)[None].float() / 255.0
        rainy = add_rain(background, render_layer(self.rain, len(patch), len(patch), generator))
        return (rainy[0].permute(1, 2, 0) * 255.0).round().byte().numpy()


def _check_count(value: int, key: str) -> None:
    if value < 1:
        raise SlackoffError(f"{key}={value} is no count: give a whole number from 1 up")
