"""A map-style data set of a person's own as the labelled pairs of a training run.

Resume is exact because batch k is made from (seed, k) alone, so such a set must be one: its length stays, item i is the
same whenever it is asked for, and what is random in it is drawn from the generator that it is given.
"""

import inspect
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from slackoff.data.module import OpenUnlabelled, _StreamData
from slackoff.data.streams import RainyBatch, cpu_generator
from slackoff.errors import SlackoffError, one_line
from slackoff.metrics.functional import rain_from_pair

_KEY = "labelled"


class _Images(NamedTuple):
    """One item: float32, (3, H, W) each, in [0, 1], on the CPU."""

    rainy: Tensor
    clean: Tensor


def check_dataset(dataset: Any, patch_size_px: int) -> None:
    """Refuse a data set whose items are no pairs of images, or do not stay the same; its first and last are looked at.

    Raises:
        SlackoffError: naming what is wrong with which item.
    """
    count = _length(dataset)
    for index in dict.fromkeys((0, count - 1)):
        first, again = (read_item(dataset, index, patch_size_px, cpu_generator(0, "check", index)) for _ in range(2))
        if not all(map(torch.equal, first, again)):
            raise SlackoffError(
                f"{_KEY}: item {index} of {type(dataset).__name__} is another one each time it is asked for, so that "
                "no training could be resumed: draw what is random in it from the generator that "
                "__getitem__(index, generator) is given"
            )


def read_item(dataset: Any, index: int, patch_size_px: int, generator: torch.Generator) -> _Images:
    """One pair of a data set.

    Args:
        dataset: its ``__getitem__(index)`` gives (rainy, clean), or a mapping with these names; one with a second
            argument is given the generator. An image is a tensor (3, H, W) of floats in [0, 1], or uint8: a tensor
            (3, H, W) or an array (H, W, 3).
        index: from 0 to below its length.
        patch_size_px: what each side has at least.
        generator: on the CPU.

    Raises:
        SlackoffError: the item cannot be read, or is no such pair.
    """
    where = f"{_KEY}: item {index} of {type(dataset).__name__}"
    try:
        item = dataset.__getitem__(index, generator) if _takes_generator(type(dataset)) else dataset[index]
    except Exception as error:  # the code of a person, in which anything may go wrong
        raise SlackoffError(f"{where} cannot be read: {type(error).__name__}: {one_line(error)}") from error
    if isinstance(item, dict) and {"rainy", "clean"} <= item.keys():
        item = (item["rainy"], item["clean"])
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise SlackoffError(f"{where} is no pair: let __getitem__ give (rainy, clean)")
    rainy, clean = (
        _as_image(image, f"{where}, its {name} image,") for image, name in zip(item, _Images._fields, strict=True)
    )
    if rainy.shape != clean.shape:
        raise SlackoffError(f"{where} has images of two sizes: {tuple(rainy.shape[1:])} and {tuple(clean.shape[1:])}")
    if min(rainy.shape[1:]) < patch_size_px:
        raise SlackoffError(
            f"{where} is {rainy.shape[1]}x{rainy.shape[2]}, smaller than "
            f"background.patch_size_px={patch_size_px}: lower it"
        )
    return _Images(rainy, clean)


def _as_image(value: Any, where: str) -> Tensor:
    if isinstance(value, np.ndarray) and value.ndim == 3:
        value = torch.from_numpy(np.ascontiguousarray(value))
        value = value.permute(2, 0, 1) if value.dtype == torch.uint8 else value
    if not isinstance(value, Tensor) or value.ndim != 3 or value.shape[0] != 3:
        shape = f" of shape {tuple(value.shape)}" if isinstance(value, np.ndarray | Tensor) else ""
        raise SlackoffError(f"{where} is a {type(value).__name__}{shape}: give a tensor (3, H, W), or uint8 (H, W, 3)")
    if value.dtype == torch.uint8:
        return value.float() / 255.0
    if not value.is_floating_point() or not bool(((value >= 0) & (value <= 1)).all()):
        raise SlackoffError(f"{where} is not in [0, 1]: give floats from 0, black, to 1, white, or uint8")
    return value.float()


def _takes_generator(kind: type) -> bool:
    return len(inspect.signature(kind.__getitem__).parameters) > 2  # type: ignore[index]


def _length(dataset: Any) -> int:
    try:
        count = len(dataset)
    except TypeError:
        count = 0
    if count < 1:
        raise SlackoffError(f"{_KEY}: {type(dataset).__name__} has no items: let __len__ give how many there are")
    return count


class DatasetStream:
    """Random access to the training batches from a data set; see ``BatchStream`` for what that promises.

    Items are drawn uniformly with replacement, and of each a crop, all places equally likely.

    Args:
        dataset: see ``read_item``.
        patch_size_px: side of a crop.
        batch_size: images of the global batch.
        seed: the cell's seed.
        channels_last: memory format of the images.
        device: where batches are wanted.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        patch_size_px: int,
        batch_size: int,
        seed: int,
        channels_last: bool,
        device: torch.device,
    ) -> None:
        self.dataset, self.count = dataset, _length(dataset)
        self.patch_size_px, self.batch_size, self.seed = patch_size_px, batch_size, seed
        self.device = device
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format

    def batch(self, step: int, rank: int = 0, world_size: int = 1) -> RainyBatch:
        """Make the batch of a step, or one rank's share of it: the images rank, rank + world_size, ..."""
        chosen = torch.randint(self.count, (self.batch_size,), generator=cpu_generator(self.seed, "batch", step))
        numbers = range(rank, self.batch_size, world_size)
        crops = [self._crop(int(chosen[number]), cpu_generator(self.seed, "item", step, number)) for number in numbers]
        rainy, background = (
            torch.stack(images).to(self.device, memory_format=self.memory_format) for images in zip(*crops, strict=True)
        )
        return RainyBatch(background, rain_from_pair(rainy, background), rainy)

    def _crop(self, index: int, generator: torch.Generator) -> _Images:
        side = self.patch_size_px
        top, left = torch.randint(2**62, (2,), generator=generator).tolist()
        item = read_item(self.dataset, index, side, generator)
        top, left = top % (item.rainy.shape[1] - side + 1), left % (item.rainy.shape[2] - side + 1)
        return _Images(*(image[:, top : top + side, left : left + side] for image in item))


class DatasetData(_StreamData):
    """Crops of the pairs of a data set.

    Args:
        dataset, patch_size_px, batch_size, seed, channels_last: as in ``DatasetStream``.
        unlabelled: opens the stream of unlabelled images on a device; None where there are none.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        patch_size_px: int,
        batch_size: int,
        seed: int,
        channels_last: bool = True,
        unlabelled: OpenUnlabelled | None = None,
    ) -> None:
        super().__init__(unlabelled)
        self.dataset = dataset
        self.options = {
            "patch_size_px": patch_size_px,
            "batch_size": batch_size,
            "seed": seed,
            "channels_last": channels_last,
        }

    @property
    def labelled_images(self) -> int:
        return _length(self.dataset)

    def open_stream(self, device: torch.device) -> DatasetStream:
        return DatasetStream(self.dataset, **self.options, device=device)
